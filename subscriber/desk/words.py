"""How people write addresses and times, and how we write to a terminal.

The law of this file: what stands in a bucket was named by others. A name reaches a terminal only through `shown`, or it
could move the cursor or clear the screen.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from subscriber.errors import ConfigError

__all__ = ["Address", "ago", "moment", "prefix_of", "readings", "shown", "since", "size", "span", "typed"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
STEPS = ((86_400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class Address:
    """An object, or one generation of it."""

    bucket: str
    name: str
    generation: int | None = None

    def __str__(self) -> str:
        suffix = "" if self.generation is None else f"#{self.generation}"
        return f"gs://{self.bucket}/{self.name}{suffix}"


def readings(text: str, default_bucket: str | None = None) -> tuple[Address, ...]:
    """What `gs://BUCKET/NAME[#GENERATION]` may mean, likeliest first: a name may hold `#`, and is tried whole first.

    With a `default_bucket` a bare NAME will do. Raises ConfigError.
    """
    bucket, name = _parts(text, default_bucket)
    if not bucket or not name:
        raise ConfigError(repr(text), "is not gs://BUCKET/NAME or gs://BUCKET/NAME#GENERATION")
    whole = Address(bucket, name)
    if found := re.fullmatch(r"(.+)#([0-9]{1,19})", name, re.DOTALL):
        return whole, Address(bucket, found[1], int(found[2]))
    return (whole,)


def prefix_of(text: str, default_bucket: str | None = None) -> tuple[str, str]:
    """Bucket and prefix of `gs://BUCKET[/PREFIX]`. Raises ConfigError."""
    bucket, prefix = _parts(text, default_bucket)
    if not bucket:
        raise ConfigError(repr(text), "is not gs://BUCKET or gs://BUCKET/PREFIX")
    return bucket, prefix


def since(text: str, now: datetime) -> datetime:
    """`90m`, `36h`, `7d`, or a date or time as ISO 8601 writes it (UTC where nothing else is said).

    Raises ConfigError.
    """
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return now - timedelta(**{UNITS[found[2]]: int(found[1])})
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            repr(text), "is no time: write 90m, 36h, 7d, 2026-11-01 or 2026-11-01T12:00:00+01:00"
        ) from error
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def shown(text: str) -> str:
    """A text of somebody else's on one line, with what a terminal would obey made visible."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def typed(text: str) -> str:
    """A text of somebody else's as it can be typed into bash or zsh; on one line, and inert on a terminal."""
    if text.isprintable():
        return shlex.quote(text)
    bare = (char if char.isprintable() and char not in "\\'" else _escaped(char) for char in text)
    return f"$'{''.join(bare)}'"


def moment(at: datetime, now: datetime) -> str:
    """A time, and how far off it is."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({ago(at, now)})"


def ago(at: datetime, now: datetime) -> str:
    """`3 min ago` or `in 20 s`."""
    seconds = (now - at).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def size(count: int) -> str:
    """Bytes as people read them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def span(seconds: float) -> str:
    """A length of time: `20 s`, `3 min`, `5 h`, `4 d`."""
    return next((f"{seconds / step:.0f} {unit}" for step, unit in STEPS if seconds >= 2 * step), f"{seconds:.0f} s")


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


def _parts(text: str, default_bucket: str | None) -> tuple[str, str]:
    if text.startswith("gs://"):
        bucket, _, name = text.removeprefix("gs://").partition("/")
        return bucket, name
    return default_bucket or "", text
