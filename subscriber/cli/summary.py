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

__all__ = ["Line", "Result", "exit_code", "line_of", "report"]

MOST_DONE_LINES = 50
"""Of files that are done. Those that are not are all shown, however many."""

REASONS = {
    State.GONE: "it vanished or changed while it was worked on: run again",
    State.SUPERSEDED: "a newer file of this name was there, or its transcript is: run again, or touch the file",
}
"""What the ledger's states mean for a folder, and what helps."""


class Result(StrEnum):
    """What became of a file."""

    DONE = "done"
    SKIPPED = "skipped: done already"
    IGNORED = "ignored: neither audio nor video"
    UNFINISHED = "not finished"
    FAILED = "failed"


HINTS = {
    Result.UNFINISHED: "Run it again for what is not finished.",
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


def line_of(name: str, record: Record | None, *, settled: bool, began: datetime) -> Line:
    """What the ledger says of a file at the end of a run that began at `began`."""
    if record is None:
        return Line(name, Result.IGNORED if settled else Result.UNFINISHED)
    if record.state is State.DONE and record.completed_at:
        if record.completed_at < began:
            return Line(name, Result.SKIPPED)
        took = record.completed_at - max(began, record.created_at)
        return Line(name, Result.DONE, "", record.audio_seconds, record.cost_usd, took.total_seconds())
    why = record.reason.message if record.reason else ""
    if not record.state.final:
        return Line(name, Result.UNFINISHED, why)
    return Line(name, Result.FAILED, REASONS.get(record.state, why))


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
    sums = f"{clock(sum(line.audio_seconds or 0 for line in done))} of sound for {_usd(_sum(done))}"
    hints = [hint for result, hint in HINTS.items() if counted[result]]
    return Group(*tables, *(Text(text) for text in (f"{counts}.", f"{sums}, in {clock(took_seconds)}.", *hints)))


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
