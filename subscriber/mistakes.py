"""The mistakes of an environment as sentences, one a line, each opening with the variable's name."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from subscriber.errors import SubscriberError

__all__ = ["ConfigErrors", "mistakes"]


class ConfigErrors(SubscriberError):
    """Every mistake at once: `lines` holds one sentence each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def mistakes(error: ValidationError, variable: Callable[[str], str]) -> list[str]:
    """One line a mistake; `variable` names the environment variable of a field."""
    found = error.errors()
    refused = {one["loc"][0] for one in found if len(one["loc"]) > 1}
    return [_line(one, variable) for one in found if not _follows(one, refused)]


def _follows(one: ErrorDetails, refused: set[int | str]) -> bool:
    """Whether it follows from another mistake: a default computed from it, or a list without its refused item."""
    return one["type"] == "default_factory_not_called" or (one["type"] == "too_short" and one["loc"][0] in refused)


def _line(one: ErrorDetails, variable: Callable[[str], str]) -> str:
    """Our own sentences are complete; pydantic's get the value, which is never the key's."""
    name = str(one["loc"][0])
    name = variable(name) if name.islower() else name  # a default's mistake comes under its field
    if one["type"] == "missing":
        return f"{name}: is required"
    if one["type"] == "value_error":
        return f"{name}: {one['ctx']['error']}"
    return f"{name}: {one['msg'].removeprefix('Input ')}, not {one['input']!r}"
