"""Chunks become one transcript.

The law of this file: a chunk's times move by its exact start and never leave it, so that no error of a model is carried
from one chunk into another; and the same chunks always give the same transcript.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from subscriber.text import join, width
from subscriber.transcribe.timing import Timed, least_certain, settled, shifted
from subscriber.transcript import Chunk, Segment, TimedWarning, Transcript, Word

__all__ = ["PIN_CHUNKS", "assemble", "pin_language"]

PIN_CHUNKS = 3
"""How many chunks with speech decide on a file's language."""

PIN_WIDTH = 20
"""Less text than this is no sample of a language; `You` on a bar of music is English."""


def assemble(
    chunks: Sequence[Chunk],
    *,
    model: str,
    fingerprint: str,
    usd_per_minute: float | None,
    warnings: Sequence[TimedWarning] = (),
    audio: Mapping[str, object] | None = None,
) -> Transcript:
    """The transcript of all chunks of a file, in their order. Billed is what was paid for now: not what was cached.

    `warnings` are the decoder's, with times from the start of the audio; `audio` is what else it found out.
    """
    segments: list[Segment] = []
    words: list[Word] = []
    told = list(warnings)
    for chunk in chunks:
        segments += _placed(chunk.text.segments, chunk)
        words += _placed(chunk.text.words, chunk)
        told += _placed(chunk.text.warnings, chunk)
    billed = _sum([chunk.text.billed_seconds for chunk in chunks if chunk.source == "paid"])
    return Transcript(
        text=join(chunk.text.text for chunk in chunks),
        language=_language(chunks),
        duration=chunks[-1].span.end if chunks else 0.0,
        timing=least_certain(chunk.text.timing for chunk in chunks),
        segments=tuple(segments),
        words=tuple(words),
        chunks=tuple(chunks),
        warnings=tuple(sorted(told, key=lambda warning: (warning.start, warning.end))),
        model=model,
        billed_seconds=billed,
        cost_usd=None if billed is None or usd_per_minute is None else billed / 60 * usd_per_minute,
        fingerprint=fingerprint,
        audio=audio or {},
    )


def pin_language(chunks: Sequence[Chunk | None]) -> str | None:
    """The language to send with all further chunks of a file; None while that is open.

    `chunks` are the file's first ones in order, None where the answer is still awaited: what is pinned must not depend
    on which answer came first. Only for models whose profile says that they guess the language of each chunk anew.
    """
    heard: list[Chunk] = []
    for chunk in chunks:
        if chunk is None or len(heard) == PIN_CHUNKS:
            break
        if chunk.text.language and width(chunk.text.text) >= PIN_WIDTH:
            heard.append(chunk)
    return _language(heard) if len(heard) == PIN_CHUNKS else None


def _language(chunks: Sequence[Chunk]) -> str | None:
    """The language of most of the sound with text; of several with as much, the first."""
    seconds: Counter[str] = Counter()
    for chunk in chunks:
        if chunk.text.language and chunk.text.text:
            # Counter's own order is that of the first mention.
            seconds[chunk.text.language] += round(1000 * (chunk.span.end - chunk.span.start))
    return max(seconds, key=lambda language: seconds[language], default=None)


def _placed(items: Sequence[Timed], chunk: Chunk) -> tuple[Timed, ...]:
    return settled(shifted(items, chunk.span.start), chunk.span.start, chunk.span.end)


def _sum(seconds: Sequence[float | None]) -> float | None:
    """Unknown is never an invented 0: one unknown makes the sum unknown."""
    known = [one for one in seconds if one is not None]
    return sum(known) if len(known) == len(seconds) else None
