"""Which jobs this process has, and the deliveries that wait for each: no job is claimed twice by one process.

A job is in work (a thread has it) or parked (another process has it). Either way further deliveries of it only join the
list: they are leased, take no place, ask the ledger nothing, and are settled together when the job is.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from subscriber.model import Delivery, Job

__all__ = ["Registry"]


@dataclass(slots=True)
class _Entry:
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    wake_at: float | None = None


class Registry:
    """Thread-safe. `max_waiting` bounds the deliveries that wait without being the one in work."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._entries: dict[Job, _Entry] = {}
        self._lock = threading.Lock()

    def join(self, job: Job, delivery: Delivery) -> str:
        """`lead` when the caller shall work on the job, `joined` when somebody does, `full` when too many wait."""
        with self._lock:
            entry = self._entries.get(job)
            if entry is None:
                self._entries[job] = _Entry({delivery.key: delivery})
                return "lead"
            if delivery.key not in entry.deliveries and self._waiting() >= self._max_waiting:
                return "full"
            entry.deliveries[delivery.key] = delivery
            return "joined"

    def park(self, job: Job, wake_in_seconds: float) -> bool:
        """Let the job wait for its other owner; False when too many deliveries wait already."""
        with self._lock:
            if self._waiting() >= self._max_waiting:
                return False
            self._entries[job].wake_at = time.monotonic() + wake_in_seconds
            return True

    def wake(self) -> tuple[Job, Delivery] | None:
        """A parked job whose time has come, in work from now on, with the delivery that leads it."""
        with self._lock:
            due = [(entry.wake_at, job) for job, entry in self._entries.items() if entry.wake_at is not None]
            at, job = min(due, key=lambda pair: pair[0], default=(float("inf"), None))
            if job is None or at > time.monotonic():
                return None
            entry = self._entries[job]
            entry.wake_at = None
            return job, next(iter(entry.deliveries.values()))

    def finish(self, job: Job) -> list[Delivery]:
        """Forget the job; the deliveries to settle, the leading one first."""
        with self._lock:
            entry = self._entries.pop(job, None)
            return list(entry.deliveries.values()) if entry else []

    def finish_parked(self) -> list[list[Delivery]]:
        """Forget the jobs that wait for another owner; the deliveries to settle, job by job.

        In one step: a job that woke between a look and a `finish` would be settled while a thread works on it.
        """
        with self._lock:
            parked = [job for job, entry in self._entries.items() if entry.wake_at is not None]
            return [list(self._entries.pop(job).deliveries.values()) for job in parked]

    def waiting(self) -> int:
        """How many deliveries wait: parked ones, and those that joined a job in work."""
        with self._lock:
            return self._waiting()

    def _waiting(self) -> int:
        return sum(len(entry.deliveries) - (entry.wake_at is None) for entry in self._entries.values())
