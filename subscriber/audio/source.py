"""Where a decoder's bytes come from: ranges of one object that never changes, in blocks that are fetched once.

The law of this file: memory does not grow with a file's length nor with the number of jobs; a block that had to make
room is fetched again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

__all__ = ["BLOCK_BYTES", "BlockCache", "Bytes", "FileBytes"]

BLOCK_BYTES = 2**20
"""An hour of MP3 at 128 kbit/s costs 55 requests, 20 microdollars: a chunk of it costs Whisper a hundred times that.
Measured with 4 MiB for each of sixteen recordings: half as many requests would be 100 MB."""

BLOCKS_KEPT = 32
"""Together 32 MiB, for all jobs: room for sixteen decoders that read at two places each."""

BLOCKS_OF_ONE = 2
"""A decoder reads at one place or at two (index and sound; sound and picture far apart), and seldom goes back."""


class Bytes(Protocol):
    """The bytes of one pinned object."""

    @property
    def size(self) -> int:
        """Length of the whole object in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; fewer only at the object's end.

        Raises what its adapter raises (Gone, Transient, NeighbourDown): it passes through the decoding unchanged.
        """


class FileBytes:
    """A file. Every read opens it anew, so that nothing is left open and any number of threads may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; fewer only at the file's end. Raises OSError."""
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


class BlockCache:
    """The blocks that were used last, of all sources together. Thread-safe."""

    def __init__(self, kept: int = BLOCKS_KEPT, block_bytes: int = BLOCK_BYTES) -> None:
        self._kept = kept
        self._block_bytes = block_bytes
        self._blocks: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def over(self, source: Bytes) -> Bytes:
        """Return the same bytes, read in whole blocks of `source`."""
        return _Blocks(self, source)

    def block(self, source: Bytes, index: int) -> bytes:
        """Return one block; it is fetched outside the lock, so that a slow range holds up nobody else."""
        key = (id(source), index)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        offset = index * self._block_bytes
        data = source.read(offset, min(self._block_bytes, source.size - offset))
        with self._lock:
            self._blocks[key] = data
            for old in [old for old in self._blocks if old[0] == key[0]][:-BLOCKS_OF_ONE]:
                del self._blocks[old]
            while len(self._blocks) > self._kept:
                self._blocks.popitem(last=False)
        return data

    def forget(self, source: Bytes) -> None:
        """Make room: this source is not read again."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == id(source)]:
                del self._blocks[key]

    @property
    def block_bytes(self) -> int:
        """Size of all blocks but a source's last."""
        return self._block_bytes


class _Blocks:
    def __init__(self, cache: BlockCache, source: Bytes) -> None:
        self._cache = cache
        self._source = source
        self.size = source.size

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        parts = []
        while offset < end:
            index, start = divmod(offset, self._cache.block_bytes)
            part = self._cache.block(self._source, index)[start : start + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def __del__(self) -> None:
        self._cache.forget(self._source)
