"""Segments become subtitles that people can read.

The law of this file, whatever comes in: a cue has at most two lines of 42 columns, is shown for 0.83 to 7 s and at
most at 20 characters a second, and is over before the next one starts. Where people speak faster than that, subtitles
lag behind, and catch up in the next pause.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from subscriber.text import clean, ends_sentence, join, pieces, width
from subscriber.transcript import Segment

__all__ = ["Cue", "cues"]

COLUMNS = 42
SHORTEST_MS = 830
LONGEST_MS = 7_000
MS_A_COLUMN = 50
"""20 characters a second; wide characters count as two, the end of the first line as one."""

SLOWEST_MS_A_COLUMN = 500
"""A segment that is longer than its text can be said in was over before its end."""

LATEST_SECONDS = 360_000.0
"""100 hours: a time beyond it is a mistake."""

_CLAUSE_END = re.compile(r"[,;:–—،、，；：]$")  # noqa: RUF001 - other scripts' commas


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; times in milliseconds from the start of the audio, one or two lines."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """The least that is not parted; times in milliseconds. A segment begins with the `first` of its units."""

    piece: str
    columns: int
    start: float
    end: float
    first: bool


def cues(segments: Iterable[Segment]) -> list[Cue]:
    """The subtitles of segments, in their order."""
    shown: list[Cue] = []
    groups = list(_groups(_units(segments)))
    limits = [*(group[0].start for group in groups), math.inf][1:]
    for group, limit in zip(groups, limits, strict=True):
        start = max(round(group[0].start), shown[-1].end_ms if shown else 0)
        said = round(min(group[-1].end, limit)) - start
        shown.append(Cue(start, start + max(_least_ms(group), min(said, LONGEST_MS)), _lines(group)))
    return shown


def _units(segments: Iterable[Segment]) -> Iterator[_Unit]:
    """The pieces of all segments, each with its share of its segment's time."""
    last_piece, last_start, last_end = "", 0.0, 0.0
    for segment in segments:
        parts = [part for piece in pieces(_harmless(segment.text)) for part in _short(piece)]
        if not parts:
            continue
        parts[0] = join([last_piece, parts[0]])[len(last_piece) :]
        columns = [width(part) for part in parts]
        total = sum(columns)
        start = max(_ms(segment.start, last_end), last_start)
        length = min(max(_ms(segment.end, start) - start, 0.0), SLOWEST_MS_A_COLUMN * total)
        times = [start + length * done / total for done in accumulate(columns, initial=0)]
        for number, (part, size) in enumerate(zip(parts, columns, strict=True)):
            yield _Unit(part, size, times[number], times[number + 1], first=number == 0)
        last_piece, last_start, last_end = parts[-1], start, times[-1]


def _ms(seconds: float, otherwise: float) -> float:
    return seconds * 1000 if 0 <= seconds < LATEST_SECONDS else otherwise


def _harmless(text: str) -> str:
    """One line without the arrow that both formats take for a time; a model can say anything."""
    return clean(text).replace("-->", "→")


def _short(piece: str) -> Iterator[str]:
    """The piece in parts that a line can hold, none begun by a character that belongs to the one before it."""
    at = 0
    while width(piece[at : at + COLUMNS + 2].strip()) > COLUMNS:
        end = at + 1
        while width(piece[at : end + 1].strip()) <= COLUMNS:
            end += 1
        end = next((cut for cut in range(end, at + 1, -1) if not _clings(piece[cut - 1], piece[cut])), end)
        yield piece[at:end]
        at = end
    yield piece[at:]


def _clings(left: str, right: str) -> bool:
    """Whether two characters make one on the screen: accents, signs of variation and of skin, joined emoji."""
    return "\u200d" in (left, right) or unicodedata.category(right)[0] == "M" or "\U0001f3fb" <= right <= "\U0001f3ff"


def _groups(units: Iterable[_Unit]) -> Iterator[list[_Unit]]:
    """Units that are shown together: a segment where it fits, several where one alone would be gone too soon."""
    group: list[_Unit] = []
    for unit in units:
        if group and unit.first and unit.start - group[0].start >= _least_ms(group):
            yield group
            group = []
        while group and (unit.end - group[0].start > LONGEST_MS or _first_line([*group, unit]) is None):
            shown, group = _parted(group)
            yield shown
        group.append(unit)
    if group:
        yield group


def _parted(group: list[_Unit]) -> tuple[list[_Unit], list[_Unit]]:
    """What is full is parted after a sentence, or else a clause, in its second half, or else shown as it is."""
    for ends in (ends_sentence, _CLAUSE_END.search):
        for size in range(len(group) - 1, len(group) // 2, -1):
            if ends(group[size - 1].piece):
                return group[:size], group[size:]
    return group, []


def _first_line(group: Sequence[_Unit]) -> int | None:
    """How many units stand in the first line, the two being as equal as can be; None if two lines cannot hold all."""
    edges = list(accumulate((unit.columns for unit in group), initial=0))

    def columns(start: int, end: int) -> int:
        return edges[end] - edges[start] - group[start].piece.startswith(" ")

    def longer(size: int) -> int:
        return max(columns(0, size), columns(size, len(group)))

    if columns(0, len(group)) <= COLUMNS:
        return len(group)
    best = min(range(1, len(group)), key=longer)
    return best if longer(best) <= COLUMNS else None


def _lines(group: Sequence[_Unit]) -> tuple[str, ...]:
    size = _first_line(group) or len(group)
    lines = ("".join(unit.piece for unit in part).strip() for part in (group[:size], group[size:]))
    return tuple(line for line in lines if line)


def _least_ms(group: Sequence[_Unit]) -> int:
    return max(SHORTEST_MS, MS_A_COLUMN * (1 + sum(unit.columns for unit in group)))
