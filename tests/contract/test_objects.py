"""What every store of objects promises, on folders and on fake-gcs-server."""

from __future__ import annotations

import base64
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.adapters.gcs import GcsObjects
from subscriber.errors import ConfigError, Gone, NeighbourDown, PreconditionFailed
from subscriber.model import ObjectInfo
from tests.stores import Store

WRITERS = 8


@pytest.fixture(params=["folder", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(FolderObjects({"outbox": tmp_path}), "outbox")
    bucket, emulators = (request.getfixturevalue(name) for name in ("bucket", "emulators"))
    return Store(GcsObjects(connections=WRITERS, emulator=True, endpoint=emulators.storage_url), bucket.name)


NAMES = [
    "plain.wav",
    "deep/er/and deeper.wav",
    "sp ace #1?&=%2F+.wav",
    "two..dots/..hidden.wav",
    "line\nfeed.wav",
    "grün/🎵 日本語.wav",
    "/".join(["x" * 127] * 8) + ".",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_object_of_any_name_comes_back_as_it_was_written(store: Store, name: str) -> None:
    written = store.write(name, b"\x00\xff words", colour="blue")
    assert store.live(name) == written
    assert (written.name, written.size, written.content_type) == (name, 8, "text/plain")
    assert written.metadata == {"colour": "blue"}
    assert written.md5 == base64.b64encode(hashlib.md5(b"\x00\xff words", usedforsecurity=False).digest()).decode()
    assert store.objects.read(written) == b"\x00\xff words"


def test_an_empty_object_is_an_object(store: Store) -> None:
    assert store.objects.read(store.write("empty", b"")) == b""


def test_an_object_of_many_mebibytes_is_written_once_and_whole(store: Store) -> None:
    data = bytes(range(256)) * (17 * 2**12)
    written = store.write("long", data, colour="blue")
    assert (written.size, written.metadata) == (len(data), {"colour": "blue"})
    assert store.objects.read(written) == data
    assert store.live("long") == written
    with pytest.raises(PreconditionFailed):
        store.write("long", data)


def test_metadata_in_any_script_comes_back(store: Store) -> None:
    store.write("a", source="Ünï 🎵 %25", empty="")
    assert store.live("a").metadata == {"source": "Ünï 🎵 %25", "empty": ""}


def test_what_is_not_there_is_none(store: Store) -> None:
    store.write("folder/file")
    assert store.objects.stat(store.bucket, "folder") is None
    assert store.objects.stat(store.bucket, "folder/file/below") is None
    assert store.objects.stat(store.bucket, "x" * 900) is None


def test_names_below_a_prefix_come_in_order_with_all_that_is_known(store: Store) -> None:
    listing: FolderObjects | GcsObjects = store.objects  # type: ignore[assignment]  # they are listings as well
    made = [store.write(name, colour=name) for name in ("b/2", "b/1", "a", "b.txt", "b/é/3")]
    assert list(listing.below(store.bucket, "b/")) == [made[1], made[0], made[4]]
    assert [info.name for info in listing.below(store.bucket, "")] == ["a", "b.txt", "b/1", "b/2", "b/é/3"]
    assert list(listing.below(store.bucket, "c")) == []


def test_a_listing_begins_at_any_name(store: Store) -> None:
    listing: FolderObjects | GcsObjects = store.objects  # type: ignore[assignment]  # they are listings as well
    for name in ("a", "b.txt", "b/1", "b/2", "b/é", "大阪"):
        store.write(name)
    assert [info.name for info in listing.below(store.bucket, "", "b/1")] == ["b/1", "b/2", "b/é", "大阪"]
    assert [info.name for info in listing.below(store.bucket, "b/", "b/10")] == ["b/2", "b/é"]
    assert [info.name for info in listing.below(store.bucket, "b/", "a")] == ["b/1", "b/2", "b/é"]
    assert list(listing.below(store.bucket, "b/", "c")) == []


def test_an_object_says_when_it_came(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    written = store.write("a")
    assert written.created_at
    assert before < written.created_at < datetime.now(UTC) + timedelta(seconds=5)


def test_generations_grow_with_every_replacement(store: Store) -> None:
    generations = [store.write("a").generation]
    for number in range(5):
        generations.append(store.write("a", b"%d" % number, if_generation=generations[-1]).generation)
    assert generations == sorted(set(generations))
    assert store.live("a").generation == generations[-1]


def test_a_replacement_brings_its_own_metadata(store: Store) -> None:
    first = store.write("a", old="1")
    store.write("a", if_generation=first.generation, new="2")
    assert store.live("a").metadata == {"new": "2"}


@pytest.mark.parametrize("expected", [0, 77])
def test_a_write_with_a_wrong_expectation_changes_nothing(store: Store, expected: int) -> None:
    first = store.write("a", b"first", by="me")
    with pytest.raises(PreconditionFailed):
        store.write("a", b"second", if_generation=expected, by="you")
    assert store.live("a") == first
    assert store.objects.read(first) == b"first"


def test_a_write_that_expects_an_object_does_not_create_one(store: Store) -> None:
    with pytest.raises(PreconditionFailed):
        store.write("a", if_generation=77)
    assert store.objects.stat(store.bucket, "a") is None


def test_a_replaced_generation_is_gone(store: Store) -> None:
    first = store.write("a", b"first")
    second = store.write("a", b"second", if_generation=first.generation)
    with pytest.raises(Gone):
        store.objects.read(first)
    assert store.objects.read(second) == b"second"


@pytest.mark.parametrize(
    ("offset", "size", "part"),
    [(0, 4, b"0123"), (3, 2, b"34"), (7, 3, b"789"), (7, 100, b"789"), (0, 10, b"0123456789"), (9, 1, b"9")],
)
def test_a_range_is_that_part_and_ends_with_the_object(store: Store, offset: int, size: int, part: bytes) -> None:
    assert store.objects.read_range(store.write("a", b"0123456789"), offset, size) == part


def test_ranges_side_by_side_are_the_object(store: Store) -> None:
    data = bytes(range(256)) * 40
    written = store.write("a", data)
    ranges = [store.objects.read_range(written, offset, 1000) for offset in range(0, len(data), 1000)]
    assert b"".join(ranges) == data


def test_a_range_of_a_replaced_generation_is_gone(store: Store) -> None:
    first = store.write("a", b"first and longer")
    second = store.write("a", b"second", if_generation=first.generation)
    with pytest.raises(Gone):
        store.objects.read_range(first, 0, 3)
    with pytest.raises(Gone):
        store.objects.read_range(first, 10, 3)
    assert store.objects.read_range(second, 0, 3) == b"sec"


def test_a_range_of_a_deleted_generation_is_gone(store: Store) -> None:
    first = store.write("a", b"first")
    store.objects.delete(store.bucket, "a", if_generation=first.generation)
    with pytest.raises(Gone):
        store.objects.read_range(first, 0, 3)


def test_a_deleted_generation_is_gone(store: Store) -> None:
    first = store.write("a")
    store.objects.delete(store.bucket, "a", if_generation=first.generation)
    assert store.objects.stat(store.bucket, "a") is None
    with pytest.raises(Gone):
        store.objects.read(first)


def test_a_delete_with_a_wrong_expectation_changes_nothing(store: Store) -> None:
    first = store.write("a", by="me")
    with pytest.raises(PreconditionFailed):
        store.objects.delete(store.bucket, "a", if_generation=first.generation - 1)
    assert store.live("a") == first


def test_deleting_what_is_not_there_is_fine(store: Store) -> None:
    store.objects.delete(store.bucket, "a", if_generation=77)


def test_a_name_can_be_used_again_after_a_delete(store: Store) -> None:
    first = store.write("a", old="1")
    store.objects.delete(store.bucket, "a", if_generation=first.generation)
    second = store.write("a", new="2")
    assert second.generation > first.generation
    assert store.live("a").metadata == {"new": "2"}


@pytest.mark.parametrize("exists", [False, True])
def test_of_writers_that_expect_the_same_exactly_one_wins(store: Store, exists: bool) -> None:
    expected = store.write("a", b"before").generation if exists else 0
    together = threading.Barrier(WRITERS)

    def race(number: int) -> ObjectInfo | None:
        together.wait(timeout=30)
        try:
            return store.write("a", b"%d" % number, if_generation=expected, by=str(number))
        except PreconditionFailed:
            return None

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = list(pool.map(race, range(WRITERS)))
    (winner,) = [number for number, info in enumerate(outcomes) if info]
    assert store.live("a") == outcomes[winner]
    assert store.live("a").metadata == {"by": str(winner)}
    assert store.objects.read(store.live("a")) == b"%d" % winner


def test_a_bucket_that_can_be_written_passes_the_check(store: Store) -> None:
    assert isinstance(store.objects, FolderObjects | GcsObjects)
    store.objects.check_output(store.bucket)


def test_a_bucket_that_does_not_exist_fails_the_check_with_the_command_that_makes_it(store: Store) -> None:
    objects = store.objects
    if isinstance(objects, FolderObjects):
        objects = FolderObjects({"nowhere": Path("/nonexistent/outbox")})
    assert isinstance(objects, FolderObjects | GcsObjects)
    with pytest.raises(
        ConfigError, match=r"remedy: (mkdir -p /nonexistent|gcloud storage buckets create gs://nowhere)"
    ):
        objects.check_output("nowhere")


def test_a_bucket_that_vanished_is_an_outage_for_writers(store: Store, tmp_path: Path) -> None:
    if isinstance(store.objects, FolderObjects):
        store = Store(FolderObjects({"nowhere": tmp_path / "nowhere"}), "nowhere")
    with pytest.raises(NeighbourDown):
        Store(store.objects, "nowhere").write("a")
