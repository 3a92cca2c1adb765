"""Histories of one job, as long and as unlucky as Hypothesis likes, through the very decisions that run in production.

The machine is a ledger in memory with a clock of its own. Its owners claim, renew, fail, fall silent, die and come back
late; answers get lost, so that a decision runs again on what it wrote. The last tests break a decision on purpose: a
machine that found nothing then would prove nothing now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from subscriber.decisions import (
    ClaimRequest,
    Decide,
    Refusal,
    Verdict,
    decide_announced,
    decide_claim,
    decide_completion,
)
from subscriber.desk.reopening import Deed, decide_reopening
from subscriber.errors import ClaimLost
from subscriber.model import Claim, Job, Record, Result, State
from tests.claims import ASK, BY_OWNER, JOB, NOW, RESULT

T = TypeVar("T")

QUICK = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,  # a failure must come again on the next machine
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Owner:
    """A process that holds a claim, or believes so; `counted_from` is its own clock before it last asked."""

    claim: Claim
    counted_from: datetime


class Histories(RuleBasedStateMachine):
    """The ledger's world: one record, a clock, and everybody who thinks that the job is theirs."""

    # Named here, so that a test can break one.
    decide_claim: ClassVar[Callable[..., Verdict[Claim | Refusal]]] = staticmethod(decide_claim)
    decide_completion: ClassVar[Callable[..., Verdict[Record]]] = staticmethod(decide_completion)
    decide_reopening: ClassVar[Callable[..., Verdict[Deed]]] = staticmethod(decide_reopening)

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.record: Record | None = None
        self.owners: list[Owner] = []
        self.claims_made = 0
        self.replays = 0
        self.replaying = False
        self.failures = 0

    def transact(self, decide: Decide[T], lost_answers: int) -> T:
        """What a ledger does, and what it does again when it does not hear of its commits."""
        verdict = decide(self.record, self.now)
        self._write(verdict.write)
        for _ in range(lost_answers if verdict.write else 0):
            self.now += timedelta(seconds=1)
            again = decide(self.record, self.now)
            assert _same(again.answer, verdict.answer), "a decision does not recognise its own commit"
            self._write(again.write)
        return verdict.answer

    def _write(self, after: Record | None) -> None:
        before = self.record
        if before and after:
            assert after.epoch >= before.epoch, "an epoch decreased"
            if before.state.final and not self.replaying:
                assert replace(after, announced_at=None) == replace(before, announced_at=None), "an end changed"
        self.record = after or before

    def _fenced(self, owner: Owner, decide: Decide[Any], lost_answers: int) -> bool:
        """Let an owner write; whether it held the claim. One who does not must have changed nothing."""
        before = self.record
        newest = before is not None and owner.claim.epoch == before.epoch
        try:
            self.transact(decide, lost_answers)
        except ClaimLost:
            assert not newest, "an owner lost a claim that nobody took"
            self._forget(owner)
        assert newest or self.record == before, "a fenced writer won"
        return newest

    def _live(self) -> list[Owner]:
        return [owner for owner in self.owners if self.now < owner.counted_from + timedelta(seconds=90)]

    def _forget(self, owner: Owner) -> None:
        self.owners = [other for other in self.owners if other is not owner]

    @rule(lost_answers=st.integers(0, 2), age=st.sampled_from([0.0, 3000.0, 4000.0]))
    def a_delivery_arrives(self, lost_answers: int, age: float) -> None:
        self.claims_made += 1
        ask = replace(ASK, nonce=f"nonce {self.claims_made}", published_at=self.now - timedelta(seconds=age))
        before, asked_at = self.record, self.now
        answer = self.transact(partial(type(self).decide_claim, ask=ask), lost_answers)
        if isinstance(answer, Claim):
            self.owners.append(Owner(answer, asked_at))
        else:
            assert self.record == before, "a refusal changed the record"
            assert answer.retry_after_seconds > 0 or (before and before.state.final)

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), lost_answers=st.integers(0, 2))
    def an_owner_renews(self, data: st.DataObject, lost_answers: int) -> None:
        owner, asked_at = data.draw(st.sampled_from(self.owners)), self.now
        if self._fenced(owner, BY_OWNER["renew"](owner.claim), lost_answers):
            owner.counted_from = asked_at

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), lost_answers=st.integers(0, 2), deed=st.sampled_from(sorted(set(BY_OWNER) - {"renew"})))
    def an_owner_ends(self, data: st.DataObject, lost_answers: int, deed: str) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        decide = BY_OWNER[deed](owner.claim)
        if deed == "complete":
            if owner.claim.sentence:
                return  # nobody works under a sentence
            decide = partial(type(self).decide_completion, claim=owner.claim, result=RESULT)
        if self._fenced(owner, decide, lost_answers):
            self.failures += deed in {"retry", "bury"} and owner.claim.sentence is None
        self._forget(owner)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def an_owner_is_killed(self, data: st.DataObject) -> None:
        self._forget(data.draw(st.sampled_from(self.owners)))

    @precondition(lambda self: self.record and self.record.state.final)
    @rule(lost_answers=st.integers(0, 1))
    def a_settled_job_is_announced(self, lost_answers: int) -> None:
        self.transact(partial(decide_announced, epoch=self.record.epoch if self.record else 0), lost_answers)

    @precondition(lambda self: self.record and self.record.state.final and not self.owners)
    @rule()
    def another_job_begins(self) -> None:
        """Or most of a long history would be an end that nobody can change."""
        self.record, self.failures = None, 0

    @rule(seconds=st.sampled_from([1, 29, 60, 89, 90, 91, 600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def nobody_shares_a_live_claim(self) -> None:
        assert len(self._live()) <= 1, "two live claims"

    @invariant()
    def attempts_are_the_failures_that_were_recorded(self) -> None:
        attempts = self.record.attempts if self.record else 0
        assert attempts == self.failures, "an attempt was burnt, or forgotten"
        assert attempts <= ASK.max_attempts

    @invariant()
    def done_has_outputs(self) -> None:
        done = self.record is not None and self.record.state is State.DONE
        assert not done or (self.record and self.record.outputs), "done without outputs"


class WithReplays(Histories):
    """The same, and an operator who has it done again. Apart, because what he breaks off hides what others break."""

    @precondition(lambda self: self.record)
    @rule(lost_answers=st.integers(0, 2), salt=st.sampled_from(["", "salt", "another"]))
    def an_operator_replays(self, lost_answers: int, salt: str) -> None:
        self.replays += 1
        before, live = self.record, self._live()
        decide = type(self).decide_reopening
        self.replaying = True
        deed = self.transact(partial(decide, job=JOB, nonce=f"replay {self.replays}", salt=salt), lost_answers)
        self.replaying = False
        if deed is Deed.REOPEN:
            assert not live, "a live claim was taken"
            self.failures = 0
        else:
            assert self.record == before, "a job that is left alone was changed"


def _same(again: object, first: object) -> bool:
    """Answers are equal, but for a sentence: a message ages while we ask."""
    if isinstance(first, Claim) and isinstance(again, Claim):
        return replace(again, sentence=None) == replace(first, sentence=None)
    return again == first


@pytest.mark.parametrize("machine", [Histories, WithReplays])
def test_no_history_breaks_the_promise(machine: type[Histories]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


def _misread(misreading: Callable[[Record], Record]) -> Callable[..., Verdict[Claim | Refusal]]:
    """A claim decided upon a record that is not quite what the ledger holds."""

    def decide(record: Record | None, now: datetime, ask: ClaimRequest) -> Verdict[Claim | Refusal]:
        foreign = record is not None and record.nonce != ask.nonce
        return decide_claim(misreading(record) if record and foreign else record, now, ask)

    return decide


def _forget_the_nonce(record: Record | None, now: datetime, ask: ClaimRequest) -> Verdict[Claim | Refusal]:
    return decide_claim(record and replace(record, nonce=""), now, ask)


def _let_anybody_complete(record: Record, now: datetime, claim: Claim, result: Result) -> Verdict[Record]:
    return decide_completion(record, now, replace(claim, nonce=record.nonce, epoch=record.epoch), result)


def _lose_the_outputs(record: Record, now: datetime, claim: Claim, result: Result) -> Verdict[Record]:
    return decide_completion(record, now, claim, replace(result, outputs=()))


def _take_what_is_in_work(record: Record, now: datetime, job: Job, nonce: str, salt: str) -> Verdict[Deed]:
    return decide_reopening(record, max(now, record.claim_ends_at), job=job, nonce=nonce, salt=salt)


def _replay_in_the_old_epoch(record: Record, now: datetime, job: Job, nonce: str, salt: str) -> Verdict[Deed]:
    verdict = decide_reopening(record, now, job=job, nonce=nonce, salt=salt)
    same = verdict.write and replace(verdict.write, epoch=record.epoch, nonce=record.nonce)
    return Verdict(verdict.answer, same)


def _reopen(found: Record) -> Record:
    return replace(found, state=State.WAITING) if found.state.final else found


@pytest.mark.parametrize(
    ("decision", "broken", "complaint"),
    [
        ("decide_claim", _misread(lambda found: replace(found, claim_seconds=0.0)), "two live claims"),
        ("decide_claim", _misread(lambda found: replace(found, attempts=found.attempts + 1)), "burnt"),
        ("decide_claim", _misread(lambda found: replace(found, epoch=found.epoch - 2)), "epoch decreased"),
        ("decide_claim", _misread(_reopen), "an end changed"),
        ("decide_claim", _forget_the_nonce, "does not recognise its own commit"),
        ("decide_completion", _let_anybody_complete, "a fenced writer won"),
        ("decide_completion", _lose_the_outputs, "done without outputs"),
        ("decide_reopening", _take_what_is_in_work, "a live claim was taken"),
        ("decide_reopening", _replay_in_the_old_epoch, "a decision does not recognise its own commit"),
    ],
    ids=["expiry", "attempts", "epoch", "end", "nonce", "fence", "outputs", "live", "old epoch"],
)
def test_a_broken_decision_is_found(decision: str, broken: Callable[..., object], complaint: str) -> None:
    kind = WithReplays if decision == "decide_reopening" else Histories
    machine = type("Broken", (kind,), {decision: staticmethod(broken)})
    with pytest.raises(AssertionError, match=complaint):
        run_state_machine_as_test(machine, settings=settings(QUICK, phases=[Phase.generate]))
