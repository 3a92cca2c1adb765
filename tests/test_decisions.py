"""The blueprint's table row by row, the fence, and that every decision recognises what it has already done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.backoff import backoff_seconds
from subscriber.decisions import (
    HISTORY_LENGTH,
    POISON_AFTER,
    RECORD_RETENTION,
    SUSPECT_AFTER,
    Refusal,
    decide_announced,
    decide_claim,
    decide_release,
    decide_renewal,
    decide_retry,
)
from subscriber.errors import ClaimLost, NotForUs
from subscriber.model import SCHEMA_VERSION, Attempt, Claim, Outcome, Pin, Progress, Reason, Record, State
from subscriber.settlement import SETTLEMENT, Settlement
from tests.claims import ASK, BY_OWNER, CLAIM, CLAIMED, JOB, NOW, REASON, RESULT

TICK = timedelta(microseconds=1)
LATER = NOW + timedelta(seconds=5)
WAITING = replace(CLAIMED, state=State.WAITING, next_attempt_at=NOW)
NEWER = replace(CLAIMED, schema_version=SCHEMA_VERSION + 1)
FIRST = int(NOW.timestamp()) + 1
OURS = Claim(JOB, ASK.nonce, epoch=8, attempt=2, claim_seconds=90.0)
EXHAUSTED = Reason("exhausted", "3 attempts failed; the last: provider_error: it said 500", NOW)
EXPIRED = Reason("expired", "the message was published 3601 s ago, more than 3600 s", NOW)


def rows(*table: tuple[Any, ...]) -> list[Any]:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def settled(state: State, kind: str = "", schema_version: int = SCHEMA_VERSION) -> Record:
    reason = Reason(kind, "a sentence", NOW) if kind else None
    return replace(CLAIMED, state=state, reason=reason, schema_version=schema_version)


def ending_in(wait: timedelta) -> Record:
    return replace(CLAIMED, renewed_at=NOW - timedelta(seconds=90) + wait)


def waiting_for(wait: timedelta, attempts: int = 1) -> Record:
    return replace(WAITING, next_attempt_at=NOW + wait, attempts=attempts)


GRANTED = rows(
    ("a job that nobody has seen is claimed with the first epoch", None, replace(OURS, epoch=FIRST, attempt=1)),
    ("a claim is taken over at the moment it ends", ending_in(timedelta()), replace(OURS, taken_over=True)),
    ("a claim is taken over long after its end", ending_in(timedelta(days=-9)), replace(OURS, taken_over=True)),
    ("a job that waited is claimed when its time comes", waiting_for(timedelta()), OURS),
    ("a job that waits for nothing is claimed", replace(WAITING, next_attempt_at=None), OURS),
    (
        "a job without attempts left may only be buried",
        waiting_for(timedelta(), attempts=3),
        replace(OURS, attempt=4, sentence=EXHAUSTED),
    ),
)

REFUSED = rows(
    ("a done job makes a duplicate", settled(State.DONE), Outcome.DUPLICATE, 0.0),
    ("a dead job gives its verdict", settled(State.DEAD, "too_long"), Outcome.REJECTED, 0.0),
    ("a dead job without a reason is dead", settled(State.DEAD), Outcome.REJECTED, 0.0),
    ("an exhausted job says so", settled(State.DEAD, "exhausted"), Outcome.EXHAUSTED, 0.0),
    ("an expired job says so", settled(State.DEAD, "expired"), Outcome.EXPIRED, 0.0),
    ("a job whose object is gone says so", settled(State.GONE, "gone"), Outcome.GONE, 0.0),
    ("a superseded job says so", settled(State.SUPERSEDED, "superseded"), Outcome.SUPERSEDED, 0.0),
    ("a live claim makes others busy until it ends", CLAIMED, Outcome.BUSY, 60.0),
    ("a claim lives to its last microsecond", ending_in(TICK), Outcome.BUSY, 1e-6),
    ("a job waits for its time", waiting_for(TICK), Outcome.EARLY, 1e-6),
    ("a job without attempts left is buried no sooner", waiting_for(TICK, attempts=3), Outcome.EARLY, 1e-6),
    ("a newer version's claim is left alone", replace(ending_in(-TICK), schema_version=2), Outcome.EARLY, 60.0),
    ("a newer version's end is left alone", settled(State.DONE, schema_version=99), Outcome.EARLY, 60.0),
)


def test_what_was_forgotten_asks_nothing_of_us() -> None:
    with pytest.raises(NotForUs) as forgotten:
        decide_claim(settled(State.FORGOTTEN), NOW, ASK)
    assert forgotten.value.reason == "forgotten"


@pytest.mark.parametrize(("record", "claim"), GRANTED)
def test_who_claims_is_granted(record: Record | None, claim: Claim) -> None:
    verdict = decide_claim(record, NOW, ASK)
    assert verdict.answer == claim
    assert verdict.write
    assert (verdict.write.state, verdict.write.nonce, verdict.write.epoch) == (State.CLAIMED, ASK.nonce, claim.epoch)
    assert (verdict.write.owner, verdict.write.message_id) == (ASK.owner, ASK.message_id)
    assert verdict.write.claim_ends_at == NOW + timedelta(seconds=ASK.claim_seconds)


@pytest.mark.parametrize(("record", "outcome", "wait"), REFUSED)
def test_who_claims_is_refused(record: Record, outcome: Outcome, wait: float) -> None:
    verdict = decide_claim(record, NOW, ASK)
    assert verdict.answer == Refusal(outcome, wait, record)
    assert verdict.write is None


def test_a_claim_costs_no_attempt_and_a_takeover_is_counted_and_remembered() -> None:
    taken = decide_claim(ending_in(timedelta()), NOW, ASK).write
    assert taken
    assert (taken.attempts, taken.takeovers) == (CLAIMED.attempts, 1)
    assert taken.history[-1] == Attempt(7, "taken_over", "", "", NOW)
    assert taken.created_at == CLAIMED.created_at


def test_a_message_that_is_too_old_may_only_bury_its_job() -> None:
    def answer(age: float) -> Claim | Refusal:
        return decide_claim(None, NOW, replace(ASK, published_at=NOW - timedelta(seconds=age))).answer

    assert answer(3600.0) == replace(OURS, epoch=FIRST, attempt=1)
    assert answer(3601.0) == replace(OURS, epoch=FIRST, attempt=1, sentence=EXPIRED)


def test_a_renewal_moves_the_claims_end_even_past_its_expiry_while_nobody_took_it() -> None:
    expired = ending_in(timedelta(hours=-1))
    renewed = decide_renewal(expired, NOW, CLAIM, Progress(30.0, 61.5), Pin()).write
    assert renewed == replace(expired, renewed_at=NOW, progress=Progress(30.0, 61.5), furthest_seconds=30.0)


@pytest.mark.parametrize("deed", ["complete", "bury", "end gone", "end superseded"])
def test_an_end_is_final_dated_and_kept_for_longer_than_pubsub_remembers(deed: str) -> None:
    ended = BY_OWNER[deed](CLAIM)(CLAIMED, NOW).write
    assert ended
    assert ended.state.final
    assert (ended.completed_at, ended.expires_at) == (NOW, NOW + RECORD_RETENTION)
    assert timedelta(days=31) < RECORD_RETENTION
    assert (ended.announced_at, ended.next_attempt_at) == (None, None)
    assert len(ended.history) == len(CLAIMED.history) + 1
    assert {type(line.outcome) for line in ended.history} == {str}, "an enum is no plain value for a ledger"


def test_a_completion_records_the_whole_result_and_no_reason() -> None:
    done = BY_OWNER["complete"](CLAIM)(CLAIMED, NOW).write
    assert done
    assert done.reason is None
    assert all(getattr(done, name) == getattr(RESULT, name) for name in RESULT.__slots__)


@pytest.mark.parametrize(
    ("deed", "sentence", "cost"),
    rows(
        ("a failed attempt costs one", "retry", None, 1),
        ("a verdict on the file costs one", "bury", None, 1),
        ("burying without a new attempt costs none", "bury", EXHAUSTED, 0),
        ("failing to bury costs none", "retry", EXHAUSTED, 0),
        ("a release costs none", "release", None, 0),
        ("a renewal costs none", "renew", None, 0),
        ("a completion costs none", "complete", None, 0),
        ("an object that is gone costs none", "end gone", None, 0),
        ("an object that was replaced costs none", "end superseded", None, 0),
    ),
)
def test_only_a_failed_attempt_costs_an_attempt(deed: str, sentence: Reason | None, cost: int) -> None:
    written = BY_OWNER[deed](replace(CLAIM, sentence=sentence))(CLAIMED, NOW).write
    assert written
    assert written.attempts == CLAIMED.attempts + cost


def test_a_failed_job_waits_and_a_released_one_does_not() -> None:
    failed = decide_retry(CLAIMED, NOW, CLAIM, REASON, 20.0).write
    released = decide_release(CLAIMED, NOW, CLAIM, "a shutdown").write
    assert failed
    assert released
    assert (failed.next_attempt_at, failed.reason) == (NOW + timedelta(seconds=20), REASON)
    assert (released.next_attempt_at, released.reason) == (NOW, CLAIMED.reason)
    assert isinstance(decide_claim(released, NOW, ASK).answer, Claim)


def dies(record: Record | None, *, alone: bool = False, reached: float = 0.0, renewals: int = 1) -> Record:
    """A claim of the job, its renewals, and its owner's death without a word: what is left a while later."""
    claim, claimed = _claimed(record)
    for _ in range(renewals):
        claimed = decide_renewal(claimed, NOW, claim, Progress(reached), Pin(), alone=alone).write or claimed
    return replace(claimed, renewed_at=NOW - timedelta(days=1))


