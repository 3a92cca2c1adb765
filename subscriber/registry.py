"""Which jobs this process has, and the deliveries that wait for each: no job is claimed twice by one process.

A job is in work (a thread has it), parked (another process has it) or queued (it is large, and no place for a large one
was free). Whatever it is, further deliveries of it only join the list: they are leased, take no place, ask the ledger
nothing, and are settled together when the job is.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from subscriber.model import Delivery, Job

__all__ = ["Registry", "large_places"]


def large_places(max_jobs: int) -> int:
    """How many jobs in work may be large ones.

    A quarter of the places is kept for small ones: at least one of two or three, because a file of ten hours fills all
    slots by itself and a second one beside it gains little; none of one, which is everybody's.
    """
    return max_jobs - max(max_jobs // 4, min(1, max_jobs - 1))


@dataclass(slots=True)
class _Entry:
    """`wake_at` is None while the job is in work; `queued` tells a job that was never begun from a parked one."""

    large: bool
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    wake_at: float | None = None
    queued: bool = False


class Registry:
    """Thread-safe. `max_waiting` bounds the deliveries that wait without leading a job in work or in the queue."""

    def __init__(self, max_waiting: int, max_jobs: int) -> None:
        self._max_waiting = max_waiting
        self._max_queued = max_jobs
        self._large_places = large_places(max_jobs)
        self._entries: dict[Job, _Entry] = {}
        self._lock = threading.Lock()

    def join(self, job: Job, delivery: Delivery, *, large: bool = False) -> Literal["lead", "joined", "queued", "full"]:
        """`lead` when the caller shall work on the job, `joined` when somebody does or will, `full` when too many wait.

        `queued`: the job is large and waits for its place; `wake` hands it out.
        """
        with self._lock:
            entry = self._entries.get(job)
            if entry is None:
                queued = large and not self._free_large_places()
                wake_at = time.monotonic() if queued else None
                self._entries[job] = _Entry(large, {delivery.key: delivery}, wake_at, queued)
                return "queued" if queued else "lead"
            if delivery.key not in entry.deliveries and self._is_full():
                return "full"
            entry.deliveries[delivery.key] = delivery
            return "joined"

    def park(self, job: Job, wake_in_seconds: float) -> bool:
        """Let the job wait for its other owner; False when too many deliveries wait already."""
        with self._lock:
            if self._is_full():
                return False
            self._entries[job].wake_at = time.monotonic() + wake_in_seconds
            return True

    def wake(self) -> tuple[Job, Delivery] | None:
        """The job that has waited longest since its time came, in work from now on, with the delivery that leads it.

        A large one only while there is a place for it.
        """
        with self._lock:
            any_size = self._free_large_places() > 0
            waiting = [(one.wake_at, job) for job, one in self._entries.items() if any_size or not one.large]
            due = [(at, job) for at, job in waiting if at is not None]
            at, job = min(due, key=lambda pair: pair[0], default=(float("inf"), None))
            if job is None or at > time.monotonic():
                return None
            entry = self._entries[job]
            entry.wake_at, entry.queued = None, False
            return job, next(iter(entry.deliveries.values()))

    def finish(self, job: Job) -> list[Delivery]:
        """Forget the job; the deliveries to settle, the leading one first."""
        with self._lock:
            entry = self._entries.pop(job, None)
            return list(entry.deliveries.values()) if entry else []

    def finish_waiting(self) -> list[list[Delivery]]:
        """Forget the jobs that nobody here works on; the deliveries to settle, job by job.

        In one step: a job that woke between a look and a `finish` would be settled while a thread works on it.
        """
        with self._lock:
            waiting = [job for job, entry in self._entries.items() if entry.wake_at is not None]
            return [list(self._entries.pop(job).deliveries.values()) for job in waiting]

    def waiting(self) -> int:
        """How many deliveries wait: parked and queued ones, and those that joined a job in work."""
        with self._lock:
            return self._waiting()

    def room(self, threads: int) -> int:
        """How many more deliveries the queue could take, should each be of a large job; `threads` are all at work.

        Those of them that have no job as yet may still bring one into the queue.
        """
        with self._lock:
            in_work = sum(entry.wake_at is None for entry in self._entries.values())
            return self._max_queued - self._queued() - (threads - in_work)

    def _is_full(self) -> bool:
        return self._waiting() - self._queued() >= self._max_waiting

    def _waiting(self) -> int:
        return sum(len(entry.deliveries) - (entry.wake_at is None) for entry in self._entries.values())

    def _queued(self) -> int:
        return sum(entry.queued for entry in self._entries.values())

    def _free_large_places(self) -> int:
        in_work = sum(entry.large and entry.wake_at is None for entry in self._entries.values())
        return self._large_places - in_work
