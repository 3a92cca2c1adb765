"""Replays on an embedded ledger: which jobs, in which order things happen, and what remains after an accident."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.adapters.sqlite_records import SqliteRecords
from subscriber.decisions import decide_completion
from subscriber.desk.dead_letters import BATCH_MESSAGES, MOST_LEFT, Stray, drain
from subscriber.desk.decisions import decide_take, decide_tombstone
from subscriber.desk.listing import wanted
from subscriber.desk.reopening import Deed
from subscriber.desk.replaying import BATCH_JOBS, Plan, Step, Totals, by_name, listed, replay, stalled
from subscriber.desk.tools import Desk
from subscriber.desk.words import readings
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import SCHEMA_VERSION, Delivery, Job, Message, Progress, Record, State
from subscriber.notification import Notice, Selection, written
from subscriber.outputs import OutputLocation, write_set
from subscriber.transcript import OutputFile
from tests.claims import CLAIMED, NOW, RESULT, claim, found, put

OURS = OutputLocation.parse("gs://out/texts")
AGO = NOW - timedelta(days=400)
"""Before any clock that these tests run by."""

PLAIN, FRESH = Plan("", dry_run=False), Plan("salt", dry_run=False)


@dataclass
class Topic:
    """A notifier that keeps what it is told, until it is away."""

    notices: list[Notice] = field(default_factory=list)
    away: bool = False

    def notify(self, notices: Sequence[Notice]) -> None:
        if self.away:
            raise NeighbourDown("pubsub", "unavailable", "gone away")
        self.notices += notices


@dataclass
class Holding:
    """A subscription of dead letters: what is leased does not come again, what is acked never."""

    messages: dict[str, Message]
    leased: set[str] = field(default_factory=set)

    def pull(self, free: int) -> Sequence[Delivery]:
        there = [one for one in self.messages.values() if one.id not in self.leased][:free]
        return [Delivery(one, "holding", one.id) for one in there]

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        assert (subscription, bool(ack_ids)) == ("holding", True), "Pub/Sub refuses an empty list"
        self.leased = self.leased | set(ack_ids) if seconds else self.leased - set(ack_ids)

    def finished(self) -> bool:
        return False

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        assert (subscription, bool(ack_ids)) == ("holding", True), "Pub/Sub refuses an empty list"
        for ack_id in ack_ids:
            del self.messages[ack_id]
        self.leased -= set(ack_ids)


@dataclass
class Office:
    desk: Desk
    topic: Topic
    ledger: SqliteLedger
    folder: Path

    def job(self, name: str, generation: int = 1, output: str = OURS.text) -> Job:
        return Job("in", name, generation, output)

    def put(self, name: str, state: State = State.DEAD, **changes: Any) -> Job:
        job = self.job(name)
        record = replace(CLAIMED, bucket="in", name=name, generation=1, output=OURS.text, state=state)
        put(self.ledger, replace(record, **changes), job)
        return job

    def upload(self, name: str) -> Job:
        path = self.folder / "in" / name
        path.write_bytes(b"sound")
        return self.job(name, path.stat().st_mtime_ns)

    def by_name(self, text: str, plan: Plan = PLAIN) -> list[Step]:
        return list(replay(self.desk, by_name(self.desk, readings(text), fresh=plan.fresh), plan))

    def by_state(self, *states: State, plan: Plan = PLAIN, reason: str | None = None) -> list[Step]:
        question = wanted(self.desk, states=list(states), reason=reason, after=None, prefix=None, stalled=False)
        return list(replay(self.desk, listed(self.desk, question, fresh=plan.fresh), plan))

    def stalled(self) -> list[Step]:
        question = wanted(self.desk, states=[], reason=None, after=None, prefix=None, stalled=True)
        return list(replay(self.desk, stalled(self.desk, question), PLAIN))

    def drain(self, holding: Holding, plan: Plan = PLAIN) -> list[Step | Stray]:
        return list(drain(self.desk, holding, "holding", plan))

    def notified(self) -> list[str]:
        return [notice.name for notice in self.topic.notices]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    objects, path, topic = FolderObjects({one: tmp_path / one for one in ("in", "out")}), tmp_path / "sqlite", Topic()
    with closing(SqliteLedger(path)) as ledger:
        ledger.check()
        chunks = OURS.chunk_prefix(".chunks/")
        desk = Desk(ledger, SqliteRecords(path), objects, OURS, chunks, Selection(), 10, 1e6, publisher=topic)
        yield Office(desk, topic, ledger, tmp_path)


def holding(*jobs: Job, strays: int = 0) -> Holding:
    made = [
        Message(f"{n}", *written(Notice(job.bucket, job.name, job.generation, None)), AGO) for n, job in enumerate(jobs)
    ]
    made += [Message(f"stray {n}", {}, b"hello", AGO) for n in range(strays)]
    return Holding({one.id: one for one in made})


def test_dead_jobs_are_reopened_and_notified_whatever_their_number(office: Office) -> None:
    jobs = [office.put(f"{number:03}.wav") for number in range(BATCH_JOBS + 5)]
    office.put("done.wav", State.DONE)
    steps = office.by_state(State.DEAD)
    assert [step.deed for step in steps] == [Deed.REOPEN] * len(jobs)
    assert sorted(office.notified()) == [job.name for job in jobs]
    assert {found(office.ledger, job).state for job in jobs} == {State.WAITING}


def test_a_crash_before_the_notification_is_mended_by_the_same_command(office: Office) -> None:
    job = office.put("one.wav")
    office.topic.away = True
    with pytest.raises(NeighbourDown):
        office.by_state(State.DEAD, reason="provider_error")
    reopened = found(office.ledger, job)
    assert reopened.state is State.WAITING
    office.topic.away = False
    (step,) = office.by_state(State.DEAD, reason="provider_error")
    assert (step.deed, office.notified()) == (Deed.NOTIFY, ["one.wav"])
    assert found(office.ledger, job) == reopened
    claim(office.ledger, job)
    assert office.by_state(State.DEAD) == []


def test_a_fresh_run_that_crashed_goes_on_with_its_salt(office: Office) -> None:
    job = office.upload("one.wav")
    put(office.ledger, replace(CLAIMED, bucket="in", name="one.wav", generation=job.generation, output=OURS.text), job)
    put(office.ledger, replace(found(office.ledger, job), state=State.DONE), job)
    office.topic.away = True
    with pytest.raises(NeighbourDown):
        office.by_state(State.DONE, plan=FRESH)
    office.topic.away = False
    (step,) = office.by_state(State.DONE, plan=Plan("another", dry_run=False))
    assert (step.deed, found(office.ledger, job).salt) == (Deed.NOTIFY, "salt")


def test_a_dry_run_changes_nothing_and_needs_no_topic(office: Office) -> None:
    job = office.put("one.wav")
    before = found(office.ledger, job)
    bare = replace(office.desk, publisher=None)
    dry = Plan("", dry_run=True)
    (step,) = replay(bare, by_name(bare, readings("gs://in/one.wav"), fresh=False), dry)
    assert step.deed is Deed.REOPEN
    assert found(office.ledger, job) == before
    with pytest.raises(ConfigError, match="REPLAY_TOPIC"):
        list(replay(bare, by_name(bare, readings("gs://in/one.wav"), fresh=False), PLAIN))
    assert found(office.ledger, job) == before


def test_a_name_means_all_its_generations_and_a_number_one(office: Office) -> None:
    for generation in (1, 2):
        job = office.job("one.wav", generation)
        record = replace(CLAIMED, bucket="in", name="one.wav", generation=generation, output=OURS.text)
        put(office.ledger, replace(record, state=State.DEAD), job)
    assert [step.job.generation for step in office.by_name("gs://in/one.wav#1")] == [1]
    assert [step.job.generation for step in office.by_name("gs://in/one.wav")] == [2, 1]
    assert office.by_name("gs://in/other.wav") == []


def test_a_name_that_holds_a_number_sign_is_tried_whole_first(office: Office) -> None:
    office.put("one.wav")
    office.put("one.wav#1")
    assert [step.job.name for step in office.by_name("gs://in/one.wav#1")] == ["one.wav#1"]


def test_an_upload_that_nobody_has_claimed_is_notified(office: Office) -> None:
    job = office.upload("one.wav")
    (step,) = office.by_name("gs://in/one.wav")
    assert (step.job, step.deed) == (job, Deed.NOTIFY)
    assert office.ledger.read(job) is None
    (office.folder / "in" / "letter.txt").write_text("Dear all")
    (step,) = office.by_name("gs://in/letter.txt")
    assert (step.deed, office.notified()) == (None, ["one.wav"])


def test_an_expired_record_whose_transcript_is_there_is_done_afresh_or_not_at_all(office: Office) -> None:
    job = office.upload("one.wav")
    held = claim(office.ledger, job)
    json_file = OutputFile("json", "application/json", b"{}")
    write_set(office.desk.objects, OURS, held, [], lambda _: json_file, "")
    office.ledger.transact(job, partial(decide_completion, claim=held, result=RESULT))
    delete(office, job)
    (step,) = office.by_name("gs://in/one.wav")
    assert "transcript is there" in step.refusal
    (step,) = office.by_name("gs://in/one.wav", FRESH)
    assert step.deed is Deed.REOPEN
    assert claim(office.ledger, job).epoch > held.epoch


def delete(office: Office, job: Job) -> None:
    """As Firestore's TTL does."""
    with office.ledger._connection() as connection:
        connection.execute("DELETE FROM records WHERE id = ?", (job.id,))