def _claimed(record: Record | None) -> tuple[Claim, Record]:
    verdict = decide_claim(record, NOW, replace(ASK, nonce=f"of epoch {record.epoch + 1 if record else 1}"))
    assert isinstance(verdict.answer, Claim)
    assert verdict.write
    return verdict.answer, verdict.write


def test_a_job_that_died_twice_without_a_word_is_run_alone_from_then_on() -> None:
    record, suspects = None, []
    for _ in range(SUSPECT_AFTER + 2):
        suspects.append(_claimed(record)[0].suspect)
        record = dies(record)
    assert suspects == [False, False, True, True]


def test_deaths_in_company_condemn_nobody() -> None:
    """However often a neighbour's poison took the job along, also while it waited for its turn to be alone."""
    record = None
    for _ in range(20):
        record = dies(record)
    claim, claimed = _claimed(record)
    assert claim.sentence is None
    assert (claimed.silent_deaths, claimed.lone_deaths, claimed.attempts) == (20, 0, 0)


def test_a_job_that_dies_alone_again_and_again_is_dead() -> None:
    record, sentences = None, []
    for death in range(SUSPECT_AFTER + POISON_AFTER):
        record = dies(record, alone=death >= SUSPECT_AFTER)
        sentences.append(_claimed(record)[0].sentence)
    assert sentences[:-1] == [None] * (len(sentences) - 1)
    assert sentences[-1] == Reason("poison", "3 times the process died while it had this file alone", NOW)


