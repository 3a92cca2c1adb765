"""The shared slots: at most so many requests on the wire, fair by chunk; a rate; a gate that a 429 closes for all.

The law of this file: slots are the scarce thing. A free slot goes to the job with the fewest requests in flight, then
to the oldest job: a long file spreads over every idle slot, and a short one that comes behind it starts at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any, NamedTuple, Self, TypeVar, overload

from subscriber.drain import Drain
from subscriber.errors import Interrupted, RateLimited
from subscriber.metrics import Metrics

__all__ = ["Lane", "SlotPool"]

A = TypeVar("A")
T = TypeVar("T")

USUAL_WEIGHT = 0.2
"""Weight of the newest request in the moving average of what a request usually takes."""

GROW_AFTER = 4
"""Answers a slot that bring one slot back after a 429 has halved them: additive increase, multiplicative decrease, as
in Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989."""


AHEAD = 2
LEAST_AHEAD = 2
"""Chunks that all jobs together may have under way, a slot; and each job at least: the next one must be at hand when a
slot gets free, and a chunk of 30 s holds about 1.5 MB."""

THREADS_A_SLOT = 2
"""A thread that has given up its slot still judges and stores its answer, while another thread uses the slot."""

FIRST_GUESS_SECONDS = 5.0
"""What a request usually takes, as long as none was answered: an answer for 30 s of speech comes in 2 to 6 s. A pod
that has to stop as soon as it has started must not send what it will not be there to hear."""


def _itself(answer: Any) -> Any:
    return answer


class _Task(NamedTuple):
    request: Callable[[], Any]
    then: Callable[[Any], Any]
    future: Future[Any]


class Lane:
    """One job's place in the pool; its requests wait here in their order. Leaving the `with` block drops what waits."""

    def __init__(self, pool: SlotPool, age: int) -> None:
        self._pool = pool
        self.age = age
        self.in_flight = 0
        self.closed = False
        self.waiting: deque[_Task] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.close(self)

    @overload
    def submit(self, request: Callable[[], A]) -> Future[A]: ...

    @overload
    def submit(self, request: Callable[[], A], then: Callable[[A], T]) -> Future[T]: ...

    def submit(self, request: Callable[[], Any], then: Callable[[Any], Any] = _itself) -> Future[Any]:
        """Have a request made when a slot is free and fairly ours; `then` turns its answer into the result, slotless.

        The future raises what either raises, and Interrupted in a drain.
        """
        return self._pool.submit(self, request, then)

    def waited_for_gate(self) -> bool:
        """Wait, slot in hand, until no 429 keeps us from sending; whether it did. Raises Interrupted in a drain."""
        return self._pool.waited_for_gate()

    def has_room(self, held: int) -> bool:
        """Whether a job may decode on that holds the sound of so many chunks: the more jobs, the fewer each."""
        return self._pool.has_room(held)


