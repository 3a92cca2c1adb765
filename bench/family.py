"""CPU and memory of programs with all their processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

import psutil

__all__ = ["Family", "Memory", "MemoryWatch", "pss_bytes"]


class Memory(NamedTuple):
    """In MB; what processes share counts in `rss` once for each, in `pss` once."""

    rss: float
    pss: float


class Family:
    """Some processes and their descendants, as they are when it is asked."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in roots]

    def members(self) -> list[psutil.Process]:
        """Those that live now."""
        found = set(self._roots)
        for root in self._roots:
            with suppress(psutil.Error):
                found.update(root.children(recursive=True))
        return list(found)

    def cpu_seconds(self) -> float:
        """Of all, and of those that have ended and were waited for."""
        return sum(map(_cpu_seconds, self.members()))

    def memory(self) -> Memory:
        """At this moment."""
        members = self.members()
        return Memory(sum(map(_rss_bytes, members)) / 1e6, sum(map(pss_bytes, members)) / 1e6)


class MemoryWatch:
    """Looks while its `with` block runs; `most` is the highest of each figure. A look costs some ms of CPU."""

    def __init__(self, family: Family, every_seconds: float = 0.5) -> None:
        self._family = family
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most = Memory(0.0, 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self._every_seconds):
            now = self._family.memory()
            self.most = Memory(max(self.most.rss, now.rss), max(self.most.pss, now.pss))


def pss_bytes(process: psutil.Process) -> int:
    """Its share of what it holds; 0 when it has just ended."""
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def _rss_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _cpu_seconds(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        used = process.cpu_times()
        return float(used.user + used.system + used.children_user + used.children_system)
    return 0.0
