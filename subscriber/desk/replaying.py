"""Having jobs done again: which ones, what is done about each, and what that will cost.

The law of this file: first the record is reopened, then its notification is published. After a crash in between the
record still says that it was replayed and that nobody has claimed it since, so the same command finds it again.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import NamedTuple, Self

from subscriber.decisions import Verdict
from subscriber.desk.listing import UNFINISHED, search
from subscriber.desk.reopening import Deed, decide_reopening, deed_for, is_afresh, replayed_from
from subscriber.desk.rules import require_admitted, require_wanted
from subscriber.desk.tools import Desk
from subscriber.desk.transcripts import fault
from subscriber.desk.words import Address, shown
from subscriber.errors import ConfigError, NotForUs, Permanent
from subscriber.model import Job, ObjectInfo, Record, State
from subscriber.notification import Notice
from subscriber.queries import Wanted

__all__ = ["MOVED", "Candidate", "Plan", "Step", "Totals", "by_name", "listed", "notice", "replay", "stalled", "take"]

BATCH_JOBS = 100
"""So many records are reopened before their notifications go out together; memory holds no more of them."""

MOVED = frozenset({Deed.REOPEN, Deed.NOTIFY})
UNTOUCHABLE = frozenset({Deed.FORGOTTEN, Deed.NEWER})


class Candidate(NamedTuple):
    """A job that may have to be done again, and its record as it was found. `refusal`: why it may not."""

    job: Job
    record: Record | None
    refusal: str = ""


class Step(NamedTuple):
    """What was done, or would be, about a job. `deed` is None for one that was refused by the look of it."""

    job: Job
    record: Record | None
    deed: Deed | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a replay goes about it. `salt` makes the chunks of this run new and is its name; else it is empty."""

    salt: str
    dry_run: bool

    @classmethod
    def of(cls, *, fresh: bool, run: str | None, dry_run: bool) -> Self:
        """One salt for the whole run, or that of an earlier `run` to go on with. Raises ConfigError.

        Copies of a recording share their chunks, and no job is made afresh twice.
        """
        if run and not re.fullmatch(r"[0-9a-f]{32}", run):
            raise ConfigError("--run", f"{shown(run)} is no name of a run: each tells its own as it begins")
        return cls(run or (uuid.uuid4().hex if fresh else ""), dry_run)

    @property
    def fresh(self) -> bool:
        """Whether what was transcribed before counts for nothing."""
        return bool(self.salt)


@dataclass(slots=True)
class Totals:
    """What a replay comes to; `seconds` of audio that will be asked for, of `unknown` jobs nobody knows how many."""

    deeds: Counter[Deed | None] = field(default_factory=Counter)
    seconds: float = 0.0
    unknown: int = 0

    def add(self, step: Step, *, salt: str) -> None:
        """Count a step."""
        self.deeds[step.deed] += 1
        if step.deed in MOVED:
            seconds = _seconds_to_ask(step.record, fresh=is_afresh(step.record, salt))
            self.seconds += seconds or 0.0
            self.unknown += seconds is None


def by_name(desk: Desk, addresses: Iterable[Address], *, fresh: bool) -> list[Candidate]:
    """The generations of the first reading of an address of which anything is known, newest first."""
    return next((found for address in addresses if (found := _generations(desk, address, fresh=fresh))), [])


def listed(desk: Desk, question: Wanted, *, fresh: bool) -> Iterator[Candidate]:
    """The jobs in these states, and those that were replayed from one of them and have not been claimed since.

    Raises ConfigError for a state that cannot be replayed.
    """
    for state in question.states:
        if state in UNFINISHED or state is State.FORGOTTEN:
            raise ConfigError("--state", f"{state} jobs are not replayed by their state", _OTHERWISE[state])
        if state is not State.DEAD and not fresh:
            raise ConfigError("--state", f"{state} jobs are settled", "--fresh has them transcribed again")
    found = desk.records.search(replace(question, states=question.states | {State.WAITING}))
    wanted = (one for one in found if one.state in question.states or replayed_from(one) in question.states)
    return map(_candidate, wanted)


def stalled(desk: Desk, question: Wanted) -> Iterator[Candidate]:
    """The unfinished jobs that nobody has had for too long."""
    return map(_candidate, search(desk, question, stalled=True))


