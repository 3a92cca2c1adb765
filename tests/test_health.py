"""The verdict of the status page: the worst first, calm about what goes on by itself, and always with a way on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from subscriber.errors import PAUSES
from subscriber.health import REMEDIES, Health, Level, Signs, judge
from subscriber.outage import Outage

RUNBOOK = (Path(__file__).parents[1] / "RUNBOOK.md").read_text()
WELL = Signs(
    state="pulling",
    live=True,
    outages=(),
    in_flight=3,
    lease_age=5,
    lease_seconds=60,
    claim_age=5,
    claim_seconds=90,
    slots=8,
    most_slots=8,
    models_gone=0,
    done_lately=10,
    failed_lately=2,
    dead_in_hour=0,
    last_failure="no_answer: too late",
)
AWAY = Outage("firestore", "unavailable", "no answer", 12.0)
BROKE = Outage("whisper", "billing", "insufficient_quota.", 3.0)
EVERY = [
    WELL,
    replace(WELL, in_flight=0),
    replace(WELL, state="starting"),
    replace(WELL, state="draining"),
    replace(WELL, live=False),
    replace(WELL, state="paused", outages=(AWAY,)),
    replace(WELL, lease_age=61),
    replace(WELL, claim_age=91),
    replace(WELL, failed_lately=10),
    replace(WELL, models_gone=1),
]


def test_it_is_well_and_says_how_much_there_is_to_do() -> None:
    assert judge(WELL) == Health(Level.WELL, "3 jobs in work")
    assert judge(replace(WELL, in_flight=1)).headline == "1 job in work"
    assert judge(replace(WELL, in_flight=0)).headline == "nothing to do"


def test_dead_files_and_a_limited_rate_are_told_and_do_not_alarm() -> None:
    told = judge(replace(WELL, dead_in_hour=1, slots=2))
    assert told.level is Level.WELL
    assert "2 of 8 slots" in told.detail
    assert "1 file ended without a transcript" in told.detail


@pytest.mark.parametrize("reason", PAUSES)
def test_a_pause_says_why_and_what_mends_it(reason: str) -> None:
    told = judge(replace(WELL, state="paused", outages=(replace(BROKE, reason=reason),)))
    assert told.level is Level.PAUSED
    assert told.detail.startswith(f"{reason}: insufficient_quota. Nothing is lost")
    assert (told.remedy, told.runbook) == REMEDIES[reason]


def test_of_two_outages_the_one_that_needs_a_hand_is_told_first() -> None:
    told = judge(replace(WELL, outages=(AWAY, BROKE)))
    assert told.headline == "waiting for Firestore and the provider"
    assert told.detail.startswith("billing")


@pytest.mark.parametrize(("signs", "kind"), [(replace(WELL, lease_age=61), "leases"), (EVERY[7], "claims")])
def test_leases_that_ended_unrenewed_are_trouble(signs: Signs, kind: str) -> None:
    told = judge(signs)
    assert (told.level, told.headline) == (Level.TROUBLE, f"{kind} are not renewed")


@pytest.mark.parametrize(("done", "failed", "level"), [(0, 2, "well"), (0, 3, "look"), (9, 8, "well"), (9, 9, "look")])
def test_failures_are_worth_a_look_when_they_are_some_and_as_many_as_successes(
    done: int, failed: int, level: str
) -> None:
    told = judge(replace(WELL, done_lately=done, failed_lately=failed))
    assert told.level == level
    assert level == "well" or "no_answer: too late" in told.detail


def test_a_process_that_ends_is_not_judged_by_what_it_leaves() -> None:
    told = judge(replace(WELL, state="draining", live=False, outages=(AWAY,), failed_lately=99))
    assert (told.level, told.headline) == (Level.DRAINING, "3 jobs left")


@pytest.mark.parametrize("signs", EVERY, ids=range(len(EVERY)))
def test_what_a_person_shall_look_at_has_a_heading_in_the_runbook(signs: Signs) -> None:
    told = judge(signs)
    assert bool(told.runbook) == (told.level in {Level.LOOK, Level.PAUSED, Level.TROUBLE})
    assert bool(told.remedy) == bool(told.runbook)


def test_the_runbook_has_every_heading_that_is_named() -> None:
    named = {judge(signs).runbook for signs in EVERY} | {runbook for _, runbook in REMEDIES.values()}
    assert named - {""} <= set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE))
    assert REMEDIES.keys() == PAUSES.keys()
