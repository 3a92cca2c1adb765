"""The nouns. Frozen, without behaviour beyond what follows from their own fields; nothing of ours is imported here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = [
    "NO_PIN",
    "SCHEMA_VERSION",
    "Attempt",
    "ChunkCounts",
    "Claim",
    "Delivery",
    "Ending",
    "Job",
    "Message",
    "ObjectInfo",
    "Outcome",
    "Pin",
    "Progress",
    "Reason",
    "Record",
    "Result",
    "State",
]

SCHEMA_VERSION = 1
"""Version of the ledger document and of the transcript's JSON. A record with a newer one is left alone."""


class State(StrEnum):
    """What the ledger says of a job. Never seen = no record."""

    CLAIMED = "claimed"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"
    GONE = "gone"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    FORGOTTEN = "forgotten"

    @property
    def final(self) -> bool:
        """Whether a job in this state is settled for good."""
        return self not in {State.CLAIMED, State.WAITING}


class Outcome(StrEnum):
    """How a delivery ended for us."""

    TRANSCRIBED = "transcribed"
    DUPLICATE = "duplicate"
    BUSY = "busy"
    IGNORED = "ignored"
    GONE = "gone"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    FAILED = "failed"
    EARLY = "early"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Message:
    """Pub/Sub's message: `id` is unique within its topic; `published_at` is Pub/Sub's clock, UTC."""

    id: str
    attributes: dict[str, str]
    data: bytes
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of a message. `attempt` is Pub/Sub's delivery attempt, 0 where no dead-letter policy counts it."""

    message: Message
    subscription: str
    ack_id: str
    attempt: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same when the message arrives again: subscription and message id."""
        return self.subscription, self.message.id


@dataclass(frozen=True, slots=True)
class Job:
    """One generation of one object for one output; `output` is the OUTPUT setting as written."""

    bucket: str
    name: str
    generation: int
    output: str

    @property
    def id(self) -> str:
        """Ledger document id: object names may hold `/`, be `..` or 1,024 bytes long, which Firestore refuses."""
        parts = (self.output, self.bucket, self.name, str(self.generation))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def source_id(self) -> str:
        """The source object without its name, which may tell of a person: what `forget` knows its chunks by."""
        return hashlib.sha256(f"{self.bucket}\0{self.name}".encode()).hexdigest()

    @property
    def uri(self) -> str:
        """The source object as people write it."""
        return f"gs://{self.bucket}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job failed or ended: `kind` is a short word for machines, `message` a sentence for people."""

    kind: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a record's history: how one claim of the job ended."""

    epoch: int
    outcome: str
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a job's audio is transcribed, in seconds; `total` is None until it is known."""

    done: float = 0.0
    total: float | None = None


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """Where the chunks of a finished job came from: asked for now, kept from before, or silent and never asked for."""

    paid: int = 0
    cached: int = 0
    silent: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What completing a job records. Unknown lengths (seconds) and costs (US dollars) are None.

    `warnings`: the kinds of the transcript's warnings, each once.
    """

    outputs: tuple[str, ...]
    audio_seconds: float | None
    billed_seconds: float | None
    cost_usd: float | None
    model: str
    language: str | None
    fingerprint: str
    chunks: ChunkCounts = ChunkCounts()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger knows of one job. Times are the database's, UTC; lengths are seconds.

    `silent_deaths`: claims that ended without a word since the job last got further than before, `lone_deaths` those of
    them that were run alone; `alone`: the present claim is. `furthest_seconds`: how far any claim got. `salt` is part
    of the names of its chunks: a job that an operator wants afresh takes none from before.
    """

    bucket: str
    name: str
    generation: int
    output: str
    state: State
    epoch: int
    nonce: str
    owner: str
    renewed_at: datetime
    claim_seconds: float
    created_at: datetime
    message_id: str = ""
    attempts: int = 0
    takeovers: int = 0
    silent_deaths: int = 0
    lone_deaths: int = 0
    alone: bool = False
    furthest_seconds: float = 0.0
    next_attempt_at: datetime | None = None
    reason: Reason | None = None
    history: tuple[Attempt, ...] = ()
    completed_at: datetime | None = None
    announced_at: datetime | None = None
    expires_at: datetime | None = None
    outputs: tuple[str, ...] = ()
    audio_seconds: float | None = None
    billed_seconds: float | None = None
    cost_usd: float | None = None
    chunks: ChunkCounts | None = None
    warnings: tuple[str, ...] = ()
    model: str | None = None
    language: str | None = None
    fingerprint: str | None = None
    salt: str = ""
    progress: Progress = Progress()
    schema_version: int = SCHEMA_VERSION

    @property
    def job(self) -> Job:
        """The job that it is the record of."""
        return Job(self.bucket, self.name, self.generation, self.output)

    @property
    def claim_ends_at(self) -> datetime:
        """When the claim ends unless it is renewed."""
        return self.renewed_at + timedelta(seconds=self.claim_seconds)


@dataclass(frozen=True, slots=True)
class Pin:
    """The model and the language (ISO 639-1) that a whole file is asked for with, once they are chosen."""

    model: str | None = None
    language: str | None = None


NO_PIN = Pin()


@dataclass(frozen=True, slots=True)
class Claim:
    """Our right to work on a job. Every late writer is fenced by `epoch`; only `nonce` says that a claim is ours.

    `attempt` counts from 1. `pin` is what an earlier claim began the file with. A `suspect` is run alone in its process
    until it gets further than `furthest_seconds`. `salt` is the record's. `sentence` is set when the job may only be
    buried (no attempts left, message too old, poison).
    """

    job: Job
    nonce: str
    epoch: int
    attempt: int
    claim_seconds: float
    pin: Pin = NO_PIN
    taken_over: bool = False
    suspect: bool = False
    furthest_seconds: float = 0.0
    salt: str = ""
    sentence: Reason | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object. `generation` grows with every replacement; `size` is in bytes.

    `created_at` is when this generation came, by the store's clock, UTC.
    """

    bucket: str
    name: str
    generation: int
    size: int
    content_type: str = ""
    md5: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a delivery ended. `record` is the settled job's, where there is one; a wait is for deferring and parking."""

    outcome: Outcome
    reason: str = ""
    message: str = ""
    retry_after_seconds: float = 0.0
    record: Record | None = None
    claim: Claim | None = None