def test_a_job_that_gets_further_each_time_is_never_condemned() -> None:
    """A long file in a process that lives for ten minutes at a time."""
    record = None
    for life in range(50):
        assert _claimed(record)[0].suspect is False
        record = dies(record, reached=30.0 * (life + 1))
    assert _claimed(record)[0].sentence is None
    for _ in range(SUSPECT_AFTER + POISON_AFTER):
        record = dies(record, alone=True, reached=30.0 * 50)
    assert _claimed(record)[0].sentence, "but one that only gets to where it was"


def test_a_suspect_that_gets_further_is_one_no_longer() -> None:
    record = None
    for _ in range(SUSPECT_AFTER):
        record = dies(record, reached=60.0)
    record = dies(dies(record, reached=60.0), alone=True, reached=60.0)
    claim, _ = _claimed(record)
    assert (claim.suspect, claim.furthest_seconds) == (True, 60.0)
    assert _claimed(dies(record, alone=True, reached=60.5))[0].suspect is False


@pytest.mark.parametrize("deed", ["release", "retry"])
def test_an_end_with_a_word_is_no_silent_death(deed: str) -> None:
    record: Record | None = None
    for _ in range(SUSPECT_AFTER + 1):
        claim, claimed = _claimed(record)
        written = BY_OWNER[deed](claim)(claimed, NOW).write
        assert written
        record = replace(written, next_attempt_at=NOW, attempts=0)
    assert _claimed(record)[1].silent_deaths == 0


