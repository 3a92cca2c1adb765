"""The ledger's documents, a job's record and the day's budget, and back.

The law of this file: the field names are those that operators query by, every text has a limit, and no document makes
a reader fail. One that we cannot read is taken for a newer version's: the decisions leave it alone, and this job (or,
for the budget, all spending) waits for somebody who can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from subscriber.budget_decisions import BUDGET_SCHEMA_VERSION, Day
from subscriber.model import SCHEMA_VERSION, Attempt, Reason, Record, State

__all__ = ["MESSAGE_LIMIT", "day_from_document", "day_to_document", "from_document", "to_document"]

MESSAGE_LIMIT = 1_000
"""Characters of a message that are kept. Eleven of them in one record stay far below Firestore's 1 MiB a document."""

_RECORD = TypeAdapter(Record)
_DAY = TypeAdapter(Day)
_NAMES = tuple(field.name for field in fields(Record))
_NEVER = datetime.fromtimestamp(0, UTC)


def to_document(record: Record) -> dict[str, Any]:
    """The ledger document: str, int, float, bool, None, datetime (UTC), list and dict only; messages are cut."""
    return {name: getattr(record, name) for name in _NAMES} | {
        "state": record.state.value,
        "outputs": list(record.outputs),
        "warnings": list(record.warnings),
        "reason": _bounded(record.reason) if record.reason else None,
        "history": [_bounded(attempt) for attempt in record.history],
        "chunks": asdict(record.chunks) if record.chunks else None,
        "progress": {"done_seconds": record.progress.done, "total_seconds": record.progress.total},
    }


def from_document(document: Mapping[str, Any]) -> Record:
    """The record of a document whose times are datetimes or ISO 8601 texts. Fields that we do not know are dropped."""
    try:
        progress = document.get("progress") or {}
        seconds = {"done": progress.get("done_seconds", 0.0), "total": progress.get("total_seconds")}
        record = _RECORD.validate_python({**document, "progress": seconds})
        max(_NEVER, record.claim_ends_at, record.next_attempt_at or _NEVER)  # times that cannot be compared fail here
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        return _unreadable(document, str(error))
    return record


def day_to_document(day: Day) -> dict[str, Any]:
    """The budget's document, of the same plain values."""
    return asdict(day) | {"blocks": [asdict(block) for block in day.blocks]}


def day_from_document(document: Mapping[str, Any]) -> Day:
    """The day of a document; one that we cannot read allows nothing, like a newer version's."""
    try:
        day = _DAY.validate_python(dict(document))
        max((_NEVER, *(block.expires_at for block in day.blocks)))  # times that cannot be compared fail here
        amounts = (day.spent_usd, *(usd for block in day.blocks for usd in (block.usd, block.spent_usd)))
        readable = all(map(math.isfinite, amounts))
    except (OverflowError, TypeError, ValueError):
        readable = False
    return day if readable else Day(day="", schema_version=BUDGET_SCHEMA_VERSION + 1)


def _bounded(entry: Reason | Attempt) -> dict[str, Any]:
    return asdict(entry) | {"message": _cut(entry.message)}


def _cut(message: str) -> str:
    """At most MESSAGE_LIMIT characters, each of them UTF-8: half a surrogate pair in an error's text is none."""
    return message[:MESSAGE_LIMIT].encode("utf-8", "replace").decode()


def _unreadable(document: Mapping[str, Any], why: str) -> Record:
    """What stands for a document that we cannot read: newer than ours, held by nobody, not final."""
    found = document.get("schema_version")
    return Record(
        bucket=str(document.get("bucket", "")),
        name=str(document.get("name", "")),
        generation=0,
        output=str(document.get("output", "")),
        state=State.WAITING,
        epoch=0,
        nonce="",
        owner="",
        renewed_at=_NEVER,
        claim_seconds=0.0,
        created_at=_NEVER,
        reason=Reason("unreadable", _cut(why), _NEVER),
        schema_version=found if isinstance(found, int) and found > SCHEMA_VERSION else SCHEMA_VERSION + 1,
    )