class SlotPool:
    """Thread-safe. `slots` threads at most, started as they are needed. One process has one pool."""

    def __init__(self, slots: int, requests_per_minute: float | None, drain: Drain, metrics: Metrics) -> None:
        self._most_slots = self._slots = slots
        self._spacing = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._drain = drain
        self._metrics = metrics
        self._ages = count()
        self._lanes: set[Lane] = set()
        self._in_flight = self._threads = self._idle = self._successes = 0
        self._gate_opens_at = self._next_at = self._halved_at = 0.0
        self._usual_seconds: float | None = None
        self._changed = threading.Condition()
        drain.wakes(self._changed)
        metrics.whisper_slots.set(slots)

    def lane(self) -> Lane:
        """A new job's place, behind those that are there."""
        with self._changed:
            lane = Lane(self, next(self._ages))
            self._lanes.add(lane)
            return lane

    def submit(self, lane: Lane, request: Callable[[], A], then: Callable[[A], T]) -> Future[T]:
        """See `Lane.submit`."""
        future: Future[T] = Future()
        with self._changed:
            lane.waiting.append(_Task(request, then, future))
            if self._threads < THREADS_A_SLOT * self._most_slots and self._idle < self._waiting():
                self._threads += 1
                threading.Thread(target=self._work, name="whisper", daemon=True).start()
            self._wake()
        return future

    def waited_for_gate(self) -> bool:
        """See `Lane.waited_for_gate`."""
        waited = False
        with self._changed:
            while (closed := self._gate_opens_at - time.monotonic()) > 0:
                if self._drain.draining:
                    raise Interrupted("draining: no request could return in time")
                self._changed.wait(closed)
                self._wake()  # we may have been woken in place of an idle thread
                waited = True
        return waited

    def has_room(self, held: int) -> bool:
        """See `Lane.has_room`."""
        with self._changed:
            return held < max(LEAST_AHEAD, AHEAD * self._most_slots // max(1, len(self._lanes)))

    def close(self, lane: Lane) -> None:
        """Forget a lane: what waits in it is cancelled; in a drain, what is on the wire may come back and be stored."""
        with self._changed:
            lane.closed = True
            for task in lane.waiting:
                task.future.cancel()
            lane.waiting.clear()
            while lane.in_flight and self._drain.draining and (left := self._drain.seconds_for_answers()) > 0:
                self._changed.wait(left)
            self._lanes.discard(lane)

    def _work(self) -> None:
        """One thread: for ever take the fairest request and make it, and hold nothing of the last one meanwhile."""
        while True:
            self._make(*self._next())

    def _make(self, lane: Lane, task: _Task) -> None:
        began, ok = time.monotonic(), False
        try:
            answer = task.request()
            ok = True
        except RateLimited as limit:
            self._close_gate(lane, task, began, limit.seconds)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future raises it
            task.future.set_exception(error)
        self._leave(time.monotonic() - began, ok=ok)
        if ok:
            _conclude(task, answer)
        self._settle(lane)

    def _next(self) -> tuple[Lane, _Task]:
        """Wait for a request that may go now, and count it as on the wire."""
        with self._changed:
            while True:
                closed = max(0.0, max(self._gate_opens_at, self._next_at) - time.monotonic())
                spare = self._refuse_in_drain(closed)
                lane = self._fairest()
                if lane and not closed:
                    break
                self._idle += 1
                self._changed.wait(min(spare, closed if lane else threading.TIMEOUT_MAX))
                self._idle -= 1
            lane.in_flight += 1
            self._in_flight += 1
            self._metrics.whisper_in_flight.set(self._in_flight)
            self._next_at = time.monotonic() + self._spacing
            task = lane.waiting.popleft()
            self._wake()
            return lane, task

    def _wake(self) -> None:
        """Wake as many idle threads as there are requests that may go now; whoever takes one wakes the next.

        All of them for each request would take more CPU than the request. In a drain others wait as well: `close`.
        """
        if self._drain.draining:
            self._changed.notify_all()
        else:
            self._changed.notify(max(0, min(self._slots - self._in_flight, self._waiting())))

    def _fairest(self) -> Lane | None:
        """Whose request is next, if there is a slot and a request."""
        if self._in_flight >= self._slots:
            return None
        waiting = (lane for lane in self._lanes if lane.waiting)
        return min(waiting, key=lambda lane: (lane.in_flight, lane.age), default=None)

    def _refuse_in_drain(self, closed_seconds: float) -> float:
        """Draining, no request is made that could not return in time. The seconds for which one still could."""
        if not self._drain.draining:
            return threading.TIMEOUT_MAX
        usual = FIRST_GUESS_SECONDS if self._usual_seconds is None else self._usual_seconds
        spare = self._drain.seconds_for_work() - closed_seconds - usual
        if spare > 0:
            return spare
        for lane in self._lanes:
            while lane.waiting:
                lane.waiting.popleft().future.set_exception(Interrupted("draining: no request could return in time"))
        return threading.TIMEOUT_MAX

    def _leave(self, took_seconds: float, *, ok: bool) -> None:
        with self._changed:
            self._in_flight -= 1
            self._metrics.whisper_in_flight.set(self._in_flight)
            if ok:
                known = took_seconds if self._usual_seconds is None else self._usual_seconds
                self._usual_seconds = known + USUAL_WEIGHT * (took_seconds - known)
                self._grow()
            self._wake()

    def _settle(self, lane: Lane) -> None:
        """The request is done with, its answer stored."""
        with self._changed:
            lane.in_flight -= 1
            self._wake()

    def _grow(self) -> None:
        self._successes += 1
        if self._slots < self._most_slots and self._successes >= GROW_AFTER * self._slots:
            self._resize(self._slots + 1)

    def _close_gate(self, lane: Lane, task: _Task, began: float, seconds: float) -> None:
        """A 429: nobody sends until its time has passed, with half the slots; its own request goes first in its lane.

        Requests that were sent before the slots were halved say nothing of the half: their 429s do not halve again,
        also when they come after the gate has opened.
        """
        with self._changed:
            if began > self._halved_at:
                self._resize(max(1, self._slots // 2))
                self._halved_at = time.monotonic()
            self._gate_opens_at = max(self._gate_opens_at, time.monotonic() + seconds)
            if lane.closed:
                task.future.cancel()  # its job has ended; who shares the request must ask for itself
            else:
                lane.waiting.appendleft(task)

    def _resize(self, slots: int) -> None:
        self._slots = slots
        self._successes = 0
        self._metrics.whisper_slots.set(slots)

    def _waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes)


def _conclude(task: _Task, answer: Any) -> None:
    try:
        task.future.set_result(task.then(answer))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future raises it
        task.future.set_exception(error)
