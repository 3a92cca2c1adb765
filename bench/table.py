"""One table for all figures, in Markdown: readable as it is, and as it is a part of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Row", "Table", "spread", "table"]

HEAD = ("what", "reached", "goal", "")


class Row(NamedTuple):
    """One figure; `met` is None where there is no goal and the figure stands for comparison."""

    what: str
    reached: str
    goal: str = ""
    met: bool | None = None


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Median, and in brackets minimum and maximum where they differ; `none` of nothing."""
    if not values:
        return "none"
    low, middle, high = (form.format(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(rows: Iterable[Row]) -> str:
    """All figures with their goals."""
    verdicts = {None: "", True: "met", False: "MISSED"}
    return _aligned([HEAD, *((row.what, row.reached, row.goal, verdicts[row.met]) for row in rows)])


@dataclass(frozen=True)
class Table:
    """Figures side by side; its text is Markdown."""

    title: str
    head: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        return f"{self.title}\n\n{_aligned([self.head, *self.lines])}\n"


def _aligned(cells: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    cells.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells)
