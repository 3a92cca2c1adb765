"""One table for all figures, in Markdown: readable as it is, and as it is a part of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Row", "spread", "table"]

HEAD = ("what", "reached", "goal", "")


class Row(NamedTuple):
    """One figure; `met` is None where there is no goal and the figure stands for comparison."""

    what: str
    reached: str
    goal: str = ""
    met: bool | None = None


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Median, and in brackets minimum and maximum."""
    low, middle, high = (form.format(value) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def table(rows: Iterable[Row]) -> str:
    """The table; its columns are aligned."""
    verdicts = {None: "", True: "met", False: "MISSED"}
    cells: list[tuple[str, ...]] = [HEAD, *((row.what, row.reached, row.goal, verdicts[row.met]) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    cells.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells)
