"""From outcome to settlement: one total table. A new outcome without a row is an error at import.

The law of this file: a message is acked only after its outcome is durable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

from subscriber.acks import Acks, count_told
from subscriber.errors import SubscriberError
from subscriber.lease import LeaseKeeper
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Ending, Outcome, Record

__all__ = ["SETTLEMENT", "Settlement", "Settler"]

LONGEST_DEFER_SECONDS = 600
"""Pub/Sub's limit. A job that must wait longer arrives early and is deferred again."""


class Settlement(Enum):
    """What we tell Pub/Sub about a delivery."""

    ACK = "ack"
    DEFER = "defer"
    PARK = "park"
    LEAVE = "leave"


SETTLEMENT: dict[Outcome, Settlement] = {
    # The outcome is durable: the transcript or the reason is recorded.
    Outcome.TRANSCRIBED: Settlement.ACK,
    Outcome.DUPLICATE: Settlement.ACK,
    Outcome.GONE: Settlement.ACK,
    Outcome.SUPERSEDED: Settlement.ACK,
    Outcome.REJECTED: Settlement.ACK,
    Outcome.EXHAUSTED: Settlement.ACK,
    Outcome.EXPIRED: Settlement.ACK,
    # It asks nothing of us; counted with its reason.
    Outcome.IGNORED: Settlement.ACK,
    # Another worker has the job. An ack here could ack the message that worker needs: hold it until the job is settled.
    Outcome.BUSY: Settlement.PARK,
    # Our own backoff: a bare nack would come back within milliseconds.
    Outcome.FAILED: Settlement.DEFER,
    Outcome.EARLY: Settlement.DEFER,
    # Another pod should have it at once: deferred by 0 s.
    Outcome.INTERRUPTED: Settlement.DEFER,
    # Somebody else holds the claim and perhaps the message: touch neither.
    Outcome.LOST: Settlement.LEAVE,
}

if missing := set(Outcome) - set(SETTLEMENT):  # pragma: no cover
    raise AssertionError(f"outcomes without a settlement: {missing}")


class Settler:
    """Applies the table. What Pub/Sub does not hear is harmless: the message comes again and meets its record."""

    def __init__(self, acks: Acks, leases: LeaseKeeper, metrics: Metrics) -> None:
        self._acks = acks
        self._leases = leases
        self._metrics = metrics

    def settle(self, deliveries: Sequence[Delivery], ending: Ending) -> None:
        """Settle all deliveries of a job alike; the first one was in work, the others only waited.

        But not those that came after its end, of which they may know nothing.
        """
        if later := [one for one in deliveries[1:] if _came_after(one, ending.record)]:
            self.settle(later, Ending(Outcome.EARLY, "replayed"))
            deliveries = [one for one in deliveries if one not in later]
        if not deliveries:
            return
        for delivery in deliveries:
            first = delivery is deliveries[0]
            outcome = Outcome.DUPLICATE if ending.outcome is Outcome.TRANSCRIBED and not first else ending.outcome
            self._metrics.deliveries.labels(outcome).inc()
        match SETTLEMENT[ending.outcome]:
            case Settlement.ACK:
                self._acks.add(self._leases.take(deliveries))
            case Settlement.DEFER | Settlement.PARK:
                # A delivery that finds no place to park is deferred instead.
                seconds = min(math.ceil(ending.retry_after_seconds), LONGEST_DEFER_SECONDS)
                self._defer(deliveries, seconds)
            case Settlement.LEAVE:
                self._leases.take(deliveries)

    def _defer(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        failed = None
        with self._metrics.stage_seconds.labels("settle").time():
            try:
                self._leases.defer(deliveries, seconds)
            except SubscriberError as error:
                failed = error
        count_told(self._metrics, "defer", len(deliveries), failed)


def _came_after(delivery: Delivery, record: Record | None) -> bool:
    """Whether this may be the message of a replay that reopened the job while we still told of its end.

    Both clocks are Google's, and between the end and that message lie the operator's own calls.
    """
    ended = record.completed_at if record else None
    return ended is not None and delivery.message.published_at > ended
