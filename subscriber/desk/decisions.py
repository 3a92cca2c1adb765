"""What an operator may do to a record. Pure, like the daemon's own decisions, and run in the same transactions.

The law of this file: an operator takes the claim before anything is changed, so that whoever worked meets the fence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from subscriber.decisions import Verdict, first_epoch, require_held
from subscriber.errors import SubscriberError
from subscriber.model import SCHEMA_VERSION, Claim, Job, Record, State

__all__ = ["ERASING_SECONDS", "Taken", "blank", "decide_take", "decide_tombstone"]

ERASING_SECONDS = 600.0
"""How long a claim to erase lasts: a recording of twelve hours has 1,500 chunks, deleted at 10 a second or faster."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A claim that was taken to erase the job. Before `wait_seconds` are over, its former owner may still write."""

    claim: Claim
    wait_seconds: float
    outputs: tuple[str, ...]


def decide_take(record: Record | None, now: datetime, job: Job, nonce: str) -> Verdict[Taken]:
    """Take the claim, whoever has it: an erasure need not wait for a recording of twelve hours.

    The former owner learns of it at its next renewal, or asks when its claim ends on its own clock: after that it
    neither pays nor writes. Our claim lasts for that long, and for the erasing. Raises SubscriberError.
    """
    if record and record.schema_version > SCHEMA_VERSION:
        raise SubscriberError(f"a newer version of subscriber wrote the record of {job.uri}: use that one")
    if record and record.state is State.CLAIMED and record.nonce == nonce:  # our own commit, whose answer was lost
        return Verdict(_taken(record, job))
    held = record is not None and record.state is State.CLAIMED and record.claim_ends_at > now
    wait = record.claim_ends_at - now if record and held else timedelta()
    found = record or blank(job, now)
    ours = replace(
        found,
        bucket=job.bucket,
        name=job.name,
        generation=job.generation,
        state=State.CLAIMED,
        epoch=found.epoch + 1,
        nonce=nonce,
        owner="forget",
        renewed_at=now,
        claim_seconds=wait.total_seconds() + ERASING_SECONDS,
        next_attempt_at=None,
        expires_at=None,
    )
    return Verdict(_taken(ours, job), ours)


def decide_tombstone(record: Record | None, now: datetime, claim: Claim) -> Verdict[None]:
    """Leave of a job what a redelivery must meet, and nothing that tells of anybody. Raises ClaimLost.

    No name, no text, no owner; the document's id is a hash. It never expires: the object may still be there, and a
    notification, a replay or a backfill may come at any time. What remains takes some 300 bytes.
    """
    if record and (record.state, record.nonce, record.epoch) == (State.FORGOTTEN, claim.nonce, claim.epoch):
        return Verdict(None)
    held = require_held(record, claim)
    nameless = blank(Job("", "", 0, held.output), held.created_at)
    tombstone = replace(
        nameless, state=State.FORGOTTEN, epoch=held.epoch, nonce=held.nonce, renewed_at=now, completed_at=now
    )
    return Verdict(None, tombstone)


def _taken(record: Record, job: Job) -> Taken:
    claim = Claim(job, record.nonce, record.epoch, record.attempts + 1, record.claim_seconds)
    return Taken(claim, record.claim_seconds - ERASING_SECONDS, record.outputs)


def blank(job: Job, now: datetime) -> Record:
    """The record of a job that has none: claimed by nobody, the claim over."""
    return Record(
        bucket=job.bucket,
        name=job.name,
        generation=job.generation,
        output=job.output,
        state=State.CLAIMED,
        epoch=first_epoch(now),
        nonce="",
        owner="",
        renewed_at=now,
        claim_seconds=0.0,
        created_at=now,
    )
