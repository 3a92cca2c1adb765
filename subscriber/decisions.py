"""Every choice, pure: a record, the ledger's time and what is asked go in; an answer and a record to write come out.

The law of this file: nothing here reads a clock, a random number or a network. Both ledgers run these functions inside
their transaction (`read -> decide -> write`), and may run one again after a commit whose answer was lost. So each
recognises its own earlier success by the claim's nonce and answers the same: the retry is the read-back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from subscriber.errors import ClaimLost, NotForUs
from subscriber.model import SCHEMA_VERSION, Attempt, Claim, Outcome, Pin, Progress, Reason, Record, Result, State
from subscriber.verdict import ClaimRequest, Decide, Refusal, Verdict

__all__ = [
    "HISTORY_LENGTH",
    "POISON_AFTER",
    "RECORD_RETENTION",
    "SUSPECT_AFTER",
    "ClaimRequest",
    "Decide",
    "Refusal",
    "Verdict",
    "decide_announced",
    "decide_claim",
    "decide_completion",
    "decide_end",
    "decide_release",
    "decide_renewal",
    "decide_retry",
    "first_epoch",
    "recorded_outcome",
    "remember",
    "require_held",
]

HISTORY_LENGTH = 10
"""How many attempts a record remembers."""

RECORD_RETENTION = timedelta(days=93)
"""How long a final record is kept: three times Pub/Sub's longest retention (31 days), so no message outlives it."""

SUSPECT_AFTER = 2
"""Silent deaths after which a job is run alone: one may be anybody's, and a neighbour's poison may take a job along."""

POISON_AFTER = 3
"""Silent deaths alone, and no further than before, after which a job is dead. One or two may be the machine's: for a
third, nodes would have to fail in just those minutes. Each costs a crash of a process, so not many more."""

NEWER_SCHEMA_DEFER = timedelta(minutes=1)
"""How long we stay away from a record that a newer version wrote: a rollout brings a pod that can read it."""


def decide_claim(record: Record | None, now: datetime, ask: ClaimRequest) -> Verdict[Claim | Refusal]:
    """Answer a claimer by the blueprint's table, one clause a row. Raises NotForUs for what was forgotten."""
    if record is None:
        return _grant(ask, now, None)
    if record.schema_version > SCHEMA_VERSION:
        return _refuse(Outcome.EARLY, NEWER_SCHEMA_DEFER, record)
    match record.state:
        case State.CLAIMED if record.nonce == ask.nonce:
            return Verdict(_claim_of(record, ask, now))
        case State.CLAIMED if now < record.claim_ends_at:
            return _refuse(Outcome.BUSY, record.claim_ends_at - now, record)
        case State.WAITING if record.next_attempt_at and now < record.next_attempt_at:
            return _refuse(Outcome.EARLY, record.next_attempt_at - now, record)
        case State.CLAIMED | State.WAITING:
            return _grant(ask, now, record)
        case State.FORGOTTEN:
            raise NotForUs("forgotten", "an operator had this object forgotten")
        case _:
            return _refuse(recorded_outcome(record), timedelta(), record)


def decide_renewal(
    record: Record | None, now: datetime, claim: Claim, progress: Progress, pin: Pin, *, alone: bool = False
) -> Verdict[bool]:
    """Renew a claim, also an expired one that nobody took; what is pinned for a model stays. Raises ClaimLost.

    Whether there is a claim: none any more if we have ended it ourselves, which is no loss. A job that gets further
    than ever is no poison: the deaths before are forgotten.
    """
    if record and record.state is not State.CLAIMED and _already(record, claim, record.state):
        return Verdict(answer=False)
    held = require_held(record, claim)
    if progress.done > held.furthest_seconds:
        held = replace(held, furthest_seconds=progress.done, silent_deaths=0, lone_deaths=0)
    model = pin.model or held.model
    language = pin.language or (held.language if model == held.model else None)
    renewed = replace(held, renewed_at=now, progress=progress, model=model, language=language, alone=alone)
    return Verdict(True, renewed)


