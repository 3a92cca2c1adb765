"""Objects that have no transcript of their live generation, although they should: found by name, and notified anew.

The law of this file: the bucket says what there is, the ledger what was done, and of neither more than a batch is held.
What is found may be stale a moment later: whoever is notified in vain meets the ledger, and pays nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice

from subscriber.desk.prospects import is_stalled
from subscriber.desk.reopening import decide_rewriting
from subscriber.desk.rules import require_wanted
from subscriber.desk.tools import Desk
from subscriber.desk.transcripts import fault, found_among
from subscriber.desk.words import typed
from subscriber.errors import ConfigError, NotForUs, Permanent
from subscriber.model import SCHEMA_VERSION, Job, ObjectInfo, Record, State
from subscriber.notification import Notice

__all__ = ["WANTED", "Candidate", "Scope", "Standing", "Totals", "notify", "remedies", "survey"]

BATCH_OBJECTS = 300
"""One look into the ledger each. A record takes 12 KB at most: a batch of them stays below 4 MB."""


class Standing(StrEnum):
    """How an object stands, in words for people."""

    UNCLAIMED = "nobody has claimed it"
    STALLED = "stalled: unfinished, and free for over 15 minutes"
    SPOILED = "done, but a file of its transcript is missing or of another generation"
    DONE = "done"
    IN_HAND = "in work, or waiting for its next attempt"
    DEAD = "dead"
    ENDED = "ended without a transcript"
    SKIPPED = "skipped: its metadata said transcribe=skip"
    FORGOTTEN = "forgotten"
    NEWER = "left to a newer version of subscriber, which wrote its record"
    IGNORED = "ignored"
    EARLIER = "came before --since"


WANTED = frozenset({Standing.UNCLAIMED, Standing.STALLED, Standing.SPOILED})

Totals = Counter[tuple[Standing, str]]
"""How many objects, by standing and reason."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects: those below a prefix whose names come after `after`, that came `since` then or later."""

    bucket: str
    prefix: str
    after: str = ""
    since: datetime | None = None
    verify_outputs: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object's live generation, and how it stands; `reason` says why where there are several of a kind."""

    found: ObjectInfo
    standing: Standing
    reason: str = ""

    @property
    def wanted(self) -> bool:
        """Whether the daemon is to be told of it."""
        return self.standing in WANTED


def survey(desk: Desk, scope: Scope) -> Iterator[Candidate]:
    """Every object of the scope, in the order of their names. Raises ConfigError, NeighbourDown, Transient."""
    location = desk.location
    if location.covers_whole_bucket and scope.bucket == location.bucket:
        why = f"covers all of gs://{scope.bucket}: nobody can tell a recording there from an output"
        raise ConfigError("SUBSCRIBER_OUTPUT", why, f"SUBSCRIBER_OUTPUT=gs://{location.bucket}/transcripts")
    listed = desk.objects.below(scope.bucket, scope.prefix, scope.after)
    ahead = (found for found in listed if found.name > scope.after)
    while batch := list(islice(ahead, BATCH_OBJECTS)):
        yield from _judged(desk, scope, batch)


def notify(desk: Desk, candidate: Candidate) -> None:
    """Have the daemon told of a wanted object, whose record is reopened first if it is done.

    After a crash in between, the job waits for a message that never comes: it is found as stalled. Raises ConfigError,
    NeighbourDown.
    """
    if candidate.standing is Standing.SPOILED:
        desk.ledger.transact(_job(desk, candidate.found), partial(decide_rewriting, nonce=uuid.uuid4().hex))
    desk.notifier.notify([Notice.of(candidate.found)])


def remedies(totals: Totals, scope: Scope) -> Iterator[str]:
    """What is not published ended for a reason, which a notification would not change: the commands that do."""
    below = f"--prefix {typed(f'gs://{scope.bucket}/{scope.prefix}')}"
    for (standing, reason), count in sorted(totals.items()):
        if standing is Standing.DEAD:
            yield f"to redo the {count} dead ({reason}): subscriber replay --state dead --reason {reason} {below}"
        if standing is Standing.ENDED:
            yield f"to redo the {count} that are {reason}: subscriber replay --state {reason} --fresh {below}"


def _judged(desk: Desk, scope: Scope, batch: Sequence[ObjectInfo]) -> Iterator[Candidate]:
    refused = [_refusal(desk, scope, found) for found in batch]
    admitted = [_job(desk, found) for found, refusal in zip(batch, refused, strict=True) if refusal is None]
    recorded = _recorded(desk, scope, admitted)
    for found, refusal in zip(batch, refused, strict=True):
        yield refusal or Candidate(found, *recorded[_job(desk, found)])


def _refusal(desk: Desk, scope: Scope, found: ObjectInfo) -> Candidate | None:
    """What of an object needs no look into the ledger."""
    if scope.since and found.created_at and found.created_at < scope.since:
        return Candidate(found, Standing.EARLIER)
    try:
        require_wanted(found, desk.selection, desk.location)
    except NotForUs as refusal:
        return Candidate(found, Standing.IGNORED, refusal.reason)
    return None


def _recorded(desk: Desk, scope: Scope, jobs: Sequence[Job]) -> dict[Job, tuple[Standing, str]]:
    """What the ledger says and, where it says nothing or is not believed, what stands where transcripts go."""
    records, now = desk.records.find(jobs), desk.clock()
    standings = {job: _standing(records.get(job), now) for job in jobs}
    expected = {job: _outputs(desk, job, records.get(job)) for job in jobs if _doubted(standings[job][0], scope)}
    files = found_among(desk.objects, [uri for uris in expected.values() for uri in uris])
    for job, uris in expected.items():
        whole = bool(uris) and all(uri in files and not fault(files[uri], job) for uri in uris)
        missing = Standing.SPOILED if job in records else Standing.UNCLAIMED
        standings[job] = (Standing.DONE if whole else missing, "")
    return standings


def _doubted(standing: Standing, scope: Scope) -> bool:
    """A record expires after RECORD_RETENTION, and its transcript stays: without it all old files would be paid again.

    That of a done job is believed, unless the operator wants it verified.
    """
    return standing is Standing.UNCLAIMED or (standing is Standing.DONE and scope.verify_outputs)


def _outputs(desk: Desk, job: Job, record: Record | None) -> tuple[str, ...]:
    """The files that prove a transcript: those of the record or, without one, the JSON, which is written last."""
    if record:
        return record.outputs
    try:
        return (f"gs://{desk.location.bucket}/{desk.location.name_for(job, 'json')}",)
    except Permanent:  # the name is too long: there can be no transcript, and the daemon will say so
        return ()


def _standing(record: Record | None, now: datetime) -> tuple[Standing, str]:
    """What the ledger says of a generation. Pure."""
    if record is None:
        return Standing.UNCLAIMED, ""
    if record.schema_version > SCHEMA_VERSION:
        return Standing.NEWER, ""
    match record.state:
        case State.DONE:
            return Standing.DONE, ""
        case State.SKIPPED:
            return Standing.SKIPPED, ""
        case State.FORGOTTEN:
            return Standing.FORGOTTEN, ""
        case State.CLAIMED | State.WAITING:
            return (Standing.STALLED if is_stalled(record, now) else Standing.IN_HAND), ""
        case State.DEAD:
            return Standing.DEAD, record.reason.kind if record.reason else ""
        case State.GONE | State.SUPERSEDED:
            return Standing.ENDED, record.state


def _job(desk: Desk, found: ObjectInfo) -> Job:
    return desk.job(found.bucket, found.name, found.generation)
