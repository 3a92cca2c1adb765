"""What an operator asks of the ledger, and how a store is to look for it.

The law of this file: each question becomes one plan (fields that are fixed, one field with a range, in whose order the
answer comes), and the index that a plan needs follows from it. What a plan leaves out, `Wanted.holds` sorts out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self

from subscriber.model import Record, State

__all__ = ["ALL", "Index", "Place", "Plan", "Wanted", "every_index"]

HIGHEST = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)

Direction = Literal["ascending", "descending"]
Index = tuple[tuple[str, Direction], ...]
"""Fields of a composite index of the ledger's collection, in its order."""


@dataclass(frozen=True, slots=True)
class Place:
    """Objects of one bucket whose names are from `first` to below `end` (None: to the last), as UTF-8 sorts them."""

    bucket: str
    first: str
    end: str | None

    @classmethod
    def below(cls, bucket: str, prefix: str = "") -> Self:
        """All whose names begin so."""
        return cls(bucket, prefix, _after(prefix))

    @classmethod
    def of(cls, bucket: str, name: str) -> Self:
        """All generations of one object."""
        return cls(bucket, name, name + "\0")

    def holds(self, bucket: str, name: str) -> bool:
        """Whether the object lies here."""
        return bucket == self.bucket and self.first <= name and (self.end is None or name < self.end)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records. `states` empty: any; `since`: first claimed then or later; UTC.

    They come newest first (by their first claim); those of a place by name.
    """

    place: Place | None = None
    states: frozenset[State] = frozenset()
    reason: str | None = None
    since: datetime | None = None

    def holds(self, record: Record) -> bool:
        """Whether this record is wanted."""
        return (
            (self.place is None or self.place.holds(record.bucket, record.name))
            and (not self.states or record.state in self.states)
            and (self.reason is None or (record.reason is not None and record.reason.kind == self.reason))
            and (self.since is None or record.created_at >= self.since)
        )

    def plan(self) -> Plan:
        """How a store finds them, reading little else."""
        fixed: dict[str, tuple[str, ...]] = {}
        if self.place:
            fixed["bucket"] = (self.place.bucket,)
        if self.states or (self.reason and not self.place):
            fixed["state"] = tuple(sorted(self.states or State))
        if self.place:
            return Plan(fixed, "name", self.place.first, self.place.end, "ascending")
        if self.reason:
            fixed["reason.kind"] = (self.reason,)
        since = self.since.astimezone(UTC) if self.since else None
        return Plan(fixed, "created_at", since, None, "descending")


ALL = Wanted()


class Plan(NamedTuple):
    """`fixed`: each field has one of the values. `ranged`: from `first` to below `end`; None is no bound."""

    fixed: dict[str, tuple[str, ...]]
    ranged: str
    first: str | datetime | None
    end: str | None
    direction: Direction

    @property
    def composite_index(self) -> Index | None:
        """The composite index that Firestore asks for; None where the index of the single field does."""
        if not self.fixed:
            return None
        return (*((field, "ascending") for field in self.fixed), (self.ranged, self.direction))


def every_index() -> set[Index]:
    """The composite indexes of all plans that there are."""
    plans = [
        Wanted(place, states, reason).plan()
        for place in (None, Place.below("any"))
        for states in (frozenset[State](), frozenset({State.DEAD}))
        for reason in (None, "any")
    ]
    return {index for plan in plans if (index := plan.composite_index)}


def _after(prefix: str) -> str | None:
    """The first text behind all that begin with `prefix`, if there is one."""
    kept = prefix.rstrip(chr(HIGHEST))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(SURROGATES.stop if following in SURROGATES else following)
