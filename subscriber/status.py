"""The answer to /api/status: what the daemon's parts know, put together when somebody asks.

The law of this file: it only looks. No neighbour is asked anything, nothing waits, and what may be long is cut.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from subscriber import __version__, book
from subscriber.book import MESSAGE_LIMIT, MINUTES, Minute
from subscriber.config import Settings
from subscriber.health import Health, Signs, judge
from subscriber.lease import ClaimKeeper, HeldClaim, LeaseKeeper
from subscriber.metrics import Metrics, reading
from subscriber.model import Job
from subscriber.outage import Outage, Outages
from subscriber.status_fields import (
    Backlog,
    Ended,
    HealthFields,
    Hour,
    JobInWork,
    Money,
    Pause,
    Process,
    Rate,
    Status,
    Work,
)

__all__ = ["MOST_JOBS", "StatusReport", "explain"]

MOST_JOBS = 60
"""So many jobs are told of; a page with more is scrolled by nobody."""

RATE_MINUTES = 10
"""What is called a rate, or lately, is that of so many minutes: a job may well take one or two."""


class StatusReport:
    """`ready` and `live` are the daemon's own."""

    def __init__(
        self,
        *,
        settings: Settings,
        owner: str,
        metrics: Metrics,
        leases: LeaseKeeper,
        claims: ClaimKeeper,
        outages: Outages,
        ready: Callable[[], tuple[bool, dict[str, object]]],
        live: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._metrics = metrics
        self._book = metrics.book
        self._leases = leases
        self._claims = claims
        self._outages = outages
        self._ready = ready
        self._live = live

    def make(self) -> Status:
        """As of now."""
        _, ready = self._ready()
        outages = [_cut(one) for one in self._outages.known()]
        hour, work = self._book.hour(), self._work()
        health = self._health(str(ready["state"]), outages, hour, work)
        held = sorted(self._claims.held(), key=lambda one: one.began_at)
        return Status(
            now=datetime.now(UTC),
            state=str(ready["state"]),
            health=HealthFields.model_validate(health),
            pauses=tuple(Pause.model_validate(one) for one in outages),
            process=self._process(),
            work=work,
            rate=self._rate(hour),
            backlog=self._backlog(),
            jobs=tuple(_job(one) for one in held[:MOST_JOBS]),
            jobs_more=max(0, len(held) - MOST_JOBS),
            finished=tuple(_ended(one) for one in self._book.finished()),
            failed=tuple(_ended(one) for one in self._book.failed()),
            money=self._money(),
            hour=_hour(hour),
        )

    def _health(self, state: str, outages: Sequence[Outage], hour: Sequence[Minute], work: Work) -> Health:
        lately, failures = hour[-RATE_MINUTES:], self._book.failed()
        signs = Signs(
            state=state,
            live=self._live(),
            outages=outages,
            in_flight=work.in_flight,
            lease_age=self._leases.staleness_seconds(),
            lease_seconds=self._settings.ack_lease_seconds,
            claim_age=self._claims.staleness_seconds(),
            claim_seconds=self._settings.claim_seconds,
            slots=work.slots,
            most_slots=work.most_slots,
            models_gone=int(reading(self._metrics.model_gone)),
            done_lately=sum(minute.done for minute in lately),
            failed_lately=sum(minute.failed for minute in lately),
            dead_in_hour=sum(minute.dead for minute in hour),
            last_failure=f"{failures[0].reason}: {failures[0].message}" if failures else "",
        )
        return judge(signs)

    def _process(self) -> Process:
        settings = self._settings
        return Process(
            owner=self._owner,
            version=__version__,
            started_at=self._book.began_at,
            subscription=settings.subscription,
            output=settings.output,
            models=settings.model,
        )

    def _work(self) -> Work:
        metrics = self._metrics
        return Work(
            in_flight=int(reading(metrics.jobs_in_flight)),
            limit=int(reading(metrics.jobs_limit)),
            waiting=int(reading(metrics.jobs_parked)),
            slots_in_use=int(reading(metrics.whisper_in_flight)),
            slots=int(reading(metrics.whisper_slots)),
            most_slots=self._settings.whisper_concurrency,
        )

    def _rate(self, hour: Sequence[Minute]) -> Rate:
        """Of the whole minutes before this one and of what has passed of it, but never of less than a minute."""
        lately, up = hour[-RATE_MINUTES:], (datetime.now(UTC) - self._book.began_at).total_seconds()
        seconds = max(60.0, min(up, time.time() - lately[0].number * 60))
        return Rate(
            minutes=seconds / 60,
            done_per_minute=sum(minute.done for minute in lately) / seconds * 60,
            audio_per_second=sum(minute.audio_seconds for minute in lately) / seconds,
        )

    def _backlog(self) -> Backlog:
        held, arrival = self._leases.held(), self._book.last_arrival()
        oldest = min((one.message.published_at for one in held), default=None)
        return Backlog(
            held=len(held),
            oldest_seconds=max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else None,
            arrived_at=arrival[0] if arrival else None,
            arrived_age_seconds=arrival[1] if arrival else None,
        )

    def _money(self) -> Money:
        today, since = self._book.today()
        budget = self._settings.budget_usd_per_day
        remaining = None if budget is None else reading(self._metrics.budget_remaining_usd)
        return Money(today_usd=today, since=since, budget_usd=budget, budget_remaining_usd=remaining)


def explain(job: Job) -> str:
    """The command for this generation. A name that could steer a terminal when it is pasted is escaped."""
    target = f"{job.uri}#{job.generation}"
    if target.isprintable():
        return f"subscriber explain {shlex.quote(target)}"
    spelled = (_spelled(c) for c in target)
    return f"subscriber explain $'{''.join(spelled)}'"


def _spelled(character: str) -> str:
    """Within a shell's $'...'."""
    if character in "\\'":
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _cut(outage: Outage) -> Outage:
    return replace(outage, message=outage.message[:MESSAGE_LIMIT])


def _job(held: HeldClaim) -> JobInWork:
    job = held.claim.job
    return JobInWork(
        job=job.uri,
        generation=str(job.generation),
        attempt=held.claim.attempt,
        stage=held.stage,
        seconds=time.monotonic() - held.began_at,
        done_seconds=held.progress.done,
        total_seconds=held.progress.total,
        explain=explain(job),
    )


def _ended(one: book.Ended) -> Ended:
    return Ended(
        job=one.job.uri if one.job else None,
        generation=str(one.job.generation) if one.job else None,
        message_id=one.message_id,
        outcome=one.outcome,
        reason=one.reason,
        message=one.message,
        at=one.at,
        took_seconds=one.took_seconds,
        attempt=one.attempt,
        next_attempt_at=one.next_attempt_at,
        audio_seconds=one.audio_seconds,
        cost_usd=one.cost_usd,
        explain=explain(one.job) if one.job else None,
    )


def _hour(minutes: Sequence[Minute]) -> Hour:
    began = datetime.fromtimestamp((minutes[-1].number - MINUTES + 1) * 60, UTC)
    return Hour(
        began_at=began,
        done=tuple(one.done for one in minutes),
        dead=tuple(one.dead for one in minutes),
        failed=tuple(one.failed for one in minutes),
        in_flight=tuple(one.in_flight for one in minutes),
        cost_usd=tuple(one.cost_usd for one in minutes),
    )
