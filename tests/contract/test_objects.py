"""What every store of objects promises, on folders and on fake-gcs-server behind Google's own client."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.cloud.storage import Bucket

from subscriber.adapters.folder import FolderObjects
from subscriber.adapters.gcs import GcsObjects
from subscriber.errors import (
    ConfigError,
    Gone,
    NeighbourDown,
    Permanent,
    PreconditionFailed,
    SubscriberError,
    Transient,
)
from subscriber.model import ObjectInfo
from subscriber.ports import Objects

WRITERS = 8


@dataclass(frozen=True)
class Store:
    """One adapter on an empty bucket."""

    objects: Objects
    bucket: str

    def write(self, name: str, data: bytes = b"words", if_generation: int = 0, **metadata: str) -> ObjectInfo:
        return self.objects.write(
            self.bucket, name, data, content_type="text/plain", metadata=metadata, if_generation=if_generation
        )

    def live(self, name: str) -> ObjectInfo:
        found = self.objects.stat(self.bucket, name)
        assert found
        return found


@pytest.fixture(params=["folder", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(FolderObjects({"outbox": tmp_path}), "outbox")
    bucket = request.getfixturevalue("bucket")
    return Store(GcsObjects(connections=WRITERS, emulator=True), bucket.name)


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


def test_metadata_in_any_script_comes_back(store: Store) -> None:
    store.write("a", source="Ünï 🎵 %25", empty="")
    assert store.live("a").metadata == {"source": "Ünï 🎵 %25", "empty": ""}


def test_what_is_not_there_is_none(store: Store) -> None:
    store.write("folder/file")
    assert store.objects.stat(store.bucket, "folder") is None
    assert store.objects.stat(store.bucket, "folder/file/below") is None
    assert store.objects.stat(store.bucket, "x" * 900) is None


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


# Folders alone


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    return Store(FolderObjects({"bucket": tmp_path / "bucket"}), "bucket")


@pytest.mark.parametrize("name", ["", ".", "../outside", "a/../../outside", "..", "{root}/../outside", "link", "nul\0"])
def test_no_name_leads_out_of_its_folder(folder: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "bucket" / "link").symlink_to(tmp_path / "outside")
    name = name.format(root=tmp_path / "bucket")
    assert folder.objects.stat("bucket", name) is None
    with pytest.raises(Gone):
        folder.objects.read(ObjectInfo("bucket", name, (tmp_path / "outside").stat().st_mtime_ns, 6))
    with pytest.raises(Permanent, match="leads out") as refused:
        folder.write(name)
    folder.objects.delete("bucket", name, if_generation=0)
    assert refused.value.reason == "output_collision"
    assert (tmp_path / "outside").read_bytes() == b"secret"


def test_our_own_corner_is_no_object(folder: Store) -> None:
    folder.write("a")
    assert folder.objects.stat("bucket", ".subscriber/lock") is None
    with pytest.raises(Permanent):
        folder.write("b/../.subscriber/lock")


def test_an_inbox_that_is_only_read_stays_as_it_is(folder: Store, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "a.wav").write_bytes(b"RIFF")
    found = folder.live("a.wav")
    assert (found.size, found.content_type, found.metadata) == (4, "audio/x-wav", {})
    assert folder.objects.read(found) == b"RIFF"
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["a.wav"]


def test_a_file_that_was_edited_by_hand_is_no_longer_known(folder: Store, tmp_path: Path) -> None:
    ours = folder.write("a", source="us")
    (tmp_path / "bucket" / "a").write_bytes(b"corrected")
    os.utime(tmp_path / "bucket" / "a", ns=(0, ours.generation + 1))
    assert folder.live("a").metadata == {}
    with pytest.raises(Gone):
        folder.objects.read(ours)


@pytest.mark.parametrize("moves", [0, 1])
def test_a_crash_in_a_replacement_leaves_the_old_object_whole(
    folder: Store, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    old = folder.write("a", b"old", version="1")
    real = Path.replace
    done: list[Path] = []

    def crash(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(path)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new", old.generation, version="2")
    monkeypatch.undo()
    assert folder.live("a") == old
    assert folder.objects.read(old) == b"old"
    new = folder.write("a", b"new", old.generation, version="2")
    assert folder.live("a") == new


def test_a_clock_that_stands_still_does_not_stop_generations(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subscriber.adapters.folder.time.time_ns", lambda: 10**18)
    first = folder.write("a")
    assert folder.write("a", if_generation=first.generation).generation > first.generation


@pytest.mark.parametrize(("name", "reason"), [("x" * 300, "output_name_too_long"), ("file/below", "output_collision")])
def test_a_name_that_the_file_system_does_not_take_is_final(folder: Store, name: str, reason: str) -> None:
    folder.write("file")
    with pytest.raises(Permanent) as refused:
        folder.write(name)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("errno", "reason"), [(28, "unavailable"), (13, "forbidden")])
def test_a_full_disk_or_a_forbidden_one_is_an_outage(
    folder: Store, monkeypatch: pytest.MonkeyPatch, errno: int, reason: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NeighbourDown) as down:
        folder.write("a")
    assert down.value.reason == reason


# Cloud Storage alone: what the emulator never answers, answered by a server that a test scripts.

Answer = tuple[int, str]


@dataclass(frozen=True)
class Script:
    """An adapter whose server gives these answers, the last one again and again; status 0 hangs up without a word."""

    answers: list[Answer]
    asked: list[str]
    objects: GcsObjects

    def say(self, *answers: Answer) -> Store:
        self.answers[:] = answers
        return Store(self.objects, "bucket")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    answers: list[Answer] = []
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            if status:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        yield Script(answers, asked, GcsObjects(connections=1, emulator=True, retry_seconds=1))
        server.shutdown()
        serving.join()


def error(code: int, message: str, reason: str = "forbidden") -> Answer:
    return code, f'{{"error": {{"code": {code}, "message": "{message}", "errors": [{{"reason": "{reason}"}}]}}}}'


CREATE_DENIED = error(403, "a does not have storage.objects.create access to the Google Cloud Storage object")
GRANTED = (200, '{"permissions": ["storage.objects.create", "storage.objects.get"]}')
NOTHING_GRANTED = (200, "{}")


@pytest.mark.parametrize(
    ("answers", "expected", "reason"),
    [
        ([error(503, "try later")], NeighbourDown, "unavailable"),
        ([error(429, "slow down")], NeighbourDown, "unavailable"),
        ([(0, "")], NeighbourDown, "unavailable"),
        ([error(401, "who are you")], NeighbourDown, "forbidden"),
        ([CREATE_DENIED, NOTHING_GRANTED], NeighbourDown, "forbidden"),
        ([CREATE_DENIED, GRANTED], Transient, "forbidden_object"),
        ([error(403, "billing is off", "accountDisabled"), GRANTED], NeighbourDown, "forbidden"),
        ([error(403, "wait until 2027", "retentionPolicyNotMet")], Permanent, "output_locked"),
        ([error(403, "Object 'a' is under active Event-Based hold")], Permanent, "output_locked"),
        ([error(400, "Bucket is a requester pays bucket but no user project provided.")], NeighbourDown, "forbidden"),
        ([error(404, "The specified bucket does not exist.")], NeighbourDown, "forbidden"),
        ([error(412, "conditionNotMet")], PreconditionFailed, None),
        ([error(400, "invalid")], Transient, "storage_error"),
        ([(200, "a login page of some proxy")], NeighbourDown, "unavailable"),
    ],
)
def test_every_refusal_of_a_write_is_named_by_its_remedy(
    script: Script, answers: list[Answer], expected: type[SubscriberError], reason: str | None
) -> None:
    store = script.say(*answers)
    with pytest.raises(expected) as raised:
        store.write("a")
    assert getattr(raised.value, "reason", None) == reason


def test_a_read_of_one_forbidden_object_costs_only_its_own_attempt(script: Script) -> None:
    store = script.say(error(403, "a does not have storage.objects.get access"), GRANTED)
    with pytest.raises(Transient):
        store.objects.read(ObjectInfo("bucket", "a", 1, 1))


def test_a_write_whose_answer_was_lost_is_tried_again_by_the_client_and_fails_its_condition(script: Script) -> None:
    """So PreconditionFailed must never be taken for somebody else's write without a look."""
    store = script.say((0, ""), error(412, "conditionNotMet"))
    with pytest.raises(PreconditionFailed):
        store.write("a")
    assert len(script.asked) == 2


