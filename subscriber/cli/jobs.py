"""`jobs`: a table and totals on a terminal, lines of JSON elsewhere."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from subscriber import config
from subscriber.compose_desk import desk
from subscriber.desk.listing import Totals, as_document, json_line, row, search, wanted
from subscriber.desk.tools import Desk
from subscriber.model import Record, State

__all__ = ["list_jobs"]

HEAD = ("state", "reason", "object", "generation", "first claimed", "failed", "USD")


def list_jobs(
    *,
    states: list[State],
    reason: str | None,
    since: str | None,
    prefix: str | None,
    stalled: bool,
    as_json: bool,
    limit: int,
    outbox: Path | None,
) -> int:
    """Print the records. `limit` bounds the rows of the table, not what is counted. Raises ConfigError."""
    with desk(config.environ(), outbox) as tools:
        question = wanted(tools, states=states, reason=reason, after=since, prefix=prefix, stalled=stalled)
        records = search(tools, question, stalled=stalled)
        if as_json or not sys.stdout.isatty():
            for record in records:
                print(json_line(as_document(record, tools.clock())))
            return 0
        totals = Totals()
        counted = (_counted(record, totals) for record in records)
        _print_table(tools, list(islice(counted, limit)))
        left_out = sum(1 for _ in counted)
        _print_totals(totals, left_out)
    return 0


def _counted(record: Record, totals: Totals) -> Record:
    totals[str(record.state), record.reason.kind if record.reason and record.state is not State.DONE else ""] += 1
    return record


def _print_table(tools: Desk, records: list[Record]) -> None:
    table = Table(*HEAD, box=None, pad_edge=False)
    for record in records:
        # Text, because a name may look like markup.
        table.add_row(*(Text(cell, overflow="fold") for cell in row(record, tools.clock())))
    Console().print(table)


def _print_totals(totals: Totals, left_out: int) -> None:
    if left_out:
        print(f"and {left_out} more: --limit shows more of them, --json all")
    print()
    for (state, reason), count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:>8}  {state}{f' ({reason})' if reason else ''}")
    print(f"{totals.total():>8}  in all")
