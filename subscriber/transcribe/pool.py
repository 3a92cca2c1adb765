"""The shared slots: at most so many requests on the wire, at most so many a minute, none while the gate is closed.

Slots are the scarce thing. Jobs claim and fetch ahead of need, wait here in the order of their arrival, and hold a slot
only while a request is on the wire.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from subscriber.drain import Drain
from subscriber.errors import Interrupted, RateLimited
from subscriber.metrics import Metrics

__all__ = ["SlotPool"]

T = TypeVar("T")

USUAL_WEIGHT = 0.2
"""Weight of the newest request in the moving average of what a request usually takes."""


class SlotPool:
    """Thread-safe. `requests_per_minute` is None for no limit. One process has one pool."""

    def __init__(self, slots: int, requests_per_minute: float | None, drain: Drain, metrics: Metrics) -> None:
        self._slots = slots
        self._spacing = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._drain = drain
        self._metrics = metrics
        self._in_flight = 0
        self._opens_at = 0.0
        self._usual_seconds = 0.0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        drain.wakes(self._changed)
        metrics.whisper_slots.set(slots)

    def send(self, call: Callable[[], T]) -> T:
        """Run `call`, one request, in a slot; again after a RateLimited, which closes the gate for everybody.

        Raises Interrupted when a drain leaves too little grace for what a request usually takes.
        """
        while True:
            with self._slot():
                began = time.monotonic()
                try:
                    answer = call()
                except RateLimited as limit:
                    self._close_for(limit.seconds)
                else:
                    self._learn(time.monotonic() - began)
                    return answer

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while (wait := self._must_wait(ticket)) is not None:
                    self._changed.wait(wait or None)
                self._in_flight += 1
                self._metrics.whisper_in_flight.set(self._in_flight)
                self._opens_at = max(self._opens_at, time.monotonic() + self._spacing)
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _must_wait(self, ticket: object) -> float | None:
        """None to go; else for how many seconds at most to wait for a sign, 0 for however long it takes."""
        closed = max(0.0, self._opens_at - time.monotonic())
        spare = self._drain.remaining_seconds() - closed - self._usual_seconds
        if self._drain.draining and spare <= 0:
            raise Interrupted("draining: no request that could not return in time")
        if self._queue[0] is not ticket or self._in_flight >= self._slots:
            return spare if self._drain.draining else 0.0
        return closed or None

    def _leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._metrics.whisper_in_flight.set(self._in_flight)
            self._changed.notify_all()

    def _learn(self, took_seconds: float) -> None:
        """What an answer takes. A refusal comes faster and tells nothing: a drain would then start what cannot end."""
        with self._changed:
            known = self._usual_seconds or took_seconds
            self._usual_seconds = known + USUAL_WEIGHT * (took_seconds - known)

    def _close_for(self, seconds: float) -> None:
        with self._changed:
            self._opens_at = max(self._opens_at, time.monotonic() + seconds)
