"""Writes docs/status.md: the answer to /api/status, field by field, from the schema of the models that make it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from subscriber.book import KEPT, MESSAGE_LIMIT
from subscriber.status import MOST_JOBS
from subscriber.status_fields import Status

__all__ = ["FILE", "text"]

FILE = Path(__file__).parents[1] / "docs" / "status.md"

HEAD = f"""# The status page's data

Made by `make docs` from the code; a test compares them.

`GET /api/status` is what the page at `/` draws itself from: one JSON object about this process alone, made when it is
asked for, without asking any neighbour. It holds at most {MOST_JOBS} jobs in work and {KEPT} endings of either kind,
messages of at most {MESSAGE_LIMIT} characters, and no word of a transcript, but names of objects:
`SUBSCRIBER_STATUS_PAGE=off` removes it and the page. Names are as they are in the bucket: whoever shows them escapes
what is invisible or turns the reading order round. Times are UTC, ISO 8601, on the process's own clock; `null` is what
nobody knows. Fields may be added.

On GKE: `kubectl port-forward --namespace subscriber deploy/subscriber 8080`, then http://localhost:8080/.

A process that starts anew begins with empty lists and plots: what happened to a file, whoever had it, is in the ledger
(`subscriber explain`).
"""


def text() -> str:
    """The whole document."""
    schema = Status.model_json_schema(mode="serialization")
    parts = schema.pop("$defs")
    tables = [_table("The answer", schema)]
    tables += [_table(f"`{place}`", parts[name]) for place, name in _places(schema, parts)]
    return "\n".join([HEAD, *tables])


def _places(schema: dict[str, Any], parts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where each object stands, in order; two places of one kind share a table."""
    by_kind: dict[str, list[str]] = {}
    for field, told in schema["properties"].items():
        name = _reference(told) or _reference(told.get("items", {}))
        if name and "properties" in parts[name]:
            by_kind.setdefault(name, []).append(field + ("[]" if "items" in told else ""))
    return ((", ".join(places), name) for name, places in by_kind.items())


def _table(title: str, schema: dict[str, Any]) -> str:
    rows = [f"| `{field}` | {_kind(told)} | {told['description']} |" for field, told in schema["properties"].items()]
    lines = [f"## {title}", "", schema["description"], "", "| field | type | meaning |", "| --- | --- | --- |", *rows]
    return "\n".join([*lines, ""])


def _kind(told: dict[str, Any]) -> str:
    if "anyOf" in told:
        return " or ".join(_kind(one) for one in told["anyOf"])
    if told.get("type") == "array":
        return f"list of {_kind(told['items'])}"
    if told.get("format") == "date-time":
        return "time"
    if name := _reference(told):
        return "text" if name in {"Level", "Outcome"} else "object"
    return {"string": "text", "integer": "whole number", "number": "number", "null": "null"}[told["type"]]


def _reference(told: dict[str, Any]) -> str:
    return str(told.get("$ref", "")).rpartition("/")[2]
