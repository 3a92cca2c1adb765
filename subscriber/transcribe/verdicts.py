"""A chunk's verdict as the chunk cache keeps it, and back.

The law of this file: what cannot be read is a miss. Somebody else's bytes under our name, a newer version's document,
a time that is no number: each raises ValueError, and the chunk is asked for again.
"""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import TypeAdapter

from subscriber.transcript import ChunkText

__all__ = ["VERDICT_VERSION", "from_json", "to_json"]

VERDICT_VERSION = 2
"""Grows when a reader of the old documents would misunderstand the new ones."""

_VERDICT = TypeAdapter(ChunkText)


def to_json(text: ChunkText) -> bytes:
    """The document of a verdict; the same verdict always gives the same bytes."""
    document = {"schema_version": VERDICT_VERSION, **_VERDICT.dump_python(text, mode="json")}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()


def from_json(data: bytes) -> ChunkText:
    """The verdict in a document. Raises ValueError."""
    try:
        document: Any = json.loads(data, parse_float=_number, parse_constant=_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict) or document.get("schema_version") != VERDICT_VERSION:
        raise ValueError(f"no verdict of version {VERDICT_VERSION}")
    return _VERDICT.validate_json(data, strict=True)


def _number(text: str) -> float:
    """JSON has no NaN and no infinity; Python's reader lets both pass, the second as 1e999, too."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
