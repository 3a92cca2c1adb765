"""How long a recording is, by its header or its index alone.

The law of this file: a stranger's bytes meet FFmpeg in a decoder's process, and no object is read for its sound.
"""

from __future__ import annotations

from subscriber.audio.facts import Limits
from subscriber.audio.pool import DecoderPool
from subscriber.model import ObjectInfo
from subscriber.ports import Objects

__all__ = ["LONGEST_HEADER_BYTES", "seconds_of"]

LONGEST_HEADER_BYTES = 16 * 2**20
"""An m4a of twelve hours has an index of 8 MB. Of most files FFmpeg asks for one or two ranges of 256 KiB."""


def seconds_of(found: ObjectInfo, objects: Objects, decoders: DecoderPool, limits: Limits) -> float | None:
    """What the file declares or FFmpeg guesses; None where neither is. Raises Permanent and as `read_range` does."""
    try:
        with decoders.open(_Beginning(objects, found), limits) as decoding:
            facts = decoding.facts
    except _EnoughError:
        return None
    return facts.guessed_seconds if facts.declared_seconds is None else facts.declared_seconds


class _EnoughError(Exception):
    """More than a header was asked for."""


class _Beginning:
    """An object's bytes, of which only so many are read, wherever they are."""

    def __init__(self, objects: Objects, found: ObjectInfo) -> None:
        self._objects = objects
        self._found = found
        self._left = LONGEST_HEADER_BYTES
        self.size = found.size

    def read(self, offset: int, size: int) -> bytes:
        """As `Bytes` says, for so long."""
        self._left -= size
        if self._left < 0:
            raise _EnoughError
        return self._objects.read_range(self._found, offset, size)
