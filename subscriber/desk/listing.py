"""The ledger as a list: which records, as rows for a terminal or as lines of JSON, and the totals.

The law of this file: it holds no more records than it is about to show, however many there are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from subscriber.desk.prospects import is_stalled
from subscriber.desk.tools import Desk
from subscriber.desk.words import ago, prefix_of, shown, since
from subscriber.documents import to_document
from subscriber.model import Record, State
from subscriber.queries import Place, Wanted

__all__ = ["Totals", "as_document", "json_line", "row", "search", "wanted"]

UNFINISHED = frozenset({State.CLAIMED, State.WAITING})
HIDDEN = {"nonce"}
"""Nobody needs it, and who has it may end a claim."""

Totals = Counter[tuple[str, str]]
"""How many records, by state and reason."""


def wanted(
    desk: Desk, *, states: list[State], reason: str | None, after: str | None, prefix: str | None, stalled: bool
) -> Wanted:
    """The question that the options ask. Raises ConfigError."""
    asked = frozenset(states) or (UNFINISHED if stalled else frozenset[State]())
    return Wanted(
        place=Place.below(*prefix_of(prefix, desk.source_bucket)) if prefix else None,
        states=asked & UNFINISHED if stalled else asked,
        reason=reason,
        since=since(after, desk.clock()) if after else None,
    )


def search(desk: Desk, question: Wanted, *, stalled: bool) -> Iterator[Record]:
    """The records, in the order of the question."""
    now = desk.clock()
    found = desk.records.search(question)
    return (record for record in found if not stalled or is_stalled(record, now))


def row(record: Record, now: datetime) -> tuple[str, ...]:
    """State, reason, object, generation, first claim, failed attempts, cost."""
    cost = "" if record.cost_usd is None else f"{record.cost_usd:.4f}"
    reason = record.reason.kind if record.reason and record.state is not State.DONE else ""
    return (
        f"{record.state}{', stalled' if is_stalled(record, now) else ''}",
        reason,
        shown(record.job.uri) if record.name else "(forgotten)",
        str(record.generation or ""),
        ago(record.created_at, now),
        str(record.attempts or ""),
        cost,
    )


def as_document(record: Record, now: datetime) -> dict[str, Any]:
    """The ledger's document, and `uri` and `stalled`."""
    document: dict[str, Any] = {name: value for name, value in to_document(record).items() if name not in HIDDEN}
    return {"uri": record.job.uri, "stalled": is_stalled(record, now)} | document


def json_line(document: dict[str, Any]) -> str:
    """One line; times as ISO 8601 writes them."""
    return json.dumps(document, default=datetime.isoformat, ensure_ascii=False)
