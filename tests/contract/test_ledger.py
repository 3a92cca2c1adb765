"""One suite for both ledgers."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest

from subscriber.decisions import Refusal, Verdict
from subscriber.desk.reopening import Deed, decide_reopening
from subscriber.errors import ClaimLost
from subscriber.model import SCHEMA_VERSION, Claim, Outcome, Record, State
from tests.claims import BY_OWNER, CLAIMED, JOB, RESULT, AnyLedger, at_once, claim, claiming, claims_of, found, put
from tests.test_documents import FULL


@pytest.fixture(params=["sqlite", "firestore"])
def ledger(request: pytest.FixtureRequest) -> AnyLedger:
    """An empty ledger; the test runs once on each."""
    made: AnyLedger = request.getfixturevalue(request.param)
    made.check()
    return made


def test_a_job_that_nobody_has_seen_has_no_record(ledger: AnyLedger) -> None:
    assert ledger.read(JOB) is None


def test_a_claim_is_granted_renewed_and_completed(ledger: AnyLedger) -> None:
    ours = claim(ledger)
    assert found(ledger).nonce == ours.nonce
    before = found(ledger).renewed_at
    ledger.transact(JOB, BY_OWNER["renew"](ours))
    assert found(ledger).renewed_at > before
    done = ledger.transact(JOB, BY_OWNER["complete"](ours))
    assert found(ledger) == done
    assert (done.state, done.outputs, done.progress.done) == (State.DONE, RESULT.outputs, 30.0)
    duplicate = ledger.transact(JOB, claiming())
    assert isinstance(duplicate, Refusal)
    assert duplicate.outcome is Outcome.DUPLICATE


def test_a_live_claim_makes_others_busy(ledger: AnyLedger) -> None:
    claim(ledger)
    busy = ledger.transact(JOB, claiming())
    assert isinstance(busy, Refusal)
    assert busy.outcome is Outcome.BUSY
    assert 80 < busy.retry_after_seconds < 90


def test_a_claim_whose_owner_is_silent_is_taken_over_and_its_owner_fenced(ledger: AnyLedger) -> None:
    theirs = claim(ledger)
    put(ledger, replace(found(ledger), renewed_at=found(ledger).renewed_at - timedelta(seconds=90)))
    ours = claim(ledger)
    assert (ours.epoch, ours.taken_over) == (theirs.epoch + 1, True)
    for deed in BY_OWNER.values():
        with pytest.raises(ClaimLost):
            ledger.transact(JOB, deed(theirs))
    assert found(ledger).nonce == ours.nonce


def test_a_claim_expires_by_the_ledgers_own_clock(ledger: AnyLedger) -> None:
    ledger.transact(JOB, claiming(claim_seconds=0.3))
    asked, ends_at = 0, time.monotonic() + 10
    while not isinstance(ledger.transact(JOB, claiming()), Claim):
        asked += 1
        assert time.monotonic() < ends_at
    assert asked
    assert claims_of(found(ledger)) == 2


def test_a_failed_job_waits_and_a_released_one_is_due_at_once(ledger: AnyLedger) -> None:
    ledger.transact(JOB, BY_OWNER["release"](claim(ledger)))
    ledger.transact(JOB, BY_OWNER["retry"](claim(ledger)))
    early = ledger.transact(JOB, claiming())
    assert isinstance(early, Refusal)
    assert early.outcome is Outcome.EARLY
    assert (found(ledger).attempts, claims_of(found(ledger))) == (1, 2)


def test_one_of_three_claimers_wins_and_the_others_are_busy(ledger: AnyLedger) -> None:
    answers = at_once(3, lambda: ledger.transact(JOB, claiming()))
    claims = [answer for answer in answers if isinstance(answer, Claim)]
    assert [answer.outcome for answer in answers if answer not in claims] == [Outcome.BUSY] * 2
    assert [claim.nonce for claim in claims] == [found(ledger).nonce]
    assert claims_of(found(ledger)) == 1


def test_no_update_is_lost_among_several_writers(ledger: AnyLedger) -> None:
    """Two, because the Firestore emulator lets writers who lock each other out wait for 2 s a time."""
    put(ledger, CLAIMED)

    def grow(record: Record | None, _: datetime) -> Verdict[None]:
        assert record
        return Verdict(None, replace(record, takeovers=record.takeovers + 1))

    at_once(2, lambda: [ledger.transact(JOB, grow) for _ in range(3)])
    assert found(ledger).takeovers == 6


@pytest.mark.parametrize("before", [None, CLAIMED])
def test_a_decision_that_raises_writes_nothing_and_stops_nobody(ledger: AnyLedger, before: Record | None) -> None:
    if before:
        put(ledger, before)

    def refuse(_: Record | None, __: datetime) -> Verdict[None]:
        raise ClaimLost("no")

    with pytest.raises(ClaimLost, match="no"):
        ledger.transact(JOB, refuse)
    assert ledger.read(JOB) == before
    put(ledger, FULL)
    assert ledger.read(JOB) == FULL


def test_a_decision_without_a_record_writes_nothing(ledger: AnyLedger) -> None:
    assert ledger.transact(JOB, lambda record, _: Verdict(record)) is None
    assert ledger.read(JOB) is None


def test_a_newer_versions_record_is_left_alone(ledger: AnyLedger) -> None:
    newer = replace(CLAIMED, schema_version=SCHEMA_VERSION + 1, renewed_at=datetime(2020, 1, 1, tzinfo=UTC))
    put(ledger, newer)
    early = ledger.transact(JOB, claiming())
    assert isinstance(early, Refusal)
    assert early.outcome is Outcome.EARLY
    assert ledger.read(JOB) == newer


def test_every_field_survives_with_its_microseconds(ledger: AnyLedger) -> None:
    put(ledger, FULL)
    assert ledger.read(JOB) == FULL
    assert found(ledger).created_at.microsecond == 123456


@pytest.mark.parametrize("name", ["..", ".", "a/b//c", "#1", "__x__", "\N{GRINNING FACE}" * 256, " ", "a\nb", "ü%2F?"])
def test_any_object_name_has_a_record_of_its_own(ledger: AnyLedger, name: str) -> None:
    odd = replace(JOB, name=name)
    claim(ledger)
    claim(ledger, odd)
    assert found(ledger, odd).name == name
    claim(ledger, replace(odd, generation=odd.generation + 1))
    assert claims_of(found(ledger, odd)) == 1


@pytest.mark.parametrize("record", [None, CLAIMED])
def test_the_ledgers_time_is_fresh_at_every_read(ledger: AnyLedger, record: Record | None) -> None:
    if record:
        put(ledger, record)
    first, second = (ledger.transact(JOB, lambda _, now: Verdict(now)) for _ in range(2))
    assert first < second
    assert abs(datetime.now(UTC) - second) < timedelta(seconds=5)


@pytest.mark.parametrize("salt", ["", "salt"])
def test_a_settled_job_that_is_replayed_is_claimed_anew_and_fences_whoever_had_it(ledger: AnyLedger, salt: str) -> None:
    theirs = claim(ledger)
    ledger.transact(JOB, BY_OWNER["bury"](theirs))
    reopen = partial(decide_reopening, job=JOB, nonce="operator", salt=salt)
    assert ledger.transact(JOB, reopen) is Deed.REOPEN
    for deed in BY_OWNER.values():
        with pytest.raises(ClaimLost):
            ledger.transact(JOB, deed(theirs))
    ours = claim(ledger)
    assert (ours.epoch, ours.attempt, ours.salt) == (theirs.epoch + 2, 1, salt)
    assert ledger.transact(JOB, partial(decide_reopening, job=JOB, nonce="late", salt="other")) is Deed.IN_WORK
    assert found(ledger).nonce == ours.nonce


def test_two_operators_reopen_a_job_once(ledger: AnyLedger) -> None:
    ledger.transact(JOB, BY_OWNER["bury"](claim(ledger)))
    deeds = at_once(3, lambda: ledger.transact(JOB, partial(decide_reopening, job=JOB, nonce=uuid4().hex, salt="")))
    assert sorted(deeds) == [Deed.NOTIFY, Deed.NOTIFY, Deed.REOPEN]
