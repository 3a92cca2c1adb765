"""What the ledger's tests ask with: one job, requests to claim it, and everything that a claim's owner may decide."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from subscriber.adapters.firestore import FirestoreLedger
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.decisions import (
    ClaimRequest,
    Decide,
    Refusal,
    Verdict,
    decide_claim,
    decide_completion,
    decide_end,
    decide_release,
    decide_renewal,
    decide_retry,
    first_epoch,
)
from subscriber.model import Attempt, ChunkCounts, Claim, Job, Pin, Progress, Reason, Record, Result, State

AnyLedger = FirestoreLedger | SqliteLedger

NOW = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
JOB = Job("bucket", "calls/one.wav", 1762000000000001, "gs://output/prefix")
RESULT = Result(
    ("gs://output/one.json", "gs://output/one.txt"),
    61.5,
    61.5,
    0.00615,
    "whisper-1",
    "en",
    "fingerprint",
    ChunkCounts(2, 1, 0),
    ("loop",),
)
REASON = Reason("provider_error", "it said 500", NOW)

ASK = ClaimRequest(
    job=JOB,
    nonce="ours",
    owner="this pod",
    message_id="17",
    published_at=NOW - timedelta(minutes=1),
    claim_seconds=90.0,
    max_attempts=3,
    max_event_age_seconds=3600.0,
)

CLAIMED = Record(
    bucket=JOB.bucket,
    name=JOB.name,
    generation=JOB.generation,
    output=JOB.output,
    state=State.CLAIMED,
    epoch=7,
    nonce="theirs",
    owner="another pod",
    renewed_at=NOW - timedelta(seconds=30),
    claim_seconds=90.0,
    created_at=NOW - timedelta(hours=1),
    attempts=1,
    reason=REASON,
    history=(Attempt(6, "failed", REASON.kind, REASON.message, NOW - timedelta(minutes=5)),),
)

CLAIM = Claim(JOB, "theirs", epoch=7, attempt=2, claim_seconds=90.0)
"""What the owner of CLAIMED holds."""

BY_OWNER: dict[str, Callable[[Claim], Decide[Any]]] = {
    "renew": lambda claim: partial(decide_renewal, claim=claim, progress=Progress(30.0, 61.5), pin=Pin()),
    "complete": lambda claim: partial(decide_completion, claim=claim, result=RESULT),
    "bury": lambda claim: partial(decide_end, claim=claim, state=State.DEAD, reason=REASON),
    "end gone": lambda claim: partial(decide_end, claim=claim, state=State.GONE, reason=REASON),
    "end superseded": lambda claim: partial(decide_end, claim=claim, state=State.SUPERSEDED, reason=REASON),
    "retry": lambda claim: partial(decide_retry, claim=claim, reason=REASON, wait=20.0),
    "release": lambda claim: partial(decide_release, claim=claim, why="a shutdown"),
}
"""Everything that only a claim's owner may do."""


def claiming(job: Job = JOB, **changes: Any) -> Decide[Claim | Refusal]:
    """A claimer with a nonce of its own, whose message is never too old."""
    own: dict[str, Any] = {"nonce": uuid.uuid4().hex, "published_at": datetime.now(UTC)}
    return partial(decide_claim, ask=replace(ASK, job=job, **(own | changes)))


def claim(ledger: AnyLedger, job: Job = JOB) -> Claim:
    """A claim that must be granted."""
    answer = ledger.transact(job, claiming(job))
    assert isinstance(answer, Claim)
    return answer


def found(ledger: AnyLedger, job: Job = JOB) -> Record:
    """The job's record, which must be there."""
    record = ledger.read(job)
    assert record
    return record


def claims_of(record: Record) -> int:
    """How often the job has been claimed."""
    return record.epoch - first_epoch(record.created_at)


def put(ledger: AnyLedger, record: Record, job: Job = JOB) -> None:
    """Write a record as it is."""
    ledger.transact(job, lambda _, __: Verdict(None, record))


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    """The answers of `count` threads that start together."""
    start = threading.Barrier(count)

    def run() -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]
