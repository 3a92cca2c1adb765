"""When something was said: a model's times made possible, and times estimated for models that tell none.

The law of this file: what comes out starts never earlier than what came before it, ends before the next one starts, and
lies within its bounds. Loud stretches are pairs (start, end) in order; all times are seconds from one common zero.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TypeVar

from subscriber.text import ends_sentence, pieces, width
from subscriber.transcript import Segment, TimedWarning, Timing, Word

__all__ = ["Stretches", "Timed", "are_possible", "estimate", "least_certain", "loud_between", "settled", "shifted"]

Timed = TypeVar("Timed", Segment, Word, TimedWarning)
Stretches = Sequence[tuple[float, float]]

PAUSE_SECONDS = 0.3
"""What parts two loud stretches for less is the closing of a plosive, not a pause."""

SNAP_SECONDS = 1.5
"""How far a sentence's estimated start may lie from the end of a pause to be moved there, pauses apart: half as far
leaves true starts alone, twice as far takes wrong ones (measured)."""

LEAST_LETTERS = 4
"""A sentence has more letters than `Dr.` or `No.`."""


def are_possible(items: Sequence[Timed]) -> bool:
    """Whether the times are numbers and in order; a start or an end beyond the audio is only too far."""
    numbers = all(math.isfinite(item.start) and math.isfinite(item.end) and item.start <= item.end for item in items)
    return numbers and all(one.start <= two.start for one, two in pairwise(items))


def settled(items: Sequence[Timed], low: float, high: float) -> tuple[Timed, ...]:
    """The same things in the same order, none outside of its bounds, none begun before the one before it is over.

    Expects numbers: see `are_possible`.
    """
    starts: list[float] = list(accumulate((min(max(item.start, low), high) for item in items), max))
    limits = [*starts, high][1:]
    return tuple(
        replace(item, start=start, end=min(max(item.end, start), limit))
        for item, start, limit in zip(items, starts, limits, strict=True)
    )


def shifted(items: Sequence[Timed], seconds: float) -> tuple[Timed, ...]:
    """The same things so many seconds later."""
    return tuple(replace(item, start=item.start + seconds, end=item.end + seconds) for item in items)


def least_certain(timings: Iterable[Timing | None]) -> Timing | None:
    """The timing of a whole: estimated if a part of it is; None if none of its parts has any."""
    known = set(timings)
    return "estimated" if "estimated" in known else "model" if "model" in known else None


def loud_between(loud: Stretches, start: float, end: float) -> list[tuple[float, float]]:
    """What of the loud stretches lies between two times."""
    return [(max(a, start), min(b, end)) for a, b in loud if max(a, start) < min(b, end)]


def estimate(text: str, length: float, loud: Stretches) -> tuple[Segment, ...]:
    """Sentences with times for a cleaned text that was said in audio of this length.

    Its characters are spread over the loud time, then each sentence's start is moved to the end of the pause that is
    nearest, if one is near. Measured against a Whisper's own times of 358 English words: half within 0.2 s, nine of
    ten within 0.8 s.
    """
    sound = _Sound(_without_short_gaps(loud_between(loud, 0.0, length)) or [(0.0, length)])
    sentences = _sentences(text)
    sizes = list(accumulate((width(sentence) for sentence in sentences), initial=0))
    edges = _snapped([size / sizes[-1] * sound.seconds for size in sizes[:-1]], sound.pauses)
    spans = [(sound.time_after(a), sound.time_before(b)) for a, b in pairwise([*edges, sound.seconds])]
    return tuple(Segment(a, max(a, b), said.strip()) for (a, b), said in zip(spans, sentences, strict=True))


class _Sound:
    """The loud stretches one after the other, and how much of them is over at each pause."""

    def __init__(self, stretches: Stretches) -> None:
        self._stretches = stretches
        self._ends = list(accumulate(end - start for start, end in stretches))
        self.seconds = self._ends[-1]
        self.pauses = [0.0, *self._ends[:-1]]

    def time_after(self, seconds: float) -> float:
        """When so much sound is over, after the pause that may follow it."""
        return self._time(seconds, bisect_right(self._ends, seconds))

    def time_before(self, seconds: float) -> float:
        """When so much sound is over, before the pause."""
        return self._time(seconds, bisect_left(self._ends, seconds))

    def _time(self, seconds: float, number: int) -> float:
        number = min(number, len(self._ends) - 1)
        start, end = self._stretches[number]
        return min(max(end - (self._ends[number] - seconds), start), end)


def _sentences(text: str) -> list[str]:
    sentences = [""]
    for piece in pieces(text):
        sentences[-1] += piece
        if ends_sentence(piece) and sum(c.isalnum() for c in sentences[-1]) >= LEAST_LETTERS:
            sentences.append("")
    return [sentence for sentence in sentences if sentence]


def _without_short_gaps(stretches: Stretches) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] < PAUSE_SECONDS:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _snapped(edges: Sequence[float], pauses: Sequence[float]) -> list[float]:
    """Each edge at the pause that is its nearest, if it is that pause's nearest edge, too: none overtakes another."""
    nearest = [_nearest(pauses, edge) for edge in edges]
    return [
        pause if abs(edge - pause) <= SNAP_SECONDS and _nearest(edges, pause) == edge else edge
        for edge, pause in zip(edges, nearest, strict=True)
    ]


def _nearest(points: Sequence[float], to: float) -> float:
    return min(points, key=lambda point: abs(point - to))