def test_a_new_claim_is_in_company_until_its_solitude_is_recorded() -> None:
    before = dies(dies(dies(None)), alone=True)
    assert before.alone
    claim, claimed = _claimed(before)
    assert (claim.suspect, claimed.alone, claimed.lone_deaths) == (True, False, 1)
    after = _claimed(dies(before))[1]
    assert (after.silent_deaths, after.lone_deaths) == (4, 1)


def test_a_settled_job_is_announced_once_and_an_open_one_never() -> None:
    done = settled(State.DONE)
    assert decide_announced(done, NOW, done.epoch).write == replace(done, announced_at=NOW)
    assert decide_announced(done, NOW, done.epoch - 1).write is None, "that event was about an end before a replay"
    silent = [None, CLAIMED, WAITING, replace(done, announced_at=NOW), replace(done, schema_version=2)]
    assert [decide_announced(record, LATER, done.epoch).write for record in silent] == [None] * len(silent)


def test_a_record_remembers_its_last_ten_attempts() -> None:
    long = replace(CLAIMED, history=tuple(Attempt(n, "failed", "", "", NOW) for n in range(HISTORY_LENGTH)))
    written = decide_retry(long, NOW, CLAIM, REASON, 20.0).write
    assert written
    assert [line.epoch for line in written.history] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 7]


@pytest.mark.parametrize("deed", BY_OWNER)
@pytest.mark.parametrize(
    "found",
    rows(
        ("there is no record", None),
        ("another nonce holds the claim", replace(CLAIMED, nonce="other")),
        ("another epoch holds the claim", replace(CLAIMED, epoch=8)),
        ("a newer version wrote the record", NEWER),
        ("the job was settled by another epoch", replace(settled(State.DONE), epoch=8)),
        ("the job waits after another epoch", replace(WAITING, epoch=8)),
    ),
)
def test_a_writer_without_the_claim_is_fenced(deed: str, found: Record | None) -> None:
    with pytest.raises(ClaimLost, match="epoch 7 no longer holds"):
        BY_OWNER[deed](CLAIM)(found, NOW)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLAIMED])
def test_whoever_ended_his_claim_has_nothing_to_renew_and_has_lost_nothing(state: State) -> None:
    """A renewal may overtake the answer to our own completion; that is no loss to tell of."""
    verdict = decide_renewal(replace(CLAIMED, state=state), NOW, CLAIM, Progress(), Pin())
    assert (verdict.answer, verdict.write) == (False, None)


@pytest.mark.parametrize("deed", sorted(set(BY_OWNER) - {"renew"}))
@pytest.mark.parametrize("state", [state for state in State if state is not State.CLAIMED])
def test_an_owner_who_let_go_changes_nothing_more(deed: str, state: State) -> None:
    found = replace(CLAIMED, state=state)
    try:
        assert BY_OWNER[deed](CLAIM)(found, NOW).write is None
    except ClaimLost:
        pass
    else:
        assert _state_after(deed) is state, "only its own deed, done before, is answered again"


