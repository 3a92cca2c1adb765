"""How long a recording is, by little of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.audio.facts import Limits
from subscriber.audio.pool import DecoderPool
from subscriber.errors import Permanent
from subscriber.lengths import LONGEST_HEADER_BYTES, seconds_of
from subscriber.model import ObjectInfo
from tests.audio.making import RATE, recording, wav_of
from tests.sound import heavy, wav

LIMITS = Limits(max_audio_seconds=3600)


def quiet(seconds: int) -> bytes:
    """A long recording that is made at once."""
    return wav_of(bytes(2 * RATE * seconds))


class Shelf(FolderObjects):
    """A folder that counts what is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"in": folder})
        self.read_bytes = 0

    def put(self, data: bytes) -> ObjectInfo:
        return self.write("in", str(len(data)), data, content_type="", metadata={}, if_generation=0)

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        data = super().read_range(info, offset, size)
        self.read_bytes += len(data)
        return data


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("mp3", "mp3"), ("ipod", "aac")])
def test_a_header_or_an_index_tells(shelf: Shelf, pool: DecoderPool, container: str, codec: str) -> None:
    found = shelf.put(recording(container, codec))
    assert seconds_of(found, shelf, pool, LIMITS) == pytest.approx(20, rel=0.01)


def test_a_guess_will_do(shelf: Shelf, pool: DecoderPool) -> None:
    found = shelf.put(recording("adts", "aac"))
    assert seconds_of(found, shelf, pool, LIMITS) == pytest.approx(20, rel=0.3)


def test_of_a_large_file_little_is_read(shelf: Shelf, pool: DecoderPool) -> None:
    found = shelf.put(quiet(1200))
    assert found.size > 38_000_000
    assert seconds_of(found, shelf, pool, LIMITS) == pytest.approx(1200)
    assert shelf.read_bytes < 2**20


def test_nobody_reads_on_where_a_header_has_no_end(
    shelf: Shelf, pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriber.lengths.LONGEST_HEADER_BYTES", 2**18)
    found = shelf.put(heavy(wav("far")))
    assert seconds_of(found, shelf, pool, LIMITS) is None
    assert shelf.read_bytes <= 2**18 < LONGEST_HEADER_BYTES


def test_what_is_no_recording_is_told_as_the_daemon_would(shelf: Shelf, pool: DecoderPool) -> None:
    with pytest.raises(Permanent, match="no container"):
        seconds_of(shelf.put(b"Dear all"), shelf, pool, LIMITS)
    with pytest.raises(Permanent, match="3600") as verdict:
        seconds_of(shelf.put(quiet(3700)), shelf, pool, LIMITS)
    assert verdict.value.reason == "too_long"