def decide_completion(record: Record | None, now: datetime, claim: Claim, result: Result) -> Verdict[Record]:
    """Record the transcript; only the epoch that holds the claim may. Raises ClaimLost."""
    if record and _already(record, claim, State.DONE):
        return Verdict(record)
    held = require_held(record, claim)
    done = replace(
        _ended(held, now, State.DONE, None),
        history=remember(held, now, "done"),
        outputs=result.outputs,
        audio_seconds=result.audio_seconds,
        billed_seconds=result.billed_seconds,
        cost_usd=result.cost_usd,
        chunks=result.chunks,
        warnings=result.warnings,
        model=result.model,
        language=result.language,
        fingerprint=result.fingerprint,
    )
    return Verdict(done, done)


def decide_end(record: Record | None, now: datetime, claim: Claim, state: State, reason: Reason) -> Verdict[Record]:
    """Record that the job ends without a transcript: dead, gone or superseded. Raises ClaimLost."""
    if record and _already(record, claim, state):
        return Verdict(record)
    held = require_held(record, claim)
    cost = 1 if state is State.DEAD and claim.sentence is None else 0
    ended = replace(
        _ended(held, now, state, reason),
        attempts=held.attempts + cost,
        history=remember(held, now, state.value, reason),
    )
    return Verdict(ended, ended)


def decide_retry(record: Record | None, now: datetime, claim: Claim, reason: Reason, wait: float) -> Verdict[Record]:
    """Record a failed attempt and let the job wait `wait` seconds. Raises ClaimLost."""
    if record and _already(record, claim, State.WAITING):
        return Verdict(record)
    held = require_held(record, claim)
    waiting = replace(
        held,
        state=State.WAITING,
        attempts=held.attempts + (claim.sentence is None),  # a burial that failed was no attempt at the job
        next_attempt_at=now + timedelta(seconds=wait),
        reason=reason,
        history=remember(held, now, "failed", reason),
    )
    return Verdict(waiting, waiting)


def decide_release(record: Record | None, now: datetime, claim: Claim, why: str) -> Verdict[None]:
    """Let go of a claim free of charge: due at once, no attempt counted. Raises ClaimLost."""
    if record and _already(record, claim, State.WAITING):
        return Verdict(None)
    held = require_held(record, claim)
    reason = Reason("interrupted", why, now)
    history = remember(held, now, "interrupted", reason)
    return Verdict(None, replace(held, state=State.WAITING, next_attempt_at=now, history=history))


def decide_announced(record: Record | None, now: datetime, epoch: int) -> Verdict[None]:
    """Record that the completion event of what this epoch settled was published; a replay has events of its own."""
    if record is None or not record.state.final or record.announced_at or record.schema_version > SCHEMA_VERSION:
        return Verdict(None)
    if record.epoch != epoch:
        return Verdict(None)
    return Verdict(None, replace(record, announced_at=now))


def _grant(ask: ClaimRequest, now: datetime, found: Record | None) -> Verdict[Claim | Refusal]:
    taken_over = found is not None and found.state is State.CLAIMED
    base = found or _first_record(ask, now)
    record = replace(
        base,
        state=State.CLAIMED,
        epoch=base.epoch + 1,
        nonce=ask.nonce,
        owner=ask.owner,
        message_id=ask.message_id,
        renewed_at=now,
        claim_seconds=ask.claim_seconds,
        takeovers=base.takeovers + taken_over,
        silent_deaths=base.silent_deaths + taken_over,
        lone_deaths=base.lone_deaths + (taken_over and base.alone),
        alone=False,
        next_attempt_at=None,
        history=remember(base, now, "taken_over") if taken_over else base.history,
    )
    return Verdict(_claim_of(record, ask, now), record)


def _first_record(ask: ClaimRequest, now: datetime) -> Record:
    job = ask.job
    return Record(
        bucket=job.bucket,
        name=job.name,
        generation=job.generation,
        output=job.output,
        state=State.CLAIMED,
        epoch=first_epoch(now),
        nonce=ask.nonce,
        owner=ask.owner,
        renewed_at=now,
        claim_seconds=ask.claim_seconds,
        created_at=now,
    )


