"""What the text of a setting means: lists, names of Google's resources, a key in a file.

The law of this file: it knows no setting. Its errors are sentences that follow the variable's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, SecretStr, ValidationInfo

__all__ = ["Formats", "Names", "full_name", "lower", "read_key"]


def _split(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """A comma-separated list in its order, without repetitions; a default is a tuple already."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def lower(value: object) -> object:
    """A word in any case."""
    return value.lower() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Formats = Annotated[tuple[Literal["json", "txt", "srt", "vtt"], ...], BeforeValidator(_split)]


def full_name(kind: str, name: str, info: ValidationInfo) -> str:
    """`projects/P/KIND/NAME`, the project filled in where it is missing. Limits: Pub/Sub, "Resource names".

    Raises ValueError.
    """
    if "/" not in name:
        if not (project := info.data.get("google_cloud_project")):
            raise ValueError(f"{name!r} has no project: write projects/P/{kind}/{name}, or set GOOGLE_CLOUD_PROJECT")
        name = f"projects/{project}/{kind}/{name}"
    if not re.fullmatch(rf"projects/[a-z][a-z0-9.:-]+/{kind}/[A-Za-z][\w.~+%-]{{2,254}}", name):
        raise ValueError(f"must be projects/P/{kind}/NAME or NAME, not {name!r}")
    return name


def read_key(path: Path) -> SecretStr:
    """The key in a file, white space around it dropped. Raises ValueError, never with the key."""
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise ValueError(f"OPENAI_API_KEY_FILE {path} cannot be read: {reason}") from None
    if not key:
        raise ValueError(f"OPENAI_API_KEY_FILE {path} is empty")
    return SecretStr(key)
