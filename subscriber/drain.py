"""The one fact that everything shuts down by: whether we drain, and how much grace is left."""

from __future__ import annotations

import threading
import time

__all__ = ["RESERVE_SECONDS", "Drain"]

RESERVE_SECONDS = 2.0
"""Grace that is kept for releasing what is left: one transaction a claim and one request for all leases."""

LAST_BREATH_SECONDS = 0.5
"""Grace that is kept for storing the last answer and for the process's own end."""


class Drain:
    """Begins once, on the first signal; a second one takes the remaining grace away. All times are seconds.

    Never begun inside a signal handler: it takes locks.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self._begun = threading.Event()
        self._ends_at = float("inf")
        self._waiters: list[threading.Condition] = []

    def wakes(self, waiters: threading.Condition) -> None:
        """Notify this condition when the drain begins and when its grace is taken away."""
        self._waiters.append(waiters)

    def begin(self) -> None:
        """Start draining; called again, stop waiting for anything."""
        grace = 0.0 if self._begun.is_set() else self.grace_seconds
        self._ends_at = min(self._ends_at, time.monotonic() + grace)
        self._begun.set()
        for condition in self._waiters:
            with condition:
                condition.notify_all()

    @property
    def draining(self) -> bool:
        """Whether the first signal has come."""
        return self._begun.is_set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the drain begins; whether it has."""
        return self._begun.wait(timeout_seconds)

    def remaining_seconds(self) -> float:
        """Grace that is left: infinite before the drain, never below 0."""
        return max(0.0, self._ends_at - time.monotonic())

    def seconds_for_work(self) -> float:
        """Grace that is left for unfinished work: releasing it takes the rest, a quarter of a short grace."""
        return max(0.0, self.remaining_seconds() - min(RESERVE_SECONDS, self.grace_seconds / 4))

    def seconds_for_answers(self) -> float:
        """Grace that is left for what is on the wire: it is paid for, and storing it needs no claim."""
        return max(0.0, self.remaining_seconds() - min(LAST_BREATH_SECONDS, self.grace_seconds / 16))
