"""Whether a chunk's text can be all that was said in it, and where to cut the chunk if it cannot.

Times in warnings are seconds from the start of the chunk, in spans from the start of the audio.
"""

from __future__ import annotations

from collections.abc import Sequence

from subscriber.text import width
from subscriber.transcribe.timing import Stretches, loud_between
from subscriber.transcript import WARNINGS, ChunkSpan, ChunkText, Segment, TimedWarning

__all__ = ["doubtfulness", "doubts", "halves", "quiet_middle", "seconds_of", "sound_of", "warned"]

LOUD_SECONDS = 1.0
"""A chunk with less sound than this may be empty: a click or a cough is not worth two more requests."""

UNCOVERED_SECONDS = 8.0
"""So much sound without text means that speech was skipped: 24 s of a second language were (measured)."""

LEAST_WIDTH_A_SECOND = 2.0
"""Slower speech than this many columns a second does not exist: a segment covers no more sound than its text can."""

MOST_WIDTH_A_SECOND = 25.0
"""Faster speech does not exist either: such text is a loop or an invention."""

SHORTEST_HALVED_SECONDS = 2.0
"""Half of anything shorter is too little for a model to make sense of."""

SILENT_SECONDS = 10.0
"""Nothing shorter is silent for want of a loud stretch: people speak softly, too."""

SAMPLES_A_SECOND = 16_000
"""A cut falls on a sample of the decoded audio."""


def doubts(text: ChunkText, span: ChunkSpan) -> tuple[TimedWarning, ...]:
    """Why the text cannot be all that was said, or cannot have been said."""
    found = []
    missing = _uncovered(text.segments, sound_of(span))
    least = UNCOVERED_SECONDS if text.text else LOUD_SECONDS
    if seconds_of(missing) > least:
        found.append(warned("no_text", missing[0][0], missing[-1][1], f"{seconds_of(missing):.1f} s"))
    if _is_too_much(text, span):
        found.append(warned("too_much_text", 0.0, span.end - span.start, f"{width(text.text)} characters"))
    return tuple(found)


def doubtfulness(text: ChunkText, span: ChunkSpan) -> float:
    """Seconds of sound that the text leaves unexplained; all of them if it is too much."""
    return span.end - span.start if _is_too_much(text, span) else seconds_of(_uncovered(text.segments, sound_of(span)))


def _is_too_much(text: ChunkText, span: ChunkSpan) -> bool:
    return width(text.text) > MOST_WIDTH_A_SECOND * (span.end - span.start)


def _uncovered(segments: Sequence[Segment], loud: Stretches) -> list[tuple[float, float]]:
    """The sound for which there is no text."""
    left = list(loud)
    for segment in segments:
        start, end = segment.start, min(segment.end, segment.start + width(segment.text) / LEAST_WIDTH_A_SECOND)
        left = [part for a, b in left for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
    return left


def quiet_middle(span: ChunkSpan) -> float | None:
    """Where to cut a chunk, on a sample; None if it is too short for that.

    It is the middle of the longest pause in the middle half of the chunk, or of the chunk where there is none.
    """
    if span.end - span.start < SHORTEST_HALVED_SECONDS:
        return None
    middle, quarter = (span.start + span.end) / 2, (span.end - span.start) / 4
    edges = [middle - quarter, *(t for part in span.loud for t in part), middle + quarter]
    pauses = loud_between(list(zip(edges[::2], edges[1::2], strict=True)), edges[0], edges[-1])
    longest = max(pauses, key=lambda pause: (pause[1] - pause[0], -abs(sum(pause) / 2 - middle)), default=None)
    return round((sum(longest) / 2 if longest else middle) * SAMPLES_A_SECOND) / SAMPLES_A_SECOND


def halves(span: ChunkSpan, cut: float) -> tuple[ChunkSpan, ChunkSpan]:
    """The two parts of a chunk; one that is long and without a sound is `silent`, and needs no request."""
    return _part(span, span.start, cut), _part(span, cut, span.end)


def _part(span: ChunkSpan, start: float, end: float) -> ChunkSpan:
    loud = tuple(loud_between(span.loud, start, end))
    return ChunkSpan(span.index, start, end, silent=not loud and end - start >= SILENT_SECONDS, loud=loud)


def sound_of(span: ChunkSpan) -> list[tuple[float, float]]:
    """The loud stretches of a chunk, in seconds from its start."""
    return [(start - span.start, end - span.start) for start, end in loud_between(span.loud, span.start, span.end)]


def seconds_of(stretches: Stretches) -> float:
    """How long the stretches are together."""
    return sum(end - start for start, end in stretches)


def warned(kind: str, start: float, end: float, what: str = "") -> TimedWarning:
    """A warning in the words of its kind, and what is particular to it."""
    return TimedWarning(kind, start, end, f"{WARNINGS[kind]}: {what[:80]}" if what else WARNINGS[kind])
