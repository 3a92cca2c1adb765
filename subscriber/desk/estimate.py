"""What a backfill would take: sound and time, from the headers of a few hundred objects and the newest of the records.

The law of this file: memory holds a sample, however many objects there are, and every figure says what it is made of.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean

from subscriber.errors import Gone, Permanent, Transient
from subscriber.model import ObjectInfo, Record

__all__ = ["MOST_PROBES", "Estimate", "Means", "Probe", "Sample", "Speed", "assumed_speed", "seen_speed"]

MOST_PROBES = 200
"""Half a minute at some 150 ms each: a few ranged reads."""

MOST_KINDS = 20
"""Content types that are told apart: uploaders write them, so there may be any number."""

TYPICAL_ANSWER_SECONDS = 3.0
"""Of one request: what docs/scale.md reckons with."""

Probe = Callable[[ObjectInfo], float | None]
"""Seconds of sound by the object's header or index; None where they do not tell. Raises Permanent, Gone, Transient."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a daemon's settings say of money and speed; `usd_per_minute` is None where nobody knows the price."""

    probe: Probe
    model: str
    usd_per_minute: float | None
    slots: int
    chunk_seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of all objects together. `seconds` of sound is None where no header told anything.

    Of those `probed` did `untold` not tell their length; those `unreadable` would end dead, by reason.
    """

    count: int
    size: int
    seconds: float | None
    probed: int
    untold: int
    unreadable: Counter[str]


@dataclass(slots=True)
class _Kind:
    """Objects of one content type: their sums, and those that would be probed first.

    An object's draw is the later the smaller it is: the first so many are a sample in proportion to size, without
    replacement and in one pass (Efraimidis and Spirakis 2006). So what is long is looked at, and short ones are too.
    """

    count: int = 0
    size: int = 0
    first: list[tuple[float, int, ObjectInfo]] = field(default_factory=list)

    def add(self, found: ObjectInfo, chance: float) -> None:
        self.count += 1
        self.size += found.size
        if found.size:  # the count keeps equal draws from comparing what they are of
            heapq.heappush(self.first, (math.log(chance) / found.size, self.count, found))
        if len(self.first) > MOST_PROBES:
            heapq.heappop(self.first)

    def chosen(self, number: int) -> list[ObjectInfo]:
        return [found for _, _, found in heapq.nlargest(number, self.first)]


class Sample:
    """Takes objects one by one, and then says how much sound they hold."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._chance = random.Random(0)  # noqa: S311 - no secret, and the same objects give the same sample

    def add(self, found: ObjectInfo) -> None:
        """Count an object, and perhaps keep it."""
        name = found.content_type.partition(";")[0].strip().lower()
        if name not in self._kinds and len(self._kinds) == MOST_KINDS:
            name = next(iter(self._kinds))
        self._kinds.setdefault(name, _Kind()).add(found, 1.0 - self._chance.random())

    def estimate(self, probe: Probe) -> Estimate:
        """Probe at most MOST_PROBES objects, and reckon with their seconds a byte for the others of their kind.

        Raises NeighbourDown.
        """
        told: dict[str, list[tuple[int, float]]] = {name: [] for name in self._kinds}
        unreadable, probed, untold = Counter[str](), 0, 0
        for name, found in self._chosen():
            seconds: float | None = None
            probed += 1
            try:
                seconds = probe(found)
            except Permanent as verdict:
                unreadable[verdict.reason] += 1
                seconds = 0.0
            except (Gone, Transient):
                pass
            if seconds is None:
                untold += 1
            else:
                told[name].append((found.size, seconds))
        return Estimate(
            count=sum(kind.count for kind in self._kinds.values()),
            size=sum(kind.size for kind in self._kinds.values()),
            seconds=self._seconds(told),
            probed=probed,
            untold=untold,
            unreadable=unreadable,
        )

    def _chosen(self) -> Iterator[tuple[str, ObjectInfo]]:
        """An equal share for each kind; what a small one leaves is for the others."""
        left = MOST_PROBES
        kinds = sorted(self._kinds.items(), key=lambda item: len(item[1].first))
        for place, (name, kind) in enumerate(kinds):
            chosen = kind.chosen(left // (len(kinds) - place))
            left -= len(chosen)
            yield from ((name, found) for found in chosen)

    def _seconds(self, told: dict[str, list[tuple[int, float]]]) -> float | None:
        everything = [one for some in told.values() for one in some]
        if not everything:
            return None if any(kind.size for kind in self._kinds.values()) else 0.0
        return sum(_reckoned(kind.size, told[name], told[name] or everything) for name, kind in self._kinds.items())


def _reckoned(size: int, told: Sequence[tuple[int, float]], alike: Sequence[tuple[int, float]]) -> float:
    """Seconds of so many bytes: those that were told, and the rest as those that are alike."""
    rest = size - sum(of for of, _ in told)
    return sum(seconds for _, seconds in told) + rest * fmean(seconds / of for of, seconds in alike)


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of sound a second, and where that figure comes from."""

    ratio: float
    source: str


def seen_speed(records: Iterable[Record]) -> Speed | None:
    """How fast these jobs were done, while any of them was in work; None where none tells.

    Only those that were done by their first claim, and paid for: of all others nobody knows how long they waited, or
    they cost no time. Short jobs one at a time leave slots idle, so the figure is rather too low than too high.
    """
    spans, seconds = [], 0.0
    for record in records:
        paid = record.chunks is None or record.chunks.paid
        if len(record.history) == 1 and record.completed_at and record.audio_seconds and paid:
            spans.append((record.created_at, record.completed_at))
            seconds += record.audio_seconds
    busy = _covered(spans).total_seconds()
    return Speed(seconds / busy, f"as the newest {len(spans)} jobs were done") if busy > 0 else None


def assumed_speed(means: Means) -> Speed:
    """What one process does with every slot taken."""
    told = f"assumed: {means.slots} slots, and {TYPICAL_ANSWER_SECONDS:g} s for {means.chunk_seconds:g} s of sound"
    return Speed(means.slots * means.chunk_seconds / TYPICAL_ANSWER_SECONDS, told)


def _covered(spans: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """How much time lies within any of them."""
    covered, until = timedelta(), None
    for begin, end in sorted(spans):
        start = begin if until is None else max(begin, until)
        if end > start:
            covered += end - start
        until = end if until is None else max(until, end)
    return covered
