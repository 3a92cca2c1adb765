"""Threads that are kept for the next task.

The law of this file: a task begins at once, whoever else is at work, and finds nothing that an earlier one left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context

__all__ = ["Crew"]


class Crew:
    """As many daemon threads as ever had a task at the same time; to start one costs more than a task's hand-over."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], None]] = deque()
        self._idle = 0

    def run(self, task: Callable[[], None]) -> None:
        """Have a thread do it, which nobody waits for. What a task raises ends its thread, and nothing else."""
        with self._changed:
            self._tasks.append(task)
            if self._idle >= len(self._tasks):
                self._changed.notify()
                return
        # Without arguments, because a thread holds them until it ends.
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            Context().run(self._next())

    def _next(self) -> Callable[[], None]:
        with self._changed:
            self._idle += 1
            while not self._tasks:
                self._changed.wait()
            self._idle -= 1
            return self._tasks.popleft()
