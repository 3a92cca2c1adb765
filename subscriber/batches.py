"""Telling Pub/Sub of many deliveries with few calls.

The law of this file: what cannot be told of one delivery keeps no other from being told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from subscriber.errors import Refused, SubscriberError
from subscriber.model import Delivery

__all__ = ["BATCH", "batches", "told"]

BATCH = 1000
"""Ack ids a request: at some 200 bytes each well below the 512 KiB that a request may have."""


def batches(deliveries: Iterable[Delivery]) -> Iterator[tuple[str, list[str]]]:
    """Subscription and ack ids, at most BATCH of them a request."""
    by_subscription: dict[str, list[str]] = defaultdict(list)
    for delivery in deliveries:
        by_subscription[delivery.subscription].append(delivery.ack_id)
    for subscription, ack_ids in by_subscription.items():
        for start in range(0, len(ack_ids), BATCH):
            yield subscription, ack_ids[start : start + BATCH]


def told(tell: Callable[[Sequence[str]], None], ack_ids: Sequence[str]) -> Iterator[tuple[int, SubscriberError | None]]:
    """Tell of a batch: of how many, and what came in between, if anything did.

    A refused batch is halved until the malformed id stands alone, because it fails its whole batch.
    """
    try:
        tell(ack_ids)
    except Refused as refusal:
        if len(ack_ids) == 1:
            yield 1, refusal
            return
        middle = len(ack_ids) // 2
        yield from told(tell, ack_ids[:middle])
        yield from told(tell, ack_ids[middle:])
    except SubscriberError as error:
        yield len(ack_ids), error
    else:
        yield len(ack_ids), None
