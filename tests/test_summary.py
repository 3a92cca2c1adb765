"""What `subscriber local` says of each file at its end follows from the ledger alone."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from subscriber.bars import clock
from subscriber.cli.summary import MOST_DONE_LINES, Line, Result, exit_code, line_of, report
from subscriber.model import Record, State
from tests.claims import CLAIMED, NOW, REASON

BEGAN = NOW - timedelta(minutes=1)
LATER = NOW + timedelta(seconds=90)
DONE = replace(CLAIMED, state=State.DONE, completed_at=NOW, created_at=NOW - timedelta(seconds=8))


def shown(*lines: Line) -> str:
    file = io.StringIO()
    Console(file=file, width=100).print(report(lines, 61.0))
    return file.getvalue()


@pytest.mark.parametrize(
    ("record", "settled", "result"),
    [
        (DONE, True, Result.DONE),
        (replace(DONE, completed_at=BEGAN - timedelta(seconds=1)), True, Result.EARLIER),
        (None, True, Result.IGNORED),
        (None, False, Result.UNFINISHED),
        (CLAIMED, False, Result.UNFINISHED),
        (replace(CLAIMED, state=State.WAITING, reason=REASON), False, Result.UNFINISHED),
        (replace(CLAIMED, state=State.WAITING, reason=REASON, next_attempt_at=NOW), False, Result.UNFINISHED),
        (replace(CLAIMED, state=State.WAITING, reason=REASON, next_attempt_at=LATER), False, Result.WAITING),
        (replace(CLAIMED, state=State.SKIPPED, reason=REASON), True, Result.LEFT_ALONE),
        (replace(CLAIMED, state=State.FORGOTTEN), True, Result.LEFT_ALONE),
        (replace(CLAIMED, state=State.DEAD, reason=REASON), True, Result.FAILED),
        (replace(CLAIMED, state=State.GONE), True, Result.FAILED),
        (replace(CLAIMED, state=State.SUPERSEDED), True, Result.FAILED),
    ],
)
def test_every_state_of_a_record_is_a_result(record: Record | None, settled: bool, result: Result) -> None:
    line = line_of("a.wav", record, settled=settled, began=BEGAN, now=NOW)
    assert line.result is result
    assert bool(line.why) == (record is not None and result not in {Result.DONE, Result.EARLIER})
    assert exit_code([Line("b.wav", Result.DONE), line]) == (result is Result.FAILED)


def test_the_time_of_a_file_that_was_begun_in_an_earlier_run_counts_from_this_one() -> None:
    def took(created_at: datetime) -> float | None:
        record = replace(DONE, created_at=created_at)
        return line_of("a", record, settled=True, began=BEGAN, now=NOW).took_seconds

    assert [took(at) for at in (NOW, BEGAN, BEGAN - timedelta(days=1))] == [0.0, 60.0, 60.0]


def test_what_waits_says_when_it_is_tried_again_and_why() -> None:
    record = replace(CLAIMED, state=State.WAITING, reason=REASON, next_attempt_at=LATER)
    line = line_of("a", record, settled=False, began=BEGAN, now=NOW)
    assert line.why == "tried again in 1:30: it said 500"
    assert "1 waiting." in shown(line)
    assert "Run it again for what waits" in shown(line)


def test_where_nothing_was_done_no_sums_are_told() -> None:
    assert "of sound" not in shown(Line("a", Result.EARLIER))
    assert shown() == "no files.\n"


def test_files_that_are_done_are_shown_up_to_a_limit_and_the_others_all() -> None:
    done = [Line(f"done-{number}.wav", Result.DONE, "", 1.0, 0.5, 1.0) for number in range(MOST_DONE_LINES + 7)]
    failed = [Line(f"failed-{number}.wav", Result.FAILED, "why") for number in range(MOST_DONE_LINES + 7)]
    told = shown(*done, *failed)
    assert told.count("done-") == MOST_DONE_LINES
    assert "and 7 more" in told
    assert told.count("failed-") == MOST_DONE_LINES + 7
    assert "57 done, 57 failed." in told
    assert "0:57 of sound for $28.5000, in 1:01." in told


def test_an_unknown_cost_is_not_taken_for_none() -> None:
    told = shown(Line("a", Result.DONE, "", 1.0, 0.5, 1.0), Line("b", Result.DONE, "", None, None, 1.0))
    assert "of sound for ?, in" in told


def test_what_a_signal_left_is_counted_and_shown_only_if_something_was_wrong() -> None:
    told = shown(Line("not-begun.wav", Result.UNFINISHED), Line("tried.wav", Result.UNFINISHED, "it said 500"))
    assert "not-begun.wav" not in told
    assert "tried.wav   not finished   it said 500" in told
    assert "2 not finished." in told


def test_no_name_and_no_reason_steers_a_terminal_or_is_taken_for_markup() -> None:
    told = shown(Line("\x1b[2J[red]\n.wav", Result.FAILED, "\x1b]0;title\x07"), Line("[b].wav", Result.DONE))
    assert "\x1b" not in told
    assert "\\x1b[2J[red]\\n.wav" in told
    assert "[b].wav" in told


def test_lengths_of_time_are_told_as_a_clock_does() -> None:
    assert [clock(seconds) for seconds in (None, 0, 59.6, 3599, 3723.4)] == ["?", "0:00", "1:00", "59:59", "1:02:03"]