def test_what_was_deleted_or_replaced_is_not_transcribed_afresh(office: Office) -> None:
    job = office.put("one.wav", State.DONE)
    (step,) = office.by_name("gs://in/one.wav", FRESH)
    assert "no longer there" in step.refusal
    assert found(office.ledger, job).state is State.DONE


def test_jobs_of_another_output_are_left_to_their_daemon(office: Office) -> None:
    job = office.job("one.wav", output="gs://elsewhere")
    record = replace(CLAIMED, bucket="in", name="one.wav", generation=1, output="gs://elsewhere", state=State.DEAD)
    put(office.ledger, record, job)
    (step,) = office.by_state(State.DEAD)
    assert "gs://elsewhere" in step.refusal
    assert (office.notified(), found(office.ledger, job)) == ([], record)


def test_what_was_forgotten_stays_forgotten(office: Office) -> None:
    job = office.upload("one.wav")
    taken = office.ledger.transact(job, partial(decide_take, job=job, nonce="operator"))
    office.ledger.transact(job, partial(decide_tombstone, claim=taken.claim))
    for plan in (PLAIN, FRESH, Plan("", dry_run=True)):
        (step,) = office.by_name("gs://in/one.wav", plan)
        assert step.deed is Deed.FORGOTTEN
    assert office.notified() == []