def _state_after(deed: str) -> State:
    written = BY_OWNER[deed](CLAIM)(CLAIMED, NOW).write
    assert written
    return written.state


@pytest.mark.parametrize("deed", [deed for deed in BY_OWNER if deed != "renew"])
def test_a_decision_whose_answer_was_lost_answers_the_same_and_writes_nothing(deed: str) -> None:
    first = BY_OWNER[deed](CLAIM)(CLAIMED, NOW)
    again = BY_OWNER[deed](CLAIM)(first.write, LATER)
    assert (again.answer, again.write) == (first.answer, None)


def test_a_renewal_whose_answer_was_lost_renews_again() -> None:
    first = decide_renewal(CLAIMED, NOW, CLAIM, Progress(), Pin())
    assert decide_renewal(first.write, NOW, CLAIM, Progress(), Pin()) == first


@pytest.mark.parametrize(("record", "claim"), GRANTED)
def test_a_claim_whose_answer_was_lost_is_answered_the_same_and_consumes_one_epoch(
    record: Record | None, claim: Claim
) -> None:
    first = decide_claim(record, NOW, ASK)
    again = decide_claim(first.write, NOW, ASK)
    assert (again.answer, again.write) == (claim, None)


@pytest.mark.parametrize("now", [NOW, LATER, NOW + timedelta(days=1)])
def test_our_own_claim_is_ours_even_past_its_end(now: datetime) -> None:
    first = decide_claim(None, NOW, replace(ASK, max_event_age_seconds=1e9))
    assert decide_claim(first.write, now, replace(ASK, max_event_age_seconds=1e9)).answer == first.answer


@given(
    attempt=st.integers(1, 10_000),
    shortest=st.floats(0.01, 100.0),
    factor=st.floats(1.0, 1e6),
    chance=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_backoff_is_at_least_half_of_the_shortest_and_never_above_the_longest(
    attempt: int, shortest: float, factor: float, chance: float
) -> None:
    wait = partial(backoff_seconds, shortest=shortest, longest=shortest * factor)
    assert shortest / 2 <= wait(attempt, chance=chance) <= shortest * factor
    assert wait(attempt, chance=0.0) <= wait(attempt, chance=chance) <= 2 * wait(attempt, chance=0.0)
    assert wait(attempt, chance=chance) <= wait(attempt + 1, chance=chance)


@pytest.mark.parametrize(
    ("pin", "kept"),
    [
        (Pin(), Pin("whisper-1", "de")),
        (Pin("whisper-1"), Pin("whisper-1", "de")),
        (Pin("whisper-1", "fr"), Pin("whisper-1", "fr")),
        (Pin("gpt-transcribe"), Pin("gpt-transcribe")),
    ],
)
def test_a_renewal_keeps_the_pinned_language_as_long_as_the_model(pin: Pin, kept: Pin) -> None:
    begun = replace(CLAIMED, model="whisper-1", language="de")
    renewed = decide_renewal(begun, NOW, CLAIM, Progress(), pin).write
    assert renewed
    assert Pin(renewed.model, renewed.language) == kept


def test_backoffs_double_until_the_cap() -> None:
    assert [backoff_seconds(n, 10.0, 100.0, 0.0) for n in (1, 2, 3, 4, 5, 6)] == [5.0, 10.0, 20.0, 40.0, 50.0, 50.0]


def test_every_outcome_is_settled_and_only_a_durable_one_is_acked() -> None:
    unsettled = {Outcome.BUSY, Outcome.FAILED, Outcome.EARLY, Outcome.INTERRUPTED, Outcome.LOST}
    assert set(SETTLEMENT) == set(Outcome)
    assert {outcome for outcome, settlement in SETTLEMENT.items() if settlement is not Settlement.ACK} == unsettled
    assert SETTLEMENT[Outcome.BUSY] is Settlement.PARK
    assert SETTLEMENT[Outcome.LOST] is Settlement.LEAVE
