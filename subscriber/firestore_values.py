"""Firestore's values, filled from plain ones and read back; what the ledger and its queries share.

The law of this file: it knows the messages by their fields only and imports no SDK.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

__all__ = ["decode", "encode"]

PLAIN_KINDS = {bool: "boolean_value", int: "integer_value", float: "double_value", str: "string_value"}
"""In this order: a bool is an int to Python."""


def encode(target: Any, value: Any) -> None:
    """Fill Firestore's Value. On the bare protobuf message: its comfortable wrapper takes five times as long."""
    match value:
        case None:
            target.null_value = 0
        case datetime():
            target.timestamp_value.FromDatetime(value)
        case list():
            target.array_value.SetInParent()  # or an empty list would be no value at all
            for item in value:
                encode(target.array_value.values.add(), item)
        case dict():
            target.map_value.SetInParent()
            for name, item in value.items():
                encode(target.map_value.fields[name], item)
        case _:
            setattr(target, PLAIN_KINDS.get(type(value)) or _kind_of_its_like(value), value)


def _kind_of_its_like(value: Any) -> str:
    """Of an enumeration's member, for instance."""
    return next(kind for plain, kind in PLAIN_KINDS.items() if isinstance(value, plain))


def decode(value: Any) -> Any:
    """What Firestore's Value holds. Kinds that we never write (bytes, references, places) are passed on as they are."""
    match value.WhichOneof("value_type"):
        case None | "null_value":
            return None
        case "timestamp_value":
            return value.timestamp_value.ToDatetime(UTC)
        case "array_value":
            return [decode(item) for item in value.array_value.values]
        case "map_value":
            return {name: decode(item) for name, item in value.map_value.fields.items()}
        case kind:
            return getattr(value, kind)
