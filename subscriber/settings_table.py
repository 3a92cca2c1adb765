"""The settings as people read them: rows for `subscriber config`, a table for the README.

The law of this file: all of it is read off `Settings`, so that nothing can be documented that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from subscriber.config import Settings, variable

__all__ = ["Row", "describe", "markdown"]

_KINDS = {int: "whole number", float: "number", str: "text", tuple: "list", Path: "file", SecretStr: "secret"}


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, for people. `value` is empty without settings, and masked for a secret."""

    name: str
    type: str
    default: str
    meaning: str
    why: str
    value: str = ""


def describe(settings: Settings | None = None) -> list[Row]:
    """Every setting in the order of the class, with its value in `settings`."""
    return [_row(name, field, settings) for name, field in Settings.model_fields.items()]


def markdown() -> str:
    """The README's table of settings, markers included."""
    head = "| name | type | default | meaning | why |\n| --- | --- | --- | --- | --- |\n"
    rows = (f"| `{row.name}` | {row.type} | {row.default} | {row.meaning} | {row.why} |\n" for row in describe())
    return f"<!-- settings: begin -->\n{head}{''.join(rows)}<!-- settings: end -->\n"


def _row(name: str, field: FieldInfo, settings: Settings | None) -> Row:
    meaning, _, why = (field.description or "").partition("\nWhy: ")
    default = (
        "required" if field.is_required() else _text(field.get_default(call_default_factory=True, validated_data={}))
    )
    value = _text(getattr(settings, name)) if settings else ""
    return Row(variable(name), _type(field), default, " ".join(meaning.split()), why, value)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "none" if value is None else str(value)  # pydantic masks a SecretStr


def _type(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if type(None) in get_args(kind):
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    bounds = [
        str(bound)
        for limit in field.metadata
        for bound in (getattr(limit, "ge", None), getattr(limit, "le", None))
        if bound is not None
    ]
    return ", ".join([_KINDS[get_origin(kind) or kind], *([" to ".join(bounds)] if len(bounds) == 2 else [])])
