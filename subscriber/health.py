"""Is it well, and if not: what is it, why, and what is there to do? The first thing that the status page says.

The law of this file: pure, and calm. What goes on by itself is no trouble; what a person should look at names its
heading in RUNBOOK.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from subscriber.outage import Outage

__all__ = ["REMEDIES", "Health", "Level", "Signs", "judge"]

MANY_FAILURES = 3
"""Failed attempts of the last minutes that are worth a look, if they are as many as the jobs done meanwhile."""


class Level(StrEnum):
    """How it is, from good to bad but for the first and the last two, which are phases of every process."""

    STARTING = "starting"
    WELL = "well"
    LOOK = "look"
    PAUSED = "paused"
    TROUBLE = "trouble"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Health:
    """For people: a headline that goes on after the level, what is behind it, what to do ("" for nothing).

    `runbook` is a heading of RUNBOOK.md, or "".
    """

    level: Level
    headline: str
    detail: str = ""
    remedy: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Signs:
    """What health is judged by; ages and lengths in seconds, counts of the last minutes where they say `lately`."""

    state: str
    live: bool
    outages: Sequence[Outage]
    in_flight: int
    lease_age: float
    lease_seconds: float
    claim_age: float
    claim_seconds: float
    slots: int
    most_slots: int
    models_gone: int
    done_lately: int
    failed_lately: int
    dead_in_hour: int
    last_failure: str


_BY_ITSELF = "It goes on by itself."

REMEDIES = {
    "billing": (f"Settle the account or raise its limit with the provider. {_BY_ITSELF}", "SubscriberPaused"),
    "budget": (
        "It goes on at midnight UTC. Sooner: raise SUBSCRIBER_BUDGET_USD_PER_DAY and restart.",
        "SubscriberBudgetUsedUp",
    ),
    "configuration": ("Give SUBSCRIBER_OUTPUT a bucket or a prefix of its own and restart.", "SubscriberPaused"),
    "forbidden": (
        f"Run `subscriber check`: it names the right and the command. {_BY_ITSELF}",
        "SubscriberPaused",
    ),
    "model": ("Set SUBSCRIBER_MODEL to a model that the provider serves and restart.", "SubscriberModelGone"),
    "unavailable": (f"Nothing to do here: it is asked every few seconds. {_BY_ITSELF}", "SubscriberNeighbourAway"),
}
"""What mends a pause, by its reason, and where RUNBOOK.md has more."""

_NAMES = {"budget": "today's budget", "firestore": "Firestore", "gcs": "Cloud Storage", "pubsub": "Pub/Sub"}
_NAMES |= {"whisper": "the provider", "configuration": "configuration"}
_MEANWHILE = "Nothing is lost and nothing is paid meanwhile."


def judge(signs: Signs) -> Health:
    """The worst that is to be said; all else can be read further down."""
    if signs.state == "draining":
        left = "Jobs that do not end in time go to another process, free of charge."
        return Health(Level.DRAINING, f"{_count(signs.in_flight, 'job')} left", left)
    if signs.state == "starting":
        return Health(Level.STARTING, "asking whether each neighbour does what is needed")
    if not signs.live:
        stuck = "The pull loop or the lease keeper takes no turns; the liveness probe restarts such a process."
        return Health(Level.TROUBLE, "it is stuck", stuck, "Restart it if nothing does.", "SubscriberStuck")
    if signs.outages:
        return _paused(signs.outages)
    return _renewals(signs) or _attempts(signs) or _well(signs)


def _paused(outages: Sequence[Outage]) -> Health:
    first = min(outages, key=lambda one: (one.reason == "unavailable", -one.seconds))
    remedy, runbook = REMEDIES[first.reason]
    names = " and ".join(_NAMES.get(one.neighbour, one.neighbour) for one in outages)
    headline = "today's budget is used up" if first.reason == "budget" else f"waiting for {names}"
    detail = f"{first.reason}: {first.message.rstrip('.')}. {_MEANWHILE}"
    return Health(Level.PAUSED, headline, detail, remedy, runbook)


def _renewals(signs: Signs) -> Health | None:
    kinds = {"leases": (signs.lease_age, signs.lease_seconds), "claims": (signs.claim_age, signs.claim_seconds)}
    for kind, (age, length) in kinds.items():
        if age > length:
            headline = f"{kind} are not renewed"
            detail = f"No success for {age:.0f} s; they last {length:.0f} s, and others may take the jobs meanwhile."
            return Health(Level.TROUBLE, headline, detail, "Run `subscriber check`.", "SubscriberLeaseRenewalsFail")
    return None


def _attempts(signs: Signs) -> Health | None:
    if signs.failed_lately >= max(MANY_FAILURES, signs.done_lately):
        headline = f"{signs.failed_lately} attempts failed, {_count(signs.done_lately, 'job')} done"
        detail = f"The last one: {signs.last_failure}. Each is made again until its attempts end."
        remedy = "Read the reasons below, and explain one."
        return Health(Level.LOOK, headline, detail, remedy, "SubscriberAttemptsFail")
    if signs.models_gone:
        detail = "The provider no longer serves a model of ours; the next one is used."
        remedy = "Take it out of SUBSCRIBER_MODEL."
        return Health(Level.LOOK, "a model is gone", detail, remedy, "SubscriberModelGone")
    return None


def _well(signs: Signs) -> Health:
    work = f"{_count(signs.in_flight, 'job')} in work" if signs.in_flight else "nothing to do"
    notes = []
    if signs.slots < signs.most_slots:
        notes.append(f"The provider limits the rate: {signs.slots} of {signs.most_slots} slots are open.")
    if signs.dead_in_hour:
        notes.append(f"{_count(signs.dead_in_hour, 'file')} ended without a transcript in the last hour.")
    return Health(Level.WELL, work, " ".join(notes))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
