"""What only a folder can suffer: names that lead out of it, editors, crashes between two files, full disks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import Gone, NeighbourDown, Permanent
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