def test_the_client_asks_nothing_that_we_did_not_ask(script: Script) -> None:
    """It would look up the bucket in threads of its own, also after each 404: more calls, and a right that we lack."""
    store = script.say(error(412, "conditionNotMet"))
    for _ in range(9):
        with pytest.raises(PreconditionFailed):
            store.write("a")
    assert script.asked == ["POST /upload/storage/v1/b/bucket/o"] * 9


def test_missing_rights_are_named_with_the_command_that_grants_them(script: Script) -> None:
    script.say(GRANTED)
    with pytest.raises(ConfigError) as refused:
        script.objects.check_output("bucket")
    assert "storage.objects.delete, storage.objects.list" in str(refused.value)
    assert "gs://bucket --member" in refused.value.remedy


def test_a_server_that_is_away_is_an_outage_for_the_check_too(script: Script) -> None:
    script.say((0, ""))
    with pytest.raises(NeighbourDown):
        script.objects.check_output("bucket")


def test_missing_credentials_are_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="gcloud auth application-default login"):
        GcsObjects(connections=1)


def test_a_name_that_cloud_storage_cannot_take_is_refused_unasked(script: Script) -> None:
    with pytest.raises(Permanent) as refused:
        Store(script.objects, "bucket").write("é" * 513)
    assert (refused.value.reason, script.asked) == ("output_name_too_long", [])


def test_a_download_that_trickles_is_an_outage(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subscriber.adapters.gcs._RETRY_SECONDS", -1)
    store = script.say((200, "x"))
    with pytest.raises(NeighbourDown, match="slower"):
        store.objects.read(ObjectInfo("bucket", "a", 1, 1))


def test_a_compressed_object_is_read_as_it_is_stored(bucket: Bucket) -> None:
    stored = gzip.compress(b"RIFF" * 99)
    blob = bucket.blob("a.wav")
    blob.content_encoding = "gzip"
    blob.upload_from_string(stored)
    store = Store(GcsObjects(connections=1, emulator=True), bucket.name)
    assert store.objects.read(store.live("a.wav")) == stored


def test_threads_keep_their_connections(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    """With the client's own pool of ten, urllib3 would warn that it throws connections away."""
    store = Store(GcsObjects(connections=16, emulator=True), bucket.name)
    together = threading.Barrier(16)

    def use(number: int) -> None:
        together.wait(timeout=30)
        store.write(str(number), b"x" * 1_000_000)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(use, range(16)))
    assert "pool is full" not in caplog.text
