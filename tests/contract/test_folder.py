"""What only a folder can suffer: names that lead out of it, editors, crashes between two files, full disks."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import Gone, NeighbourDown, Permanent, Transient
from subscriber.model import ObjectInfo
from tests.stores import Store


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


@pytest.mark.parametrize("part", ["a", "a/b.wav"])
def test_a_link_that_is_put_in_the_way_after_the_look_leads_nowhere(
    folder: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """As if it came between the moment at which a name is resolved and the one at which it is used."""
    known = folder.write("a/b.wav", b"ours")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.wav").write_bytes(b"secret")
    os.utime(tmp_path / "elsewhere/b.wav", ns=(0, known.generation))
    (tmp_path / "bucket" / part).rename(tmp_path / "moved")
    (tmp_path / "bucket" / part).symlink_to(tmp_path / "elsewhere" / Path(part).relative_to("a"))
    monkeypatch.setattr(os.path, "realpath", lambda path, **_: path)
    assert folder.objects.stat("bucket", "a/b.wav") is None
    with pytest.raises(Gone):
        folder.objects.read(known)
    with suppress(Permanent):  # or the link itself is replaced
        folder.write("a/b.wav", b"replaced")
    assert (tmp_path / "elsewhere/b.wav").read_bytes() == b"secret"


@pytest.mark.parametrize("name", ["new", "new.json", "lock"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_our_own_corner_leads_no_write_elsewhere(
    folder: Store, tmp_path: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "bucket/.subscriber").mkdir()
    link(tmp_path / "outside", tmp_path / "bucket/.subscriber" / name)
    with suppress(Permanent):
        folder.write("a")
    assert (tmp_path / "outside").read_bytes() == b"secret"


def test_a_pipe_with_the_name_of_a_recording_is_no_object_and_nobody_waits_for_it(
    folder: Store, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "bucket/pipe.wav")
    assert folder.objects.stat("bucket", "pipe.wav") is None
    with pytest.raises(Gone):
        folder.objects.read(ObjectInfo("bucket", "pipe.wav", (tmp_path / "bucket/pipe.wav").stat().st_mtime_ns, 0))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("../outside", "output_collision"), ("link/a", "output_collision"), ("x" * 256, "output_name_too_long")],
)
def test_of_an_output_that_can_never_be_written_a_look_tells_already(tmp_path: Path, name: str, reason: str) -> None:
    """Else it would be paid for first."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/link").symlink_to(tmp_path)
    objects = FolderObjects({"bucket": tmp_path / "bucket"}, outputs=["bucket"])
    with pytest.raises(Permanent) as refused:
        objects.stat("bucket", name)
    assert refused.value.reason == reason


@pytest.mark.parametrize("read", [FolderObjects.read, lambda objects, info: objects.read_range(info, 0, 1)])
def test_one_private_file_is_no_outage(
    folder: Store, monkeypatch: pytest.MonkeyPatch, read: Callable[[FolderObjects, ObjectInfo], bytes]
) -> None:
    known = folder.write("a")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Transient) as refused:
        read(FolderObjects({"bucket": Path("/")}), known)
    assert refused.value.reason == "forbidden_object"


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
    real = os.replace
    done: list[Path] = []

    def crash(path: Path, target: str, *, dst_dir_fd: int) -> None:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(path)
        real(path, target, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new", old.generation, version="2")
    monkeypatch.undo()
    assert folder.live("a") == old
    assert folder.objects.read(old) == b"old"
    new = folder.write("a", b"new", old.generation, version="2")
    assert folder.live("a") == new


def test_a_clock_that_stands_still_does_not_stop_generations(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subscriber.beneath.time.time_ns", lambda: 10**18)
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
