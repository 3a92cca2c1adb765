"""A suspect works alone: who is there ends first or is interrupted, nobody comes, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from subscriber import solitude as module
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.decisions import SUSPECT_AFTER
from subscriber.drain import Drain
from subscriber.errors import ClaimLost, Interrupted
from subscriber.lease import ClaimKeeper, HeldClaim
from subscriber.metrics import Metrics
from subscriber.model import Job, Progress, Record, State
from subscriber.solitude import Solitude
from tests.claims import CLAIMED, claim, found, put

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""

FURTHEST = 30.0
"""Seconds of sound that suspects have come to before."""


class Work(NamedTuple):
    """A job in a thread of its own: its claim, whether it is at work, what ends it, how it ended."""

    held: HeldClaim
    at_work: threading.Event
    over: threading.Event
    ended: Future[None]

    def ends(self) -> None:
        """Have it end by itself."""
        self.over.set()
        self.ended.result(SOON)


class House:
    """The solitude of one process, its claims, and the threads that work on them."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger
        self.drain = Drain(60.0)
        self.keeper = ClaimKeeper(ledger, 90.0, Metrics())
        self.solitude = Solitude(self.keeper, self.drain)
        self.pool = ThreadPoolExecutor(8)
        self.works: list[Work] = []

    def begins(self, name: str, silent_deaths: int = 0, *, deaf: bool = False) -> Work:
        """A job that has its claim; a deaf one makes no request, so that it cannot be interrupted."""
        job = Job("bucket", name, 1, "gs://out")
        died = replace(CLAIMED, name=name, state=State.WAITING, attempts=0, furthest_seconds=FURTHEST)
        put(self.ledger, replace(died, silent_deaths=silent_deaths), job)
        told = Future[HeldClaim]()
        at_work, over = threading.Event(), threading.Event()

        def work() -> None:
            with self.solitude.company(), self.keeper.holding(claim(self.ledger, job), time.monotonic()) as held:
                told.set_result(held)
                with self.solitude.if_suspect(held):
                    at_work.set()
                    while not over.wait(0.01):
                        if not deaf:
                            held.before_request()

        ended = self.pool.submit(work)
        self.works.append(Work(told.result(SOON), at_work, over, ended))
        return self.works[-1]

    def closed(self) -> bool:
        return self.solitude.closed

    def suspect(self, name: str = "suspect") -> Work:
        return self.begins(name, SUSPECT_AFTER)

    def record(self, work: Work) -> Record:
        return found(self.ledger, work.held.claim.job)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        made = House(ledger)
        yield made
        made.drain.begin()
        for work in made.works:
            work.over.set()
        made.pool.shutdown()


def test_jobs_that_nobody_suspects_work_beside_each_other(house: House) -> None:
    works = [house.begins(name, SUSPECT_AFTER - 1) for name in ("a", "b", "c")]
    for work in works:
        assert work.at_work.wait(SOON)
    assert not house.closed()
    for work in works:
        assert not house.record(work).alone
        work.ends()


def test_a_suspect_begins_when_the_last_of_the_others_has_ended_and_its_solitude_is_recorded(house: House) -> None:
    others = [house.begins(name) for name in ("a", "b")]
    suspect = house.suspect()
    assert house.closed()
    with pytest.raises(Interrupted, match="has to be alone"), house.solitude.company():
        pass
    for other in others:
        assert not suspect.at_work.is_set()
        assert not house.record(suspect).alone
        other.ends()
    assert suspect.at_work.wait(SOON)
    assert house.record(suspect).alone
    with pytest.raises(Interrupted), house.solitude.company():
        pass
    suspect.ends()
    assert not house.closed()
    house.begins("c").ends()


def test_those_who_do_not_end_soon_are_interrupted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    long = house.begins("ten hours")
    suspect = house.suspect()
    with pytest.raises(Interrupted, match="has to be alone"):
        long.ended.result(SOON)
    assert suspect.at_work.wait(SOON)
    suspect.ends()


def test_a_suspect_that_never_gets_alone_gives_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(module, "INTERRUPTED_SECONDS", 0.05)
    deaf = house.begins("deaf", deaf=True)
    suspect = house.suspect()
    with pytest.raises(Interrupted, match="do not come to an end"):
        suspect.ended.result(SOON)
    assert not house.closed()
    deaf.ends()


def test_a_second_suspect_is_sent_away(house: House) -> None:
    other = house.begins("other")
    job = Job("bucket", "second", 1, "gs://out")
    put(house.ledger, replace(CLAIMED, state=State.WAITING, attempts=0, silent_deaths=SUSPECT_AFTER), job)
    with house.solitude.company():
        second = HeldClaim(claim(house.ledger, job), time.monotonic(), house.keeper.renew)
        first = house.suspect("first")
        with pytest.raises(Interrupted), house.solitude.if_suspect(second):
            pass
    other.ends()
    assert first.at_work.wait(SOON)
    first.ends()


def test_a_suspect_that_got_further_has_company_again_once_that_is_recorded(house: House) -> None:
    suspect = house.suspect()
    assert suspect.at_work.wait(SOON)
    suspect.held.progress = Progress(FURTHEST)
    house.keeper.renew(suspect.held)
    assert house.closed()
    assert house.record(suspect).alone, "it only got to where it was before"
    suspect.held.progress = Progress(FURTHEST + 1)
    assert house.closed()
    house.keeper.renew(suspect.held)
    assert not house.closed()
    assert not house.record(suspect).alone
    next_one = house.suspect("next")
    assert not next_one.at_work.is_set(), "it waits for the first one, as for anybody"
    suspect.ends()
    assert next_one.at_work.wait(SOON)
    next_one.ends()


def test_nobody_is_alone_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_ALONE_SECONDS", 0.0)
    suspect = house.suspect()
    assert suspect.at_work.wait(SOON)
    house.keeper.renew(suspect.held)
    assert not house.closed()
    suspect.ends()


def test_a_drain_ends_the_wait(house: House) -> None:
    house.begins("deaf", deaf=True)
    suspect = house.suspect()
    house.drain.begin()
    with pytest.raises(Interrupted, match="draining"):
        suspect.ended.result(SOON)


def test_a_suspect_whose_claim_is_lost_does_not_begin(house: House) -> None:
    other = house.begins("other")
    suspect = house.suspect()
    put(house.ledger, replace(house.record(suspect), nonce="another's"), suspect.held.claim.job)
    other.ends()
    with pytest.raises(ClaimLost):
        suspect.ended.result(SOON)
    assert not suspect.at_work.is_set()
    assert not house.closed()
