"""Acks go out together: what ends within a moment shares a call.

The law of this file: only what is durable comes here. What waits here is leased to us long enough, though nobody renews
it any more; and whoever dies takes nothing along but acks, whose messages come again and meet their record.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from subscriber.errors import SubscriberError
from subscriber.lease import LAST_TURN_SECONDS, batches
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import Delivery
from subscriber.ports import Source

__all__ = ["GATHER_SECONDS", "Acks", "telling"]

GATHER_SECONDS = 0.1
"""How long an ack waits for others: under load some ten share a call, and a lease lasts a hundred times longer."""


class Acks:
    """A thread that acks what was added until its `with` block ends, whatever befalls a call."""

    def __init__(self, source: Source, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics
        self._waiting: list[Delivery] = []
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="acks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Tell the rest, if Pub/Sub listens."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(LAST_TURN_SECONDS)

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Have these acked within GATHER_SECONDS, by the ack ids that they have."""
        with self._changed:
            self._waiting.extend(deliveries)
            if len(self._waiting) == len(deliveries):
                self._changed.notify()

    def flush(self) -> None:
        """Ack what waits now."""
        with self._changed:
            deliveries, self._waiting = self._waiting, []
        for subscription, ack_ids in batches(deliveries):
            with telling(self._metrics, "ack", len(ack_ids)):
                self._source.ack(subscription, ack_ids)

    def _run(self) -> None:
        while not self._stopped or self._waiting:
            with self._changed:
                while not (self._stopped or self._waiting):
                    self._changed.wait()
                if not self._stopped:
                    self._changed.wait(GATHER_SECONDS)
            try:
                self.flush()
            except Exception:  # noqa: BLE001 - without this thread nothing would be acked any more
                get_logger().exception("acks_failed")


@contextmanager
def telling(metrics: Metrics, kind: str, number: int) -> Iterator[None]:
    """Around a call that tells Pub/Sub of so many deliveries."""
    result = "ok"
    with metrics.stage_seconds.labels("settle").time():
        try:
            yield
        except SubscriberError as error:
            result = "error"
            get_logger().warning("settlement_failed", settlement=kind, deliveries=number, error=str(error))
    metrics.settlements.labels(kind, result).inc(number)
