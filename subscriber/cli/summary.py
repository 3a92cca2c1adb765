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
from rich.table import Table
from rich.text import Text

from subscriber.bars import clock, printable
from subscriber.model import Record, State

__all__ = ["Line", "Result", "exit_code", "line_of", "table"]

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
    UNFINISHED = "not finished: run again"
    FAILED = "failed"


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


def table(lines: Sequence[Line], took_seconds: float) -> Table:
    """Files that were worked on, one a row, failures last; below them how many of each, and the sums."""
    order = list(Result)
    told = Table("file", box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    told.columns[0].footer = Text("\n".join(_counts(lines)))
    done = [line for line in lines if line.result is Result.DONE]
    for title, footer in (
        ("audio", clock(sum(line.audio_seconds or 0 for line in done))),
        ("cost", _usd(_sum(line.cost_usd for line in done))),
        ("time", clock(took_seconds)),
    ):
        told.add_column(title, justify="right", no_wrap=True, footer=footer)
    told.add_column("result")
    for line in done[:MOST_DONE_LINES]:
        times = (clock(line.audio_seconds), _usd(line.cost_usd), clock(line.took_seconds))
        told.add_row(Text(printable(line.name)), *times, line.result)
    if more := len(done[MOST_DONE_LINES:]):
        told.add_row(f"and {more} more", "", "", "", Result.DONE)
    others = [line for line in lines if line.result in {Result.UNFINISHED, Result.FAILED}]
    for line in sorted(others, key=lambda line: order.index(line.result)):
        why = f"{line.result}: {line.why}" if line.why else line.result
        told.add_row(Text(printable(line.name)), "", "", "", Text(printable(why)))
    return told


def _counts(lines: Iterable[Line]) -> list[str]:
    counted = Counter(line.result for line in lines)
    return [f"{counted[result]} {result}" for result in Result if counted[result]] or ["no files"]


def _sum(costs: Iterable[float | None]) -> float | None:
    """One unknown makes the sum unknown."""
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"${cost:.4f}"
