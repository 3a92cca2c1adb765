"""Paid chunks: stored once, the same for everybody, and never trusted when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import PreconditionFailed, Transient
from subscriber.model import ObjectInfo
from subscriber.transcribe.cache import ROUNDS, ChunkCache, chunk_key
from subscriber.transcript import ChunkText, Segment

KEY = chunk_key(b"sound", {"model": "whisper-1"})
PLACE = Path(".chunks") / KEY[:2] / f"{KEY}.json"
OURS = ChunkText("ours", "en", "model", (Segment(0.0, 1.0, "ours"),), (), (), 10.0, ("req_1",), "whisper-1")
THEIRS = replace(OURS, text="theirs")


def cache(folder: Path) -> ChunkCache:
    return ChunkCache(FolderObjects({"out": folder}), "out", ".chunks/")


def test_what_is_stored_is_found_by_every_process(tmp_path: Path) -> None:
    assert cache(tmp_path).get(KEY) is None
    assert cache(tmp_path).put(KEY, OURS) == OURS
    assert cache(tmp_path).get(KEY) == OURS
    assert (tmp_path / PLACE).is_file()


def test_who_comes_second_takes_what_is_stored(tmp_path: Path) -> None:
    cache(tmp_path).put(KEY, THEIRS)
    assert cache(tmp_path).put(KEY, OURS) == THEIRS
    assert cache(tmp_path).get(KEY) == THEIRS


def test_a_doubted_answer_makes_way_for_the_final_verdict_and_for_nothing_else(tmp_path: Path) -> None:
    doubted = replace(THEIRS, doubted=True)
    assert cache(tmp_path).put(KEY, doubted) == doubted
    assert cache(tmp_path).put(KEY, replace(OURS, doubted=True)) == doubted
    assert cache(tmp_path).put(KEY, OURS) == OURS
    assert cache(tmp_path).put(KEY, doubted) == OURS
    assert cache(tmp_path).get(KEY) == OURS
    assert len(list((tmp_path / ".chunks").rglob("*.json"))) == 1


class Overtaken(FolderObjects):
    """A folder in which somebody else's verdict comes between our look at a doubted answer and its replacement."""

    def read(self, info: ObjectInfo) -> bytes:
        data = super().read(info)
        cache(self._roots["out"]).put(KEY, THEIRS)
        return data


def test_of_two_final_verdicts_on_a_doubted_answer_the_first_one_stays(tmp_path: Path) -> None:
    cache(tmp_path).put(KEY, replace(OURS, doubted=True))
    assert ChunkCache(Overtaken({"out": tmp_path}), "out", ".chunks/").put(KEY, OURS) == THEIRS
    assert cache(tmp_path).get(KEY) == THEIRS


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"schema_version": 99}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_document_is_a_miss_and_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / PLACE).parent.mkdir(parents=True)
    (tmp_path / PLACE).write_bytes(data)
    assert cache(tmp_path).get(KEY) is None
    assert cache(tmp_path).put(KEY, OURS) == OURS
    assert cache(tmp_path).get(KEY) == OURS


class Fleeting(FolderObjects):
    """A folder in which somebody else's verdict is deleted before it can be read, so many times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__({"out": folder})
        self.times = times

    def write(self, *args: Any, **options: Any) -> ObjectInfo:
        if self.times:
            self.times -= 1
            raise PreconditionFailed("somebody was here")
        return super().write(*args, **options)


def test_a_verdict_that_is_deleted_before_it_can_be_read_is_stored_again(tmp_path: Path) -> None:
    objects = Fleeting(tmp_path, ROUNDS - 1)
    assert ChunkCache(objects, "out", ".chunks/").put(KEY, OURS) == OURS
    assert cache(tmp_path).get(KEY) == OURS


def test_a_verdict_that_is_never_there_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="changed 3 times"):
        ChunkCache(Fleeting(tmp_path, ROUNDS), "out", ".chunks/").put(KEY, OURS)


def test_a_name_follows_from_the_sound_and_from_all_that_was_asked() -> None:
    asked = {"host": "a", "model": "b", "fields": {"language": "en"}}
    assert chunk_key(b"sound", asked) == chunk_key(b"sound", dict(reversed(asked.items())))
    others = [
        chunk_key(b"other", asked),
        chunk_key(b"sound", {**asked, "host": "c"}),
        chunk_key(b"sound", {**asked, "fields": {}}),
    ]
    assert len({chunk_key(b"sound", asked), *others}) == 4
