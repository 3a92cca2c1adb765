"""What will happen next, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from subscriber.desk.prospects import STALLED_AFTER, is_stalled, prospect
from subscriber.model import Progress, Record, State
from tests.claims import CLAIMED, NOW

LIVE = CLAIMED.generation
SOON, LATE = NOW + timedelta(minutes=2), NOW - timedelta(minutes=2)
WAITING = replace(CLAIMED, state=State.WAITING, next_attempt_at=SOON)
SILENT = replace(CLAIMED, renewed_at=NOW - timedelta(minutes=5))
LOST = replace(WAITING, next_attempt_at=NOW - STALLED_AFTER - timedelta(seconds=1))


def ended(state: State) -> Record:
    return replace(CLAIMED, state=state)


@pytest.mark.parametrize(
    ("record", "live", "said"),
    [
        (CLAIMED, LIVE, "In work. another pod renews its claim"),
        (replace(CLAIMED, progress=Progress(30.0, 61.5)), LIVE, "30 of 62 s transcribed"),
        (SILENT, LIVE, "Free: another pod fell silent"),
        (WAITING, LIVE, "in 2 min) it is tried again: attempt 2 of 10"),
        (replace(WAITING, next_attempt_at=LATE), LIVE, "As soon as its message is delivered it is tried again"),
        (replace(WAITING, attempts=10), LIVE, "recorded dead: 10 attempts of 10 have failed"),
        (WAITING, LIVE + 1, f"superseded: generation {LIVE + 1} is live"),
        (LOST, LIVE, "Stalled: free since"),
        (replace(SILENT, renewed_at=NOW - timedelta(hours=1)), LIVE, "Stalled: free since"),
        (ended(State.DONE), LIVE, "Nothing: it is done; a redelivery is acked as a duplicate."),
        (ended(State.DONE), LIVE + 1, "is newer, and has a job of its own"),
        (ended(State.DEAD), LIVE, "Nothing by itself: redeliveries are acked. `subscriber replay`"),
        (ended(State.GONE), None, "deleted before its turn."),
        (ended(State.GONE), LIVE + 1, "is live now, and has a job of its own"),
        (ended(State.SUPERSEDED), LIVE + 1, "a newer generation came before its turn"),
        (ended(State.SKIPPED), LIVE, "its own metadata said transcribe=skip"),
        (ended(State.FORGOTTEN), LIVE, "it was forgotten, and redeliveries are acked"),
        (replace(CLAIMED, schema_version=2), LIVE, "a newer version of subscriber wrote it"),
    ],
)
def test_what_will_happen_is_said_in_words(record: Record, live: int | None, said: str) -> None:
    assert said in prospect(record, NOW, max_attempts=10, live=live)


def test_every_state_has_its_words() -> None:
    for state in State:
        assert prospect(ended(state), NOW, max_attempts=10).endswith(".")


def test_an_owners_name_is_inert() -> None:
    assert "\x1b" not in prospect(replace(CLAIMED, owner="\x1b[2J"), NOW, max_attempts=10)


def test_stalled_begins_fifteen_minutes_after_the_job_is_free() -> None:
    assert is_stalled(LOST, NOW)
    assert not is_stalled(replace(LOST, next_attempt_at=NOW - STALLED_AFTER), NOW)
    assert not is_stalled(replace(LOST, state=State.DEAD), NOW)
