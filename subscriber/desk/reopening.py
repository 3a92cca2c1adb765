"""Whether a job is taken up again, and what becomes of its record. Pure, and run in the same transactions as claims.

The law of this file: a live claim is nobody's but its owner's. What is reopened has a new epoch and a new nonce, so
that whoever worked on it before is fenced, and keeps all that it can tell: its history, its outputs, its cost.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from subscriber.decisions import Verdict, remember
from subscriber.desk.decisions import blank
from subscriber.model import SCHEMA_VERSION, Job, Progress, Reason, Record, State

__all__ = ["Deed", "decide_reopening", "decide_rewriting", "deed_for", "is_afresh", "replayed_from"]

REPLAYED = "replayed"
AFRESH = "to be transcribed afresh"
TRIED_ANEW = "to be tried anew"
REWRITTEN = "to be written anew: files of its transcript are missing"


class Deed(StrEnum):
    """What a replay does about a job. Whatever it reopens or notifies is delivered to the daemon anew."""

    REOPEN = "reopen"
    NOTIFY = "notify"
    IN_WORK = "in work"
    SETTLED = "settled"
    FORGOTTEN = "forgotten"
    NEWER = "newer"


def deed_for(record: Record | None, now: datetime, *, salt: str) -> Deed:
    """By what the record says. A job that waits is only notified, unless it has to be transcribed afresh."""
    fresh = is_afresh(record, salt)
    if record is None:
        return Deed.REOPEN if fresh else Deed.NOTIFY
    if record.schema_version > SCHEMA_VERSION:
        return Deed.NEWER
    match record.state:
        case State.FORGOTTEN:
            return Deed.FORGOTTEN
        case State.CLAIMED if now < record.claim_ends_at:
            return Deed.IN_WORK
        case State.CLAIMED | State.WAITING:
            return Deed.REOPEN if fresh and not _waits_afresh(record) else Deed.NOTIFY
        case State.DEAD:
            return Deed.REOPEN
        case _:
            return Deed.REOPEN if fresh else Deed.SETTLED


def is_afresh(record: Record | None, salt: str) -> bool:
    """Whether nothing from before counts. Within one run a job is made so once: what it pays for then is paid once."""
    return bool(salt) and (record is None or record.salt != salt)


def decide_reopening(record: Record | None, now: datetime, *, job: Job, nonce: str, salt: str) -> Verdict[Deed]:
    """Reopen the job if that is what is to be done. `salt` names a run that transcribes afresh; else it is empty."""
    if record and record.state is State.WAITING and record.nonce == nonce:  # our own commit, whose answer was lost
        return Verdict(Deed.REOPEN)
    deed = deed_for(record, now, salt=salt)
    if deed is not Deed.REOPEN:
        return Verdict(deed)
    fresh = is_afresh(record, salt)
    reopened = _reopened(record or blank(job, now), now, nonce, AFRESH if fresh else TRIED_ANEW)
    return Verdict(deed, _without_past(reopened, salt) if fresh else reopened)


def decide_rewriting(record: Record | None, now: datetime, *, nonce: str) -> Verdict[bool]:
    """Reopen a done job whose files are gone: all that it was asked with stays, so that kept chunks cost nothing.

    Whether it is open: if it is no longer done, somebody else has taken care of it.
    """
    if record and record.state is State.WAITING and record.nonce == nonce:  # our own commit, whose answer was lost
        return Verdict(answer=True)
    if record is None or record.schema_version > SCHEMA_VERSION or record.state is not State.DONE:
        return Verdict(answer=False)
    return Verdict(True, _reopened(record, now, nonce, REWRITTEN))


def replayed_from(record: Record) -> str | None:
    """The state that a job was replayed from, as long as nobody has claimed it since: its message may be lost."""
    last = record.history[-1] if record.history else None
    if record.state is not State.WAITING or last is None or last.outcome != REPLAYED:
        return None
    return last.reason


def _reopened(found: Record, now: datetime, nonce: str, why: str) -> Record:
    return replace(
        found,
        state=State.WAITING,
        epoch=found.epoch + 1,
        nonce=nonce,
        attempts=0,
        silent_deaths=0,
        lone_deaths=0,
        alone=False,
        next_attempt_at=now,
        history=remember(found, now, REPLAYED, Reason(str(found.state), why, now)),
        completed_at=None,
        announced_at=None,
        expires_at=None,
    )


def _without_past(record: Record, salt: str) -> Record:
    """Nothing that an earlier run chose or paid for is used; its transcript stands until the new one is complete."""
    return replace(record, salt=salt, model=None, language=None, progress=Progress(), furthest_seconds=0.0)


def _waits_afresh(record: Record) -> bool:
    return replayed_from(record) is not None and record.history[-1].message == AFRESH
