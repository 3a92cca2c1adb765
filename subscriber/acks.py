"""Acks go out together: what ends within a moment shares a call.

The law of this file: only what is durable comes here. What waits here is leased to us long enough, though nobody renews
it any more, as long as calls are answered; and where one is not, or the process dies, nothing is lost but acks, whose
messages come again and meet their record.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Self

from subscriber.batches import batches, told
from subscriber.drain import Drain
from subscriber.errors import SubscriberError
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import Delivery
from subscriber.ports import Source

__all__ = ["GATHER_SECONDS", "Acks", "count_told"]

GATHER_SECONDS = 0.1
"""How long an ack waits for others: under load some ten share a call, and a lease lasts a hundred times longer."""

LAST_CALL_SECONDS = (1.0, 5.0)
"""What the last call may take: at least, also of a grace that is used up, and at most, which is a call's own limit."""


class Acks:
    """A thread that acks what was added until its `with` block ends, whatever befalls a call."""

    def __init__(self, source: Source, drain: Drain, metrics: Metrics) -> None:
        self._source = source
        self._drain = drain
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
        least, most = LAST_CALL_SECONDS
        self._thread.join(max(least, min(self._drain.remaining_seconds(), most)))

    def alive(self) -> bool:
        """Whether the thread is there: without it nothing would be acked any more."""
        return self._thread.is_alive()

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
            try:
                self._ack(subscription, ack_ids)
            except Exception:  # noqa: BLE001 - the others are acked, whatever befell these
                get_logger().exception("acks_failed", deliveries=len(ack_ids))
                self._metrics.settlements.labels("ack", "error").inc(len(ack_ids))

    def _ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        with self._metrics.stage_seconds.labels("settle").time():
            for number, error in told(partial(self._source.ack, subscription), ack_ids):
                count_told(self._metrics, "ack", number, error)

    def _run(self) -> None:
        while not self._stopped or self._waiting:
            with self._changed:
                while not (self._stopped or self._waiting):
                    self._changed.wait()
                if not self._stopped:
                    self._changed.wait(GATHER_SECONDS)
            self.flush()


def count_told(metrics: Metrics, kind: str, number: int, error: SubscriberError | None) -> None:
    """What Pub/Sub was told of so many deliveries, or was not."""
    if error:
        get_logger().warning("settlement_failed", settlement=kind, deliveries=number, error=str(error))
    metrics.settlements.labels(kind, "error" if error else "ok").inc(number)
