"""What `check` finds out about the neighbours, as plain values: adapters fill them in, the rules judge them.

The law of this file: None is "nobody could tell", never "there is none".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "BucketFacts",
    "DeadLetterFacts",
    "Finding",
    "LedgerFacts",
    "Level",
    "LifecycleRule",
    "Notification",
    "SubscriptionFacts",
    "Unseen",
]


class Level(StrEnum):
    """How a finding stands. Unknown: we may not look, or an emulator has no answer."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`; `remedy` is the command that mends it."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


class Unseen(Exception):
    """Nobody could tell: why, and what would let us see."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class DeadLetterFacts:
    """Where undeliverable messages go. The grants are those of Pub/Sub's service agent, as far as policies show."""

    topic: str
    max_attempts: int
    subscriptions: tuple[str, ...] | None
    agent_may_publish: bool | None
    agent_may_acknowledge: bool | None


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """A subscription's settings. `expires_after_seconds` 0: never; `backoff_seconds` None: redelivers at once."""

    name: str
    topic: str
    ack_deadline_seconds: int
    expires_after_seconds: float | None
    retention_seconds: float
    backoff_seconds: float | None
    filter: str
    exactly_once: bool
    push: bool
    dead_letter: DeadLetterFacts | None


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification config of a bucket; no event types are all of them."""

    id: str
    topic: str
    event_types: tuple[str, ...]
    prefix: str


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """A rule of a bucket; `prefixes` empty: it meets every object."""

    action: str
    age_days: int | None
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket's settings; `retention_seconds` 0: none."""

    name: str
    requester_pays: bool
    retention_seconds: int
    default_hold: bool
    lifecycle: tuple[LifecycleRule, ...]


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What Firestore's administration says of the collection: TTL fields, fields without index, composite indexes."""

    ttl_fields: frozenset[str]
    unindexed: frozenset[str]
    indexes: frozenset[tuple[tuple[str, str], ...]]
