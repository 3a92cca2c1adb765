"""Threads that are kept for the next task.

The law of this file: a task begins at once, whoever else is at work, and finds nothing that an earlier one left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue

__all__ = ["Crew"]


class Crew:
    """As many daemon threads as ever had a task at the same time; to start one costs more than a task's hand-over."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle = threading.Semaphore(0)
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def run(self, task: Callable[[], None]) -> None:
        """Have a thread do it, which nobody waits for. What a task raises ends its thread, and nothing else."""
        if not self._idle.acquire(blocking=False):
            # Without arguments, because a thread holds them until it ends.
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            Context().run(task)
            del task  # or what it holds would stay until the next one comes
            self._idle.release()