@pytest.mark.parametrize("state", [State.CLAIMED, State.WAITING, State.FORGOTTEN, State.DONE])
def test_a_state_that_is_not_replayed_so_is_refused(office: Office, state: State) -> None:
    with pytest.raises(ConfigError, match="--state"):
        office.by_state(State.DEAD, state)


def test_stalled_jobs_are_notified_and_what_a_newer_version_wrote_is_left(office: Office) -> None:
    office.put("stalled.wav", State.WAITING, next_attempt_at=NOW - timedelta(days=400))
    office.put("newer.wav", State.WAITING, next_attempt_at=NOW - timedelta(days=400), schema_version=SCHEMA_VERSION + 1)
    office.put("due.wav", State.WAITING, next_attempt_at=office.desk.clock())
    before = {name: found(office.ledger, office.job(name)) for name in ("stalled.wav", "newer.wav")}
    assert {step.job.name: step.deed for step in office.stalled()} == {
        "stalled.wav": Deed.NOTIFY,
        "newer.wav": Deed.NEWER,
    }
    assert office.notified() == ["stalled.wav"]
    assert {name: found(office.ledger, office.job(name)) for name in before} == before


def test_dead_letters_are_acked_once_they_are_notified(office: Office) -> None:
    dead, new = office.put("dead.wav"), office.job("new.wav")
    done, busy = office.put("done.wav", State.DONE), office.put("busy.wav", State.CLAIMED, claim_seconds=1e9)
    letters = holding(dead, new, done, busy, strays=1)
    office.topic.away = True
    with pytest.raises(NeighbourDown):
        office.drain(letters)
    assert len(letters.messages) == 5
    assert letters.leased == set(), "nobody waits ten minutes for what a failure left"
    office.topic.away = False
    told = office.drain(letters)
    assert [step.deed for step in told if isinstance(step, Step)] == [
        Deed.NOTIFY,  # reopened by the run that failed
        Deed.NOTIFY,
        Deed.SETTLED,
        Deed.NOTIFY,
    ]
    assert office.notified() == ["dead.wav", "new.wav", "busy.wav"], "a claim that ends needs its message"
    assert (list(letters.messages), letters.leased) == (["stray 0"], set())


