"""How fast recordings become FLAC chunks on one core: decoded in their process, cut and encoded in ours.

Measured is CPU time of all processes together, so that neither a second core nor other work on the machine counts.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

from bench.recordings import FLAC, M4A, MP3, OPUS, Encoding, long_recording
from bench.table import Row, spread
from subscriber.audio.cut import cut
from subscriber.audio.flac import encode_flac
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import BlockCache, Bytes

__all__ = ["rows"]

GOAL = 300
RUNS = 3
HOUR = 3600


class Memory:
    """A recording that needs no disk."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        """As `Bytes` has it."""
        return self._data[offset : offset + size]


def rows() -> Iterator[Row]:
    """One row a format."""
    for encoding in (MP3, M4A, OPUS, FLAC):
        yield _row(encoding)


def _row(encoding: Encoding) -> Row:
    hour = Memory(long_recording(encoding, HOUR))
    speeds = [_times_realtime(hour) for _ in range(RUNS)]
    what = f"decode, cut and FLAC of one hour, one core: {encoding.name}"
    return Row(what, f"{spread(speeds, '{:.0f}')} x realtime", f">= {GOAL} x", min(speeds) >= GOAL)


def _times_realtime(source: Bytes) -> float:
    begun = _cpu_seconds()
    with DecoderPool() as pool, pool.open(BlockCache().over(source)) as decoding:
        for chunk in cut(decoding):
            encode_flac(chunk.pcm)
    return decoding.facts.decoded_seconds / (_cpu_seconds() - begun)


def _cpu_seconds() -> float:
    """Of this process and of all its descendants that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
