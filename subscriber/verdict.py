"""What a decision is asked with, and what it says: the answer to the caller, and the document to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from subscriber.model import Job, Outcome, Record

__all__ = ["ClaimRequest", "Decide", "Decision", "Refusal", "Verdict"]

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T, D]):
    """What the caller gets, and the document to write (None leaves the ledger as it is)."""

    answer: T
    write: D | None = None


class Verdict(Decision[T, Record]):
    """A decision about a job's record."""

    __slots__ = ()


Decide = Callable[[Record | None, datetime], Verdict[T]]


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a claimer asks with. `nonce` is new for every call; times are Pub/Sub's, lengths seconds."""

    job: Job
    nonce: str
    owner: str
    message_id: str
    published_at: datetime
    claim_seconds: float
    max_attempts: int
    max_event_age_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no claim, and how many seconds later it is worth asking again (0 for a final answer)."""

    outcome: Outcome
    retry_after_seconds: float = 0.0
    record: Record | None = None
