"""One process's purse on a real ledger file: what it may spend, when it asks, and what it does when nobody answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from subscriber import budget as module
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.budget import BudgetPurse, BudgetTerms
from subscriber.budget_decisions import BLOCK_SECONDS, Day, DecideDay
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown
from subscriber.metrics import Metrics
from subscriber.verdict import Decision
from tests.claims import at_once

T = TypeVar("T")

TERMS = BudgetTerms(limit_usd=200.0, request_usd=0.25, slots=1)
STEP, BLOCK = 1.0, 4.0
"""A two-hundredth of the limit, and four of them; a block pays for 16 requests of 25 cents, a step for four."""


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Ledger:
    """A ledger file that counts what it is asked, and can be away or lose its answers."""

    def __init__(self, file: SqliteLedger) -> None:
        self.file = file
        self.asked = 0
        self.away = False
        self.loses_answers = False

    def transact_budget(self, decide: DecideDay[T]) -> T:
        self.asked += 1
        if self.away:
            raise NeighbourDown("firestore", "unavailable", "away")
        answer = self.file.transact_budget(decide)
        if self.loses_answers:
            raise NeighbourDown("firestore", "unavailable", "its answer is lost")
        return answer

    def day(self) -> Day:
        """The day as it stands."""
        day = self.file.transact_budget(lambda day, _: Decision(day))
        assert day
        return day


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as file:
        yield Ledger(file)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def purse(ledger: Ledger, terms: BudgetTerms = TERMS, metrics: Metrics | None = None) -> BudgetPurse:
    return BudgetPurse(ledger, terms, "this pod", Drain(60.0), metrics or Metrics())


def test_a_block_takes_a_transaction_a_step_however_many_requests_it_pays_for(ledger: Ledger) -> None:
    ours = purse(ledger)
    for _ in range(16):
        ours.take(0.25)
    assert ledger.asked == BLOCK / STEP
    assert (ledger.day().spent_usd, ledger.day().blocks[0].spent_usd) == (0.0, 4.0)
    ours.take(0.25)
    assert (ledger.day().spent_usd, ledger.day().blocks[0].spent_usd) == (4.0, 1.0)


def test_what_an_answer_did_not_cost_pays_for_the_next_request(ledger: Ledger) -> None:
    ours = purse(ledger)
    for _ in range(100):
        ours.take(0.25)
        ours.give_back(0.25)
    assert ledger.asked == 1


def test_the_limit_is_spent_to_the_last_request_and_not_beyond(ledger: Ledger) -> None:
    ours = purse(ledger, BudgetTerms(2.0, 0.25, 1))
    for _ in range(8):
        ours.take(0.25)
    with pytest.raises(NeighbourDown, match=r"0\.0000 of 2\.00 USD are left today") as refusal:
        ours.take(0.25)
    assert (refusal.value.neighbour, refusal.value.reason) == ("budget", "budget")
    assert refusal.value.probe
    with pytest.raises(NeighbourDown):
        refusal.value.probe()
    raised = purse(ledger, BudgetTerms(3.0, 0.25, 1))
    raised.check()
    raised.take(0.25)


def test_a_probe_sets_nothing_aside(ledger: Ledger) -> None:
    """A process that dies at its start, again and again, would use the day up."""
    purse(ledger).check()
    assert ledger.file.transact_budget(lambda day, _: Decision(day)) is None


def test_who_cannot_pay_for_a_long_request_may_still_pay_for_a_short_one(ledger: Ledger) -> None:
    ours = purse(ledger, BudgetTerms(1.0, 0.25, 1))
    ours.take(0.75)
    with pytest.raises(NeighbourDown):
        ours.take(0.5)
    ours.take(0.25)


def test_ten_kills_in_the_middle_of_the_work_leave_most_of_the_day(ledger: Ledger) -> None:
    for _ in range(10):
        purse(ledger).take(0.25)
    day = ledger.day()
    assert len(day.blocks) == 10
    assert sum(block.usd for block in day.blocks) == 10 * BLOCK
    assert sum(block.spent_usd for block in day.blocks) == 10 * STEP, "what the ten may have cost for good"


def test_two_purses_share_one_budget(ledger: Ledger) -> None:
    limit = BudgetTerms(2.0, 0.25, 1)
    ours, theirs = purse(ledger, limit), purse(ledger, limit)
    paid = 0
    for number in range(20):
        try:
            (ours, theirs)[number % 2].take(0.25)
        except NeighbourDown:
            continue
        paid += 1
    assert paid == 8


def test_many_threads_take_no_more_than_there_is(ledger: Ledger) -> None:
    ours = purse(ledger, BudgetTerms(2.0, 0.25, 8))

    def spend() -> int:
        for paid in range(100):
            try:
                ours.take(0.25)
            except NeighbourDown:
                return paid
        raise AssertionError

    assert sum(at_once(8, spend)) == 8


def test_without_the_ledger_no_more_is_spent_than_it_allowed(ledger: Ledger) -> None:
    ours = purse(ledger)
    ours.take(0.25)
    ledger.away = True
    for _ in range(3):
        ours.take(0.25)
    with pytest.raises(NeighbourDown, match="away") as down:
        ours.take(0.25)
    assert down.value.neighbour == "firestore"
    ledger.away = False
    ours.take(0.25)


def test_past_its_end_a_block_is_not_spent_from_before_the_ledger_was_asked(ledger: Ledger, clock: Clock) -> None:
    ours = purse(ledger)
    ours.take(0.25)
    clock.now += BLOCK_SECONDS
    ledger.away = True
    with pytest.raises(NeighbourDown, match="away"):
        ours.take(0.25)
    ledger.away = False
    ours.take(0.25)
    assert ledger.day().blocks[0].spent_usd == 0.25 + STEP


def test_an_answer_that_was_lost_is_not_paid_for_twice(ledger: Ledger) -> None:
    ours = purse(ledger)
    ledger.loses_answers = True
    for _ in range(3):
        with pytest.raises(NeighbourDown, match="lost"):
            ours.take(0.25)
    ledger.loses_answers = False
    ours.take(0.25)
    assert len(ledger.day().blocks) == 1
    assert ledger.day().spent_usd == 0.0


def test_a_block_at_work_is_renewed_an_idle_one_returned_and_then_only_looked_at(ledger: Ledger) -> None:
    metrics = Metrics()
    ours = purse(ledger, metrics=metrics)
    ours.take(0.25)
    ours.turn()
    assert ledger.day().blocks[0].spent_usd == 0.25 + STEP
    ours.turn()
    assert (ledger.day().blocks, ledger.day().spent_usd) == ((), 0.25)
    ours.give_back(0.125)
    ours.turn()
    assert metrics.registry.get_sample_value("subscriber_budget_remaining_usd") == 199.75
    ours.take(0.25)
    ours.turn()
    ours.turn()
    assert ledger.day().spent_usd == 0.25 + 0.25 - 0.125, "what came back late is counted with the next block"


def test_what_is_left_of_a_block_is_returned_at_the_end(ledger: Ledger) -> None:
    with purse(ledger) as ours:
        ours.take(0.25)
    assert (ledger.day().blocks, ledger.day().spent_usd) == ((), 0.25)


def test_an_end_does_not_wait_for_a_ledger_that_is_away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.1)
    forever = threading.Event()
    ours = purse(ledger)
    ours.take(0.25)
    monkeypatch.setattr(ledger, "transact_budget", lambda _: forever.wait(60))
    with ours:
        pass
    assert ours._thread.is_alive()
    forever.set()


def test_a_renewal_that_fails_is_said_and_tried_again(ledger: Ledger) -> None:
    ours = purse(ledger)
    ours.take(0.25)
    ledger.away = True
    with capture_logs() as lines:
        ours.turn()
    assert [line["event"] for line in lines] == ["budget_renewal_failed"]
    ledger.away = False
    ours.turn()
    assert ledger.day().blocks[0].spent_usd == 0.25 + STEP
