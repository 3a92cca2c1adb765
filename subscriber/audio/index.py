"""What the index of an m4a, mp4 or mov will hold in its decoder, before anybody decodes it.

The law of this file: a stranger's bytes are looked at sixteen at a time, and whatever they say, the answer is a number.
"""

from __future__ import annotations

from subscriber.audio.source import Bytes

__all__ = ["index_bytes"]

FIRST_BOXES = {b"ftyp", b"free", b"mdat", b"moov", b"pnot", b"skip", b"wide"}
"""What such a file begins with; no other container does."""

MOST_BOXES = 16
"""Ordinary files have five; the index comes before or behind the sound."""

GROWTH = 9
"""FFmpeg makes 36 bytes of the four that the box `moov` has for each frame at least: a three-hour m4a holds 16 MB."""


def index_bytes(source: Bytes) -> int:
    """At most so many bytes, 0 for files without such an index. Raises what `source` raises."""
    at = 0
    for _ in range(MOST_BOXES):
        header = source.read(at, 16) if at < source.size else b""
        kind = header[4:8]
        if not at and kind not in FIRST_BOXES:
            return 0
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if kind == b"moov":
            return GROWTH * min(size, source.size - at)
        if size < 8:
            return 0  # it goes on to the end, or is no box
        at += size
    return 0
