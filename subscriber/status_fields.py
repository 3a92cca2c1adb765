"""What /api/status answers, field by field. docs/status.md is made from this file, and a test holds each answer to it.

The law of this file: bounded, and never a transcript's word. Times are UTC, ISO 8601; what nobody knows is null.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from subscriber.health import Level
from subscriber.model import Outcome

__all__ = [
    "Backlog",
    "Ended",
    "HealthFields",
    "Hour",
    "JobInWork",
    "Money",
    "Pause",
    "Process",
    "Rate",
    "Status",
    "Work",
]


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True, use_attribute_docstrings=True)


class HealthFields(_Fields):
    """The verdict for people: `headline` goes on after the level."""

    level: Level
    """starting, well, look (somebody should), paused, trouble, draining."""
    headline: str
    """How it is, in a few words."""
    detail: str
    """What is behind it, or empty."""
    remedy: str
    """What to do, or empty."""
    runbook: str
    """The heading of RUNBOOK.md that has more, or empty."""


class Pause(_Fields):
    """A neighbour's outage."""

    neighbour: str
    """budget, configuration, firestore, gcs, pubsub or whisper."""
    reason: str
    """As in `subscriber_provider_paused{reason}`."""
    message: str
    """In the neighbour's own words, at most 300 characters."""
    seconds: float
    """Since when."""


class Process(_Fields):
    """Who answers: each process tells of itself alone."""

    owner: str
    """Host name and a random part: `owner` of the records that it claims."""
    version: str
    """Of the program."""
    started_at: datetime
    """When its figures began."""
    subscription: tuple[str, ...]
    """What it pulls, in order of priority."""
    output: str
    """Where transcripts go."""
    models: tuple[str, ...]
    """In order of preference."""


class Work(_Fields):
    """How much is going on."""

    in_flight: int
    """Jobs in work: `subscriber_jobs_in_flight`."""
    limit: int
    """Most of them at once: `subscriber_jobs_limit`."""
    waiting: int
    """Deliveries that are held and wait: `subscriber_jobs_parked`."""
    slots_in_use: int
    """Requests on the wire: `subscriber_whisper_in_flight`."""
    slots: int
    """Most of them at once, as of now: `subscriber_whisper_slots`."""
    most_slots: int
    """The same while the provider does not limit the rate."""


class Rate(_Fields):
    """How fast it goes."""

    minutes: float
    """Over how many minutes the others are taken: at most ten."""
    done_per_minute: float
    """Jobs done."""
    audio_per_second: float
    """Seconds of audio done in a second: how many times as fast as it plays."""


class Backlog(_Fields):
    """How far behind it is, as far as this process can know."""

    held: int
    """Deliveries that this process holds. What it does not hold only Pub/Sub knows."""
    oldest_seconds: float | None
    """Since the publication of the oldest of them; retried ones count from their first publication."""
    arrived_at: datetime | None
    """When the last delivery came."""
    arrived_age_seconds: float | None
    """How long after its publication it came: about how far behind the subscription is."""


class JobInWork(_Fields):
    """One job that this process has claimed."""

    job: str
    """gs://BUCKET/NAME, as it is: escape it before you show it."""
    generation: str
    """Of the object."""
    attempt: int
    """Counts from 1."""
    stage: str
    """What it is at: open, transcribe, write or complete."""
    seconds: float
    """Since its claim was asked for."""
    done_seconds: float
    """Of its audio."""
    total_seconds: float | None
    """Of its audio."""
    explain: str
    """The command that tells its whole story, quoted for a shell."""


class Ended(_Fields):
    """One attempt that has ended."""

    job: str | None
    """As above; null where an attempt failed before it had a claim."""
    generation: str | None
    """Of the object."""
    message_id: str
    """Of the delivery that led."""
    outcome: Outcome
    """As in `subscriber_deliveries_total{outcome}`."""
    reason: str
    """One of docs/reference.md, or empty."""
    message: str
    """The reason as a sentence, at most 300 characters."""
    at: datetime
    """When."""
    took_seconds: float
    """From the job's turn to its end."""
    attempt: int | None
    """Counts from 1."""
    next_attempt_at: datetime | None
    """When it comes again; null for what is settled."""
    audio_seconds: float | None
    """Of the recording."""
    cost_usd: float | None
    """What its transcript has cost, as far as this attempt knows."""
    explain: str | None
    """The command that tells its whole story, quoted for a shell."""


class Money(_Fields):
    """What it costs, in US dollars."""

    today_usd: float
    """What the answers to this process have cost since `since`."""
    since: datetime
    """Midnight UTC, or the start of the process."""
    budget_usd: float | None
    """SUBSCRIBER_BUDGET_USD_PER_DAY, of all processes together."""
    budget_remaining_usd: float | None
    """What the ledger said last of the day: `subscriber_budget_remaining_usd`. Not asked for anew by this page."""


class Hour(_Fields):
    """The last hour, minute by minute: 60 figures each."""

    began_at: datetime
    """Begin of the first of 60 minutes; the last one is the present one."""
    done: tuple[int, ...]
    """Jobs done, minute by minute."""
    dead: tuple[int, ...]
    """Jobs that ended dead."""
    failed: tuple[int, ...]
    """Attempts that failed and are made again."""
    in_flight: tuple[int, ...]
    """Most jobs in work."""
    cost_usd: tuple[float, ...]
    """What answers have cost."""


class Status(_Fields):
    """The whole answer."""

    now: datetime
    """The process's own clock."""
    state: str
    """starting, pulling, paused or draining: as /readyz says."""
    health: HealthFields
    """Whether it is well, and if not what to do."""
    pauses: tuple[Pause, ...]
    """Why it is paused; empty while it is not."""
    process: Process
    """Who answers."""
    work: Work
    """Jobs and requests."""
    rate: Rate
    """Of the last minutes."""
    backlog: Backlog
    """What waits."""
    jobs: tuple[JobInWork, ...]
    """Claimed jobs in work, the oldest first, at most 60."""
    jobs_more: int
    """How many further ones there are."""
    finished: tuple[Ended, ...]
    """Done, or in need of no transcript; the last 20, the newest first."""
    failed: tuple[Ended, ...]
    """Dead, or tried again later; the last 20, the newest first."""
    money: Money
    """Today's, and the budget."""
    hour: Hour
    """For plots."""
