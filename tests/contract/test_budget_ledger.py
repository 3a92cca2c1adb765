"""One suite for both ledgers' second kind of document: the day's budget."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from subscriber.budget_decisions import Allowance, BlockRequest, Day, Sizes, decide_block, decide_return
from subscriber.errors import ClaimLost
from subscriber.verdict import Decision
from tests.claims import JOB, AnyLedger, at_once, claim

ASK = BlockRequest("", "this pod", None, 0.0, 0.5, 10.0, Sizes(4.0, 1.0))


@pytest.fixture(params=["sqlite", "firestore"])
def ledger(request: pytest.FixtureRequest) -> AnyLedger:
    """An empty ledger; the test runs once on each."""
    made: AnyLedger = request.getfixturevalue(request.param)
    made.check()
    return made


def ask(ledger: AnyLedger, limit_usd: float = 10.0) -> Allowance:
    """Ask as a process of its own."""
    request = replace(ASK, nonce=uuid.uuid4().hex, limit_usd=limit_usd)
    return ledger.transact_budget(partial(decide_block, ask=request))


def found(ledger: AnyLedger) -> Day | None:
    return ledger.transact_budget(lambda day, _: Decision(day))


def test_before_anybody_spends_there_is_no_day(ledger: AnyLedger) -> None:
    assert found(ledger) is None


def test_what_is_set_aside_is_gone_for_others_and_what_is_returned_is_there_again(ledger: AnyLedger) -> None:
    ours, theirs, rest = (ask(ledger).block for _ in range(3))
    assert ours
    assert theirs
    assert rest
    assert (ours.usd, theirs.usd, rest.usd) == (4.0, 4.0, 2.0)
    assert ask(ledger).block is None
    give_back = partial(decide_return, held=ours.nonce, spent_usd=0.25, limit_usd=10.0)
    assert ledger.transact_budget(give_back) == 10.0 - 0.25 - 1.0 - 1.0
    again = ask(ledger).block
    assert again
    assert again.usd == 3.75


def test_the_day_is_found_as_it_was_written_to_the_microsecond(ledger: AnyLedger) -> None:
    allowed = ask(ledger)
    day = found(ledger)
    assert allowed.block
    assert day
    assert day.blocks == (allowed.block,)
    assert day.day == datetime.now(UTC).date().isoformat()
    left = allowed.block.expires_at - datetime.now(UTC)
    assert timedelta(seconds=60) < left < timedelta(seconds=120), "by the ledger's clock"


def test_of_many_who_ask_at_once_nobody_gets_what_another_has(ledger: AnyLedger) -> None:
    """Three, because the Firestore emulator lets writers who lock each other out wait for 2 s a time."""
    allowed = at_once(3, lambda: ask(ledger, limit_usd=5.0))
    granted = [one.block.usd for one in allowed if one.block]
    assert sorted(granted) == [1.0, 4.0]
    assert allowed.count(Allowance(None, 5.0 - 1.0 - 1.0)) == 1


def test_a_decision_that_raises_writes_nothing_and_stops_nobody(ledger: AnyLedger) -> None:
    def refuse(_: Day | None, __: datetime) -> Decision[None, Day]:
        raise ClaimLost("no")

    with pytest.raises(ClaimLost, match="no"):
        ledger.transact_budget(refuse)
    assert found(ledger) is None
    assert ask(ledger).block


def test_the_budget_stands_beside_the_records_and_neither_sees_the_other(ledger: AnyLedger) -> None:
    claim(ledger)
    before = ledger.read(JOB)
    ask(ledger)
    assert ledger.read(JOB) == before
    day = found(ledger)
    assert day
    assert len(day.blocks) == 1
