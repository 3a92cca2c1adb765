"""The last hour and the last endings: counted by the minute, filled in where nothing was told, forgotten in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from subscriber.book import KEPT, MESSAGE_LIMIT, MINUTES, Book, Minute
from subscriber.model import Claim, Ending, Job, Outcome, Record, State

NOON = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC).timestamp()
JOB = Job("inbox", "one.wav", 7, "gs://outbox")
CLAIM = Claim(JOB, "nonce", 1, 2, 90)
RECORD = Record(
    *("inbox", "one.wav", 7, "gs://outbox", State.DONE, 1, "", ""),
    renewed_at=datetime.now(UTC),
    claim_seconds=90,
    created_at=datetime.now(UTC),
    audio_seconds=12.5,
    cost_usd=0.25,
)
DONE = Ending(Outcome.TRANSCRIBED, record=RECORD, claim=CLAIM)
DEAD = Ending(Outcome.REJECTED, "empty", "no bytes", record=replace(RECORD, state=State.DEAD), claim=CLAIM)
AGAIN = Ending(Outcome.FAILED, "no_answer", "too late", 30.0, claim=CLAIM)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> Book:
    return Book(clock)


def last(book: Book, of: Callable[[Minute], float], minutes: int) -> list[float]:
    return [of(minute) for minute in book.hour()[-minutes:]]


def test_an_hour_has_its_minutes_from_the_start_the_present_one_last(book: Book) -> None:
    hour = book.hour()
    assert [minute.number for minute in hour] == list(range(int(NOON // 60) - MINUTES + 1, int(NOON // 60) + 1))
    assert all(replace(minute, number=0) == Minute(0) for minute in hour)


def test_what_ends_is_counted_in_its_minute(book: Book, clock: Clock) -> None:
    for ending, later in ((DONE, 0), (DONE, 60), (DEAD, 0), (AGAIN, 60), (AGAIN, 0)):
        clock.now += later
        book.see_ending(ending, "1", 3.0)
    assert last(book, lambda minute: minute.done, 4) == [0, 1, 1, 0]
    assert last(book, lambda minute: minute.dead, 4) == [0, 0, 1, 0]
    assert last(book, lambda minute: minute.failed, 4) == [0, 0, 0, 2]
    assert last(book, lambda minute: minute.audio_seconds, 4) == [0, 12.5, 12.5, 0]


def test_jobs_in_flight_last_into_the_minutes_in_which_nothing_is_told(book: Book, clock: Clock) -> None:
    book.see_in_flight(5)
    book.see_in_flight(3)
    clock.now += 180
    book.see_in_flight(2)
    clock.now += 60
    assert last(book, lambda minute: minute.in_flight, 6) == [0, 5, 3, 3, 3, 2]


def test_a_long_silence_is_an_hour_of_what_was_last_known(book: Book, clock: Clock) -> None:
    book.see_in_flight(4)
    book.see_ending(DONE, "1", 1.0)
    clock.now += 10 * 86_400
    assert last(book, lambda minute: minute.in_flight, MINUTES) == [4] * MINUTES
    assert last(book, lambda minute: minute.done, MINUTES) == [0] * MINUTES


def test_an_hour_never_grows(book: Book, clock: Clock) -> None:
    for _ in range(200):
        clock.now += 59
        book.see_cost(0.01)
    hour = book.hour()
    assert len(hour) == MINUTES
    assert hour[-1].number == int(clock.now // 60)


def test_a_clock_that_is_set_back_loses_nothing(book: Book, clock: Clock) -> None:
    book.see_cost(1.0)
    clock.now -= 3600
    book.see_cost(2.0)
    assert len(book.hour()) == MINUTES
    assert book.hour()[-1].cost_usd == 3.0
    assert book.today()[0] == 3.0


def test_what_it_tells_does_not_change_afterwards(book: Book) -> None:
    told = book.hour()
    book.see_cost(1.0)
    assert told[-1].cost_usd == 0.0


def test_money_begins_anew_at_midnight_utc_and_not_before(book: Book, clock: Clock) -> None:
    began = datetime.fromtimestamp(NOON, UTC)
    book.see_cost(0.5)
    clock.now = datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC).timestamp()
    book.see_cost(0.25)
    assert book.today() == (0.75, began)
    clock.now += 1
    assert book.today() == (0.0, datetime(2026, 11, 2, tzinfo=UTC))
    book.see_cost(0.125)
    assert book.today()[0] == 0.125


def test_endings_are_kept_by_kind_with_what_a_person_asks_for(book: Book, clock: Clock) -> None:
    gone = Ending(Outcome.GONE, "gone", "deleted", record=replace(RECORD, state=State.GONE), claim=CLAIM)
    for ending in (DONE, DEAD, AGAIN, gone):
        book.see_ending(ending, "1", 3.0)
    assert [one.outcome for one in book.finished()] == [Outcome.GONE, Outcome.TRANSCRIBED]
    again, dead = book.failed()
    assert (dead.job, dead.reason, dead.message, dead.next_attempt_at) == (JOB, "empty", "no bytes", None)
    assert again.next_attempt_at
    assert again.next_attempt_at.timestamp() == clock.now + 30
    assert (again.attempt, again.took_seconds) == (2, 3.0)
    done = book.finished()[1]
    assert (done.audio_seconds, done.cost_usd) == (12.5, 0.25)


@pytest.mark.parametrize(
    "ending",
    [
        Ending(Outcome.DUPLICATE, record=RECORD),
        Ending(Outcome.REJECTED, "empty", record=replace(RECORD, state=State.DEAD)),
        Ending(Outcome.INTERRUPTED, claim=CLAIM),
        Ending(Outcome.IGNORED, "excluded"),
        Ending(Outcome.LOST, "claim_lost", claim=CLAIM),
    ],
    ids=lambda ending: str(ending.outcome),
)
def test_what_this_process_did_not_bring_to_an_end_is_not_its_story(book: Book, ending: Ending) -> None:
    book.see_ending(ending, "1", 1.0)
    assert not book.finished()
    assert not book.failed()
    assert not any(minute.done + minute.dead + minute.failed for minute in book.hour())


def test_an_attempt_that_failed_before_its_claim_is_known_by_its_message(book: Book) -> None:
    book.see_ending(Ending(Outcome.FAILED, "ledger_error", "no", 10.0), "4711", 1.0)
    (failed,) = book.failed()
    assert (failed.job, failed.message_id) == (None, "4711")


def test_few_endings_and_short_messages_are_kept(book: Book) -> None:
    for number in range(3 * KEPT):
        book.see_ending(replace(AGAIN, message="x" * 5000), str(number), 1.0)
    assert [one.message_id for one in book.failed()] == [str(number) for number in range(59, 39, -1)]
    assert {len(one.message) for one in book.failed()} == {MESSAGE_LIMIT}


def test_the_last_arrival_is_remembered(book: Book, clock: Clock) -> None:
    assert book.last_arrival() is None
    book.see_arrival(9.0)
    clock.now += 5
    book.see_arrival(2.0)
    assert book.last_arrival() == (datetime.fromtimestamp(clock.now, UTC), 2.0)
