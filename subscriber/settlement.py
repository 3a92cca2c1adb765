"""From outcome to settlement: one total table. A new outcome without a row is an error at import.

The law of this file: a message is acked only after its outcome is durable.
"""

from __future__ import annotations

from enum import Enum

from subscriber.model import Outcome

__all__ = ["SETTLEMENT", "Settlement"]


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