def replay(desk: Desk, candidates: Iterable[Candidate], plan: Plan) -> Iterator[Step]:
    """Reopen and notify, batch by batch; a step is told once its notification is published.

    Raises ConfigError, NeighbourDown: then the same command goes on.
    """
    notify = None if plan.dry_run else desk.notifier.notify  # a missing setting shows before anything is changed
    waiting = iter(candidates)
    while batch := list(islice(waiting, BATCH_JOBS)):
        steps = [take(desk, candidate, plan) for candidate in batch]
        if notify:
            notify([notice(step.job) for step in steps if step.deed in MOVED])
        yield from steps


def take(desk: Desk, candidate: Candidate, plan: Plan) -> Step:
    """Reopen one job, if that is what is to be done; in a dry run only say so."""
    job, record, refusal = candidate
    deed = deed_for(record, desk.clock(), salt=plan.salt)
    if deed in UNTOUCHABLE:  # such a record need not even tell which job it is of
        return Step(job, record, deed)
    if obstacle := refusal or _obstacle(desk, job, fresh=plan.fresh):
        return Step(job, record, None, obstacle)
    if plan.dry_run and record:  # a transaction for each would take an hour for 100,000
        return Step(job, record, deed)
    if plan.dry_run:
        return Step(job, None, desk.ledger.transact(job, partial(_only_look, salt=plan.salt)))
    decide = partial(decide_reopening, job=job, nonce=uuid.uuid4().hex, salt=plan.salt)
    return Step(job, record, desk.ledger.transact(job, decide))


def notice(job: Job) -> Notice:
    """Of which the daemon looks up the rest."""
    return Notice(job.bucket, job.name, job.generation, None)


def _only_look(record: Record | None, now: datetime, *, salt: str) -> Verdict[Deed]:
    return Verdict(deed_for(record, now, salt=salt))


def _obstacle(desk: Desk, job: Job, *, fresh: bool) -> str:
    """What the record itself does not tell: a job whose message the daemon ignores would stay unfinished for ever."""
    if job.output != desk.location.text:
        return f"its OUTPUT is {job.output}: replay it with the settings of that daemon"
    try:
        require_admitted(job.bucket, job.name, None, desk.selection, desk.location)
    except NotForUs as refusal:
        return str(refusal)
    if fresh and desk.source_bucket is None:
        live = desk.live(job.bucket, job.name)
        if live is None or live.generation != job.generation:
            return "this generation is no longer there: nothing could be transcribed"
        return _refusal(desk, live, fresh=True)
    return ""


def _generations(desk: Desk, address: Address, *, fresh: bool) -> list[Candidate]:
    bucket, name = address.bucket, address.name
    records = [one for one in desk.records_of(bucket, name) if address.generation in {None, one.generation}]
    found = [_candidate(record) for record in records]
    live = desk.live(bucket, name)
    if live and address.generation in {None, live.generation}:
        job = desk.job(bucket, name, live.generation)
        if all(candidate.job != job for candidate in found):
            found.insert(0, Candidate(job, None, _refusal(desk, live, fresh=fresh)))
    return found


def _refusal(desk: Desk, live: ObjectInfo, *, fresh: bool) -> str:
    """Why an object would not be transcribed or, where it has no record, need not."""
    try:
        require_wanted(live, desk.selection, desk.location)
    except NotForUs as refusal:
        return str(refusal)
    if not fresh and _has_transcript(desk, live):
        return "its record has expired, but its transcript is there; --fresh transcribes it again"
    return ""


def _has_transcript(desk: Desk, live: ObjectInfo) -> bool:
    try:
        name = desk.location.name_for(desk.job(live.bucket, live.name, live.generation), "json")
    except Permanent:  # a name that is too long has none
        return False
    found = desk.objects.stat(desk.location.bucket, name)
    return found is not None and not fault(found, desk.job(live.bucket, live.name, live.generation))


def _candidate(record: Record) -> Candidate:
    return Candidate(record.job, record)


def _seconds_to_ask(record: Record | None, *, fresh: bool) -> float | None:
    """What is left of a recording to be paid for: what got through before is in the chunk cache, unless afresh."""
    if record is None:
        return None
    total = record.audio_seconds or record.progress.total
    kept = 0.0 if fresh else max(record.furthest_seconds, record.progress.done)
    return None if total is None else max(total - kept, 0.0)


_OTHERWISE = {
    State.CLAIMED: "--stalled finds those that nobody works on",
    State.WAITING: "--stalled finds those that nobody works on",
    State.FORGOTTEN: "upload the object again",
}