def test_dead_letters_that_come_back_are_left_to_the_next_run(office: Office) -> None:
    """The holding subscription may be fed by what the run itself publishes; without an end it would go round."""
    letters = holding(office.job("one.wav"))

    class Loop(Topic):
        def notify(self, notices: Sequence[Notice]) -> None:
            super().notify(notices)
            for notice in notices:
                number = f"again {len(self.notices)}"
                later = office.desk.clock() + timedelta(seconds=1)
                letters.messages[number] = Message(number, *written(notice), later)

    desk = replace(office.desk, publisher=Loop())
    first, again = drain(desk, letters, "holding", PLAIN)
    assert isinstance(first, Step)
    assert isinstance(again, Stray)
    assert (first.deed, "came after this run began" in again.why) == (Deed.NOTIFY, True)
    assert (list(letters.messages), letters.leased) == (["again 1"], set())


def test_two_dead_letters_of_one_job_make_it_afresh_once(office: Office) -> None:
    job = office.upload("one.wav")
    letters = holding(job, *(office.job(f"{number}.wav") for number in range(BATCH_MESSAGES - 1)), job)
    told = drain(office.desk, letters, "holding", FRESH)
    assert next(told) == Step(job, None, Deed.REOPEN)
    office.ledger.transact(job, partial(decide_completion, claim=claim(office.ledger, job), result=RESULT))
    *_, last = told
    assert isinstance(last, Step)
    assert (last.job, last.deed) == (job, Deed.SETTLED)


def test_of_what_cannot_be_made_afresh_a_dead_letter_is_still_delivered(office: Office) -> None:
    gone = office.job("gone.wav")
    letters = holding(gone)
    (step,) = office.drain(letters, FRESH)
    assert isinstance(step, Step)
    assert (step.deed, office.notified(), letters.messages) == (Deed.NOTIFY, ["gone.wav"], {})
    assert office.ledger.read(gone) is None


def test_what_the_daemon_would_ignore_by_now_is_not_reopened(office: Office) -> None:
    """Its message would be acked, and the job stay unfinished for ever."""
    dead, stale = office.put("dead.wav"), office.put("stale.wav", State.WAITING, next_attempt_at=AGO)
    done = office.upload("done.wav")
    put(
        office.ledger,
        replace(CLAIMED, bucket="in", name="done.wav", generation=done.generation, output=OURS.text),
        done,
    )
    put(office.ledger, replace(found(office.ledger, done), state=State.DONE), done)
    before = [found(office.ledger, job) for job in (dead, stale, done)]
    office.desk = replace(office.desk, selection=Selection(exclude=("d*", "stale*")))
    for step in (*office.by_state(State.DEAD), *office.stalled(), *office.by_state(State.DONE, plan=FRESH)):
        assert (step.deed, "in EXCLUDE" in step.refusal) == (None, True)
    assert [found(office.ledger, job) for job in (dead, stale, done)] == before
    assert office.notified() == []


def test_a_fresh_run_goes_on_by_its_name_and_another_name_is_refused() -> None:
    name = "0123456789abcdef" * 2
    assert Plan.of(fresh=False, run=name, dry_run=False) == Plan(name, dry_run=False)
    with pytest.raises(ConfigError, match="--run"):
        Plan.of(fresh=True, run="yesterday", dry_run=False)


def test_a_dry_run_leaves_all_dead_letters_and_looks_at_so_many(office: Office) -> None:
    letters = holding(*(office.job(f"{number}.wav") for number in range(MOST_LEFT + 200)))
    told = office.drain(letters, Plan("", dry_run=True))
    assert len(told) == MOST_LEFT
    assert (len(letters.messages), letters.leased) == (MOST_LEFT + 200, set())
    assert office.notified() == []


@pytest.mark.parametrize(
    ("record", "salt", "seconds"),
    [
        (None, "", None),
        (CLAIMED, "", None),
        (replace(CLAIMED, progress=Progress(30.0, 100.0), furthest_seconds=60.0), "", 40.0),
        (replace(CLAIMED, progress=Progress(30.0, 100.0), furthest_seconds=60.0), "salt", 100.0),
        (replace(CLAIMED, progress=Progress(30.0, 100.0), furthest_seconds=60.0, salt="salt"), "salt", 40.0),
        (replace(CLAIMED, audio_seconds=90.0), "salt", 90.0),
    ],
)
def test_what_is_cached_is_not_counted_as_cost(record: Record | None, salt: str, seconds: float | None) -> None:
    totals = Totals()
    totals.add(Step(Job("in", "one.wav", 1, OURS.text), record, Deed.REOPEN), salt=salt)
    totals.add(Step(Job("in", "two.wav", 1, OURS.text), record, Deed.SETTLED), salt=salt)
    assert (totals.seconds, totals.unknown) == (seconds or 0.0, int(seconds is None))
