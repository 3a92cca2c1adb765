"""What became of each file of `subscriber local`: read from the ledger, told as a table and as an exit code.

The law of this file: every file that was found is in one of the groups, and whatever has no transcript says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from subscriber.bars import clock
from subscriber.model import Record, State
from subscriber.text import printable

__all__ = ["Line", "Result", "exit_code", "line_of", "report", "waiting"]

MOST_DONE_LINES = 50
"""Of files that are done. Those that are not are all shown, however many."""

REASONS = {
    State.GONE: "it vanished or changed while it was worked on: run again",
    State.SUPERSEDED: "a newer file of this name was there, or its transcript is: run again, or touch the file",
    State.FORGOTTEN: "it was forgotten and shall not come back by itself: touch it to have it again",
}
"""What the ledger's states mean for a folder, and what helps."""


class Result(StrEnum):
    """What became of a file."""

    DONE = "done"
    EARLIER = "done before"
    IGNORED = "ignored: neither audio nor video, or excluded"
    LEFT_ALONE = "left alone"
    WAITING = "waiting"
    UNFINISHED = "not finished"
    FAILED = "failed"


HINTS = {
    Result.WAITING: "Run it again for what waits: it is tried again at its time.",
    Result.UNFINISHED: "Run it again for what is not finished: what was paid for is kept.",
    Result.FAILED: "A failed file is tried again once it has changed: mend what is said of it, or touch it.",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One file. Lengths in seconds, cost in US dollars; None where nobody knows."""

    name: str
    result: Result
    why: str = ""
    audio_seconds: float | None = None
    cost_usd: float | None = None
    took_seconds: float | None = None


def line_of(name: str, record: Record | None, *, settled: bool, began: datetime, now: datetime) -> Line:
    """What the ledger says of a file at `now`, the end of a run that began at `began`."""
    if record is None:
        return Line(name, Result.IGNORED if settled else Result.UNFINISHED)
    why = REASONS.get(record.state, record.reason.message if record.reason else "")
    match record.state:
        case State.DONE if record.completed_at and record.completed_at >= began:
            took = record.completed_at - max(began, record.created_at)
            return Line(name, Result.DONE, "", record.audio_seconds, record.cost_usd, took.total_seconds())
        case State.DONE:
            return Line(name, Result.EARLIER)
        case State.SKIPPED | State.FORGOTTEN:
            return Line(name, Result.LEFT_ALONE, why)
        case State.CLAIMED | State.WAITING:
            again = waiting(record, now)
            return Line(name, Result.WAITING, again) if again else Line(name, Result.UNFINISHED, why)
        case _:
            return Line(name, Result.FAILED, why)


def waiting(record: Record, now: datetime) -> str | None:
    """When and why the file is tried again; None of one that does not wait."""
    due = record.next_attempt_at
    if record.state is not State.WAITING or due is None or due <= now:
        return None
    because = f": {record.reason.message}" if record.reason else ""
    return f"tried again in {clock((due - now).total_seconds())}{because}"


def exit_code(lines: Iterable[Line]) -> int:
    """1 if any file failed, else 0; what a signal left unfinished is no failure."""
    return int(any(line.result is Result.FAILED for line in lines))


def report(lines: Sequence[Line], took_seconds: float) -> Group:
    """What was done, then what was not and why, then how many of each."""
    done = [line for line in lines if line.result is Result.DONE]
    others = [line for line in lines if line.result is Result.FAILED or line.why]
    tables = [table for table, rows in ((_done(done), done), (_others(others), others)) if rows]
    counted = Counter(line.result for line in lines)
    counts = ", ".join(f"{counted[result]} {result}" for result in Result if counted[result]) or "no files"
    sound = clock(sum(line.audio_seconds or 0 for line in done))
    sums = [f"{sound} of sound for {_usd(_sum(done))}, in {clock(took_seconds)}."] if done else []
    hints = [hint for result, hint in HINTS.items() if counted[result]]
    return Group(*tables, *(Text(text) for text in (f"{counts}.", *sums, *hints)))


def _done(lines: Sequence[Line]) -> Table:
    table = Table("file", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("audio", "cost", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for line in lines[:MOST_DONE_LINES]:
        times = (clock(line.audio_seconds), _usd(line.cost_usd), clock(line.took_seconds))
        table.add_row(Text(printable(line.name)), *times)
    if more := len(lines[MOST_DONE_LINES:]):
        table.add_row(f"and {more} more")
    return table


def _others(lines: Sequence[Line]) -> Table:
    table = Table("file", "", "why", box=box.SIMPLE_HEAD, pad_edge=False)
    for line in lines:
        table.add_row(*(Text(printable(text)) for text in (line.name, line.result, line.why)))
    return table


def _sum(lines: Iterable[Line]) -> float | None:
    """One unknown makes the sum unknown."""
    costs = [line.cost_usd for line in lines]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"${cost:.4f}"
