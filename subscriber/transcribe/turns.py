"""How many recordings with large indexes are decoded at once.

The law of this file: memory does not grow with the number of jobs. A decoder holds its file's index as long as it lives
(16 MB for three hours of m4a), so such files take turns, the oldest first. All others never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from subscriber.drain import Drain
from subscriber.errors import Interrupted

__all__ = ["ROOM_BYTES", "SMALL_BYTES", "Turns"]

SMALL_BYTES = 4 * 2**20
"""45 minutes of m4a: an index that is not larger waits for nobody."""

ROOM_BYTES = 128 * 2**20
"""For all larger ones together: eight three-hour recordings, which feed more slots than a process has."""


class Turns:
    """Thread-safe; one process has one."""

    def __init__(self, drain: Drain, room_bytes: int = ROOM_BYTES) -> None:
        self._drain = drain
        self._room_bytes = room_bytes
        self._line: list[_Place] = []
        self._changed = threading.Condition()
        drain.wakes(self._changed)

    @contextmanager
    def turn(self, index_bytes: int) -> Iterator[None]:
        """Wait until an index of this size has room, and count it while the block lasts; a huge one is alone.

        Raises Interrupted when a drain begins while it waits: nothing of the job has begun.
        """
        if index_bytes <= SMALL_BYTES:
            yield
            return
        place = _Place(index_bytes)
        with self._changed:
            self._line.append(place)
        try:
            self._wait(place)
            yield
        finally:
            with self._changed:
                self._line.remove(place)
                self._changed.notify_all()

    def _wait(self, place: _Place) -> None:
        """The first of the line are at work; who leaves lets the next ones move up."""
        with self._changed:
            while not self._has_room(place):
                if self._drain.draining:
                    raise Interrupted("draining before a recording had its turn")
                self._changed.wait()

    def _has_room(self, place: _Place) -> bool:
        before = self._line[: self._line.index(place)]
        return not before or sum(one.index_bytes for one in before) + place.index_bytes <= self._room_bytes


class _Place:
    """In the line; two of the same size are two."""

    def __init__(self, index_bytes: int) -> None:
        self.index_bytes = index_bytes
