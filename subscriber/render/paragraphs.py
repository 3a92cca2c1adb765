"""The text alone, in paragraphs."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from subscriber.text import clean, join
from subscriber.transcript import OutputFile, Segment, Transcript

__all__ = ["render_txt"]

PAUSE_SECONDS = 2.0
"""Who pauses for so long begins something new: longer than a breath, and than most looks for a word."""

SLACK_SECONDS = 0.5
"""How far a model's idea of a boundary may lie from the silence that it means."""


def render_txt(transcript: Transcript) -> OutputFile:
    """One line a paragraph, an empty line between two, one newline at the end."""
    paragraphs = _paragraphs(transcript) or [clean(transcript.text)]
    return OutputFile("txt", "text/plain; charset=utf-8", ("\n\n".join(paragraphs) + "\n").encode())


def _paragraphs(transcript: Transcript) -> list[str]:
    segments = [segment for segment in transcript.segments if clean(segment.text)]
    silences = _silences(transcript)
    parts = [segments[:1]]
    for one, two in pairwise(segments):
        if two.start - one.end >= PAUSE_SECONDS or _silent_between(one, two, silences):
            parts.append([])
        parts[-1].append(two)
    return [join(clean(segment.text) for segment in part) for part in parts if part]


def _silences(transcript: Transcript) -> list[tuple[float, float]]:
    loud = [stretch for chunk in transcript.chunks for stretch in chunk.span.loud]
    return [(end, start) for (_, end), (start, _) in pairwise(loud) if start - end >= PAUSE_SECONDS]


def _silent_between(one: Segment, two: Segment, silences: list[tuple[float, float]]) -> bool:
    """Whether a silence lies where one segment becomes the other: a Whisper lets them touch across it."""
    first = bisect_left(silences, one.end - SLACK_SECONDS, key=lambda silence: silence[1])
    return first < len(silences) and silences[first][0] <= two.start + SLACK_SECONDS
