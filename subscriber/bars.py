"""How far things are, for a terminal: bars and lengths of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from subscriber.text import printable

__all__ = ["Bar", "bars", "clock"]

NAME_COLUMNS, BAR_COLUMNS = 32, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """`done` of `total`, which is None while it is not known; `text` says the same in words."""

    name: str
    done: float
    total: float | None
    text: str


def bars(rows: Iterable[Bar]) -> Table:
    """One bar a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=NAME_COLUMNS, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR_COLUMNS)
    table.add_column(no_wrap=True, justify="right")
    for row in rows:
        # A total of 0 is drawn as a full bar; one that is not known runs to and fro.
        bar = ProgressBar(total=row.total, completed=row.done, width=BAR_COLUMNS, pulse=row.total is None)
        table.add_row(Text(printable(row.name)), bar, Text(row.text))
    return table


def clock(seconds: float | None) -> str:
    """A length of time as `4:05` or `1:02:03`; `?` where nobody knows it."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