def first_epoch(now: datetime) -> int:
    """Where a job's epochs begin: at the clock's seconds, so that they never begin anew.

    A record may be deleted (TTL, by hand, with its database) while outputs remain that its epochs fence. No job is
    claimed once a second all the time, so whatever was written under an earlier record is below.
    """
    return int(now.timestamp())


def _claim_of(record: Record, ask: ClaimRequest, now: datetime) -> Claim:
    return Claim(
        job=ask.job,
        nonce=ask.nonce,
        epoch=record.epoch,
        attempt=record.attempts + 1,
        claim_seconds=record.claim_seconds,
        pin=Pin(record.model, record.language),
        taken_over=any((line.epoch, line.outcome) == (record.epoch - 1, "taken_over") for line in record.history),
        suspect=record.silent_deaths >= SUSPECT_AFTER,
        furthest_seconds=record.furthest_seconds,
        salt=record.salt,
        sentence=_sentence(record, ask, now),
    )


def _sentence(record: Record, ask: ClaimRequest, now: datetime) -> Reason | None:
    """Why this claim may only bury the job, if so."""
    if record.attempts >= ask.max_attempts:
        last = f"the last: {record.reason.kind}: {record.reason.message}" if record.reason else "no reason was recorded"
        return Reason("exhausted", f"{record.attempts} attempts failed; {last}", now)
    if record.lone_deaths >= POISON_AFTER:
        return Reason("poison", f"{record.lone_deaths} times the process died while it had this file alone", now)
    age = (now - ask.published_at).total_seconds()
    if age > ask.max_event_age_seconds:
        return Reason(
            "expired", f"the message was published {age:.0f} s ago, more than {ask.max_event_age_seconds:.0f} s", now
        )
    return None


def _refuse(outcome: Outcome, wait: timedelta, record: Record) -> Verdict[Claim | Refusal]:
    return Verdict(Refusal(outcome, wait.total_seconds(), record))


def recorded_outcome(record: Record) -> Outcome:
    """The outcome of a delivery that meets a settled job."""
    match record.state, record.reason and record.reason.kind:
        case State.DONE, _:
            return Outcome.DUPLICATE
        case State.GONE, _:
            return Outcome.GONE
        case State.SUPERSEDED, _:
            return Outcome.SUPERSEDED
        case State.SKIPPED, _:
            return Outcome.IGNORED
        case _, ("exhausted" | "expired") as kind:
            return Outcome(kind)
        case _:
            return Outcome.REJECTED


def require_held(record: Record | None, claim: Claim) -> Record:
    """The record, if this claim still holds it: the fence that every late writer meets. Raises ClaimLost."""
    ours = record and record.state is State.CLAIMED and record.schema_version <= SCHEMA_VERSION
    if record is None or not ours or (record.nonce, record.epoch) != (claim.nonce, claim.epoch):
        raise ClaimLost(f"epoch {claim.epoch} no longer holds {claim.job.uri}#{claim.job.generation}")
    return record


def _already(record: Record, claim: Claim, state: State) -> bool:
    """Whether our own earlier commit, whose answer was lost, has brought the record to this state."""
    return (record.nonce, record.epoch, record.state) == (claim.nonce, claim.epoch, state)


def _ended(held: Record, now: datetime, state: State, reason: Reason | None) -> Record:
    return replace(
        held,
        state=state,
        reason=reason,
        completed_at=now,
        announced_at=None,
        next_attempt_at=None,
        expires_at=now + RECORD_RETENTION,
    )


def remember(record: Record, now: datetime, outcome: str, reason: Reason | None = None) -> tuple[Attempt, ...]:
    """The record's history with one line more."""
    line = Attempt(record.epoch, outcome, reason.kind if reason else "", reason.message if reason else "", now)
    return (*record.history, line)[-HISTORY_LENGTH:]
