"""Emptying the subscription that holds dead letters: what Pub/Sub gave up is notified anew.

The law of this file: a dead letter is acked only after its notification is published. What is no notification is shown
and left where it is, and so is what came after the run began: what it has delivered anew may come back to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from subscriber.decisions import Verdict
from subscriber.desk.reopening import Deed
from subscriber.desk.replaying import MOVED, Candidate, Plan, Step, notice, take
from subscriber.desk.tools import Desk
from subscriber.errors import NotForUs, SubscriberError
from subscriber.model import Delivery, Record
from subscriber.notification import parse
from subscriber.ports import Source

__all__ = ["BATCH_MESSAGES", "MOST_LEFT", "Stray", "drain"]

BATCH_MESSAGES = 100
MOST_LEFT = 1000
"""Messages that one run may leave where they are, or look at in a dry run."""

HELD_SECONDS = 600
"""As long as Pub/Sub lets a lease be: what is left must not be met again by the same run."""

EMPTY_PULLS = 2
"""After so many the subscription is taken to be empty: one may bring nothing although there is more."""

KNOWN_ENDS = frozenset({Deed.REOPEN, Deed.SETTLED, Deed.FORGOTTEN})
"""What else there is needs its message: a claim may end, a newer version come, an object be gone."""


class Stray(NamedTuple):
    """A message that is left where it is, and why."""

    message_id: str
    why: str


def drain(desk: Desk, source: Source, subscription: str, plan: Plan) -> Iterator[Step | Stray]:
    """Reopen, notify, ack, batch by batch; whatever else there is, only tell. Raises ConfigError, NeighbourDown."""
    notify = None if plan.dry_run else desk.notifier.notify
    left, began = dict[str, str](), desk.clock()
    try:
        for deliveries in _batches(source, subscription, left):
            told = [_read(desk, delivery, plan, began) for delivery in deliveries]
            if notify:
                steps = [step for step in told if isinstance(step, Step)]
                notify([notice(step.job) for step in steps if step.deed in MOVED])
                pairs = zip(deliveries, told, strict=True)
                if done := [left.pop(one.message.id) for one, step in pairs if isinstance(step, Step)]:
                    source.ack(subscription, done)
            yield from told
    finally:
        if left:
            with suppress(SubscriberError):  # they come back by themselves, only later
                source.extend(subscription, list(left.values()), 0)


def _batches(source: Source, subscription: str, left: dict[str, str]) -> Iterator[Sequence[Delivery]]:
    empty = 0
    while empty < EMPTY_PULLS and len(left) < MOST_LEFT:
        deliveries = source.pull(BATCH_MESSAGES)
        empty = 0 if deliveries else empty + 1
        if deliveries:
            source.extend(subscription, [one.ack_id for one in deliveries], HELD_SECONDS)
        new = [one for one in deliveries if one.message.id not in left]
        left |= {one.message.id: one.ack_id for one in deliveries}
        if new:
            yield new


def _read(desk: Desk, delivery: Delivery, plan: Plan, began: datetime) -> Step | Stray:
    """What was done about a dead letter; whatever stands against its job is for the daemon to judge and record."""
    if delivery.message.published_at > began:
        return Stray(delivery.message.id, "it came after this run began, and is for the next one")
    try:
        job = parse(delivery.message).job(desk.location.text)
    except NotForUs as error:
        return Stray(delivery.message.id, str(error))
    step = take(desk, Candidate(job, desk.ledger.transact(job, _found)), plan)
    return step if step.deed in KNOWN_ENDS else step._replace(deed=Deed.NOTIFY)


def _found(record: Record | None, _: object) -> Verdict[Record | None]:
    return Verdict(record)
