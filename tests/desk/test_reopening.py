"""What an operator may do to a record that is to be done again, and what its former owners meet then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from subscriber.decisions import HISTORY_LENGTH, Verdict, decide_announced, decide_claim, first_epoch
from subscriber.desk.decisions import decide_take
from subscriber.desk.prospects import is_stalled
from subscriber.desk.reopening import Deed, decide_reopening, decide_rewriting, deed_for, replayed_from
from subscriber.errors import ClaimLost
from subscriber.model import SCHEMA_VERSION, Attempt, Claim, Progress, Record, State
from tests.claims import ASK, BY_OWNER, CLAIM, CLAIMED, JOB, NOW

OVER = NOW + timedelta(hours=1)
WAITING = replace(CLAIMED, state=State.WAITING, next_attempt_at=NOW)
DONE = replace(
    CLAIMED,
    state=State.DONE,
    completed_at=NOW,
    announced_at=NOW,
    expires_at=OVER,
    outputs=("gs://output/one.json",),
    model="whisper-1",
    language="en",
    furthest_seconds=30.0,
    progress=Progress(30.0, 61.5),
    silent_deaths=2,
    lone_deaths=1,
    alone=True,
)
DEAD = replace(DONE, state=State.DEAD, outputs=())


def reopened(record: Record | None, salt: str = "", nonce: str = "operator") -> Verdict[Deed]:
    return decide_reopening(record, NOW, job=JOB, nonce=nonce, salt=salt)


def written(record: Record | None, salt: str = "") -> Record:
    found = reopened(record, salt).write
    assert found
    return found


@pytest.mark.parametrize(
    ("record", "plain", "fresh"),
    [
        (None, Deed.NOTIFY, Deed.REOPEN),
        (CLAIMED, Deed.IN_WORK, Deed.IN_WORK),
        (replace(CLAIMED, claim_seconds=30.0), Deed.NOTIFY, Deed.REOPEN),
        (WAITING, Deed.NOTIFY, Deed.REOPEN),
        (DEAD, Deed.REOPEN, Deed.REOPEN),
        (DONE, Deed.SETTLED, Deed.REOPEN),
        (replace(DONE, state=State.GONE), Deed.SETTLED, Deed.REOPEN),
        (replace(DONE, state=State.SUPERSEDED), Deed.SETTLED, Deed.REOPEN),
        (replace(DONE, state=State.SKIPPED), Deed.SETTLED, Deed.REOPEN),
        (replace(DONE, state=State.FORGOTTEN), Deed.FORGOTTEN, Deed.FORGOTTEN),
        (replace(DEAD, schema_version=SCHEMA_VERSION + 1), Deed.NEWER, Deed.NEWER),
    ],
)
def test_what_is_done_follows_from_the_record(record: Record | None, plain: Deed, fresh: Deed) -> None:
    for deed, salt in ((plain, ""), (fresh, "salt")):
        assert deed_for(record, NOW, salt=salt) is deed
        verdict = reopened(record, salt)
        assert verdict.answer is deed
        assert (verdict.write is not None) is (deed is Deed.REOPEN)


def test_a_dead_job_begins_anew_and_remembers_what_was() -> None:
    record = written(DEAD)
    assert (record.state, record.next_attempt_at, record.epoch) == (State.WAITING, NOW, DEAD.epoch + 1)
    assert record.nonce == "operator"
    assert (record.attempts, record.silent_deaths, record.lone_deaths, record.alone) == (0, 0, 0, False)
    assert (record.completed_at, record.announced_at, record.expires_at) == (None, None, None)
    assert record.history == (*DEAD.history, Attempt(7, "replayed", "dead", "to be tried anew", NOW))
    assert (record.reason, record.model, record.language) == (DEAD.reason, "whisper-1", "en")
    assert record.salt == ""
    claim = decide_claim(record, NOW, ASK).answer
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.suspect, claim.sentence) == (1, False, None)


def test_a_fresh_run_uses_nothing_of_the_past_but_keeps_the_outputs_until_it_has_its_own() -> None:
    record = written(DONE, "salt")
    assert (record.salt, record.model, record.language) == ("salt", None, None)
    assert (record.progress, record.furthest_seconds) == (Progress(), 0.0)
    assert record.outputs == DONE.outputs
    claim = decide_claim(record, NOW, ASK).answer
    assert isinstance(claim, Claim)
    assert claim.salt == "salt"


def test_a_fresh_run_that_died_is_resumed_with_its_own_chunks() -> None:
    assert written(replace(DEAD, salt="salt")).salt == "salt"


def test_a_job_that_waits_afresh_is_not_made_fresh_again() -> None:
    """Its salt may have paid for chunks already; the same command, repeated, only notifies."""
    waiting = written(DONE, "salt")
    assert reopened(waiting, "another", nonce="another").answer is Deed.NOTIFY
    assert reopened(written(DEAD), "salt", nonce="another").answer is Deed.REOPEN


@pytest.mark.parametrize(
    ("record", "deed"), [(DONE, Deed.SETTLED), (WAITING, Deed.NOTIFY), (CLAIMED, Deed.IN_WORK), (DEAD, Deed.REOPEN)]
)
def test_one_run_makes_no_job_afresh_twice(record: Record, deed: Deed) -> None:
    """It is stopped and goes on, or meets two messages of one job: what it paid for by then is kept."""
    verdict = reopened(replace(record, salt="salt"), "salt")
    assert verdict.answer is deed
    assert not verdict.write or (verdict.write.model, verdict.write.furthest_seconds) == ("whisper-1", 30.0)


def test_a_record_tells_what_it_was_replayed_from_until_somebody_claims_it() -> None:
    record = written(DEAD)
    assert replayed_from(record) == "dead"
    claimed = decide_claim(record, NOW, ASK).write
    assert claimed
    assert replayed_from(claimed) is None
    assert replayed_from(WAITING) is None


def test_a_reopened_job_whose_notification_was_lost_is_stalled_a_quarter_of_an_hour_later() -> None:
    assert not is_stalled(written(DEAD), NOW + timedelta(minutes=14))
    assert is_stalled(written(DEAD), NOW + timedelta(minutes=16))


@pytest.mark.parametrize("record", [DEAD, replace(CLAIMED, claim_seconds=30.0), replace(WAITING, nonce="theirs")])
@pytest.mark.parametrize("deed", BY_OWNER)
def test_whoever_worked_on_it_before_meets_the_fence(record: Record, deed: str) -> None:
    after = written(record, "salt")
    with pytest.raises(ClaimLost):
        BY_OWNER[deed](CLAIM)(after, NOW)
    assert decide_announced(replace(after, state=State.DONE), NOW, record.epoch).write is None


def test_a_commit_whose_answer_was_lost_is_known_again() -> None:
    record = written(DEAD, "salt")
    assert reopened(record, "salt") == Verdict(Deed.REOPEN)


def test_a_job_without_a_record_begins_above_what_was_written_under_an_earlier_one() -> None:
    record = written(None, "salt")
    assert record.epoch > first_epoch(NOW)
    assert (record.bucket, record.name, record.generation, record.output) == (
        JOB.bucket,
        JOB.name,
        JOB.generation,
        JOB.output,
    )
    erased = decide_take(None, NOW, JOB, "forget").write
    assert erased
    assert erased.epoch > first_epoch(NOW)


def test_history_stays_short() -> None:
    long = replace(DEAD, history=tuple(Attempt(n, "failed", "", "", NOW) for n in range(HISTORY_LENGTH)))
    assert len(written(long).history) == HISTORY_LENGTH


def test_a_done_job_is_reopened_for_its_files_and_keeps_what_it_was_asked_with() -> None:
    found = replace(DONE, salt="afresh")
    verdict = decide_rewriting(found, NOW, nonce="operator")
    assert verdict.answer
    assert verdict.write
    assert (verdict.write.state, verdict.write.epoch) == (State.WAITING, found.epoch + 1)
    assert (verdict.write.model, verdict.write.language, verdict.write.salt) == ("whisper-1", "en", "afresh")
    assert replayed_from(verdict.write) == State.DONE
    assert decide_rewriting(verdict.write, OVER, nonce="operator") == Verdict(answer=True), "our own, answer lost"


NOT_DONE = {
    "none": None,
    "dead": DEAD,
    "waiting": WAITING,
    "claimed": CLAIMED,
    "newer": replace(DONE, schema_version=99),
}


@pytest.mark.parametrize("found", NOT_DONE.values(), ids=NOT_DONE)
def test_only_a_done_job_is_reopened_for_its_files(found: Record | None) -> None:
    assert decide_rewriting(found, NOW, nonce="operator") == Verdict(answer=False)
