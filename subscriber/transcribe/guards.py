"""What a model said is judged before it is believed.

The law of this file: text is dropped only on evidence, whatever is dropped or doubted is told with its time, and a loud
chunk without words is asked again in halves before anybody believes it. No list of words says what a model invents.
Within this file all times are seconds from the start of the chunk.

    text of one line -> words on silence -> the prompt's echo -> loops -> possible times -> enough text for the sound?
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from subscriber.text import clean, join, key, pieces
from subscriber.transcribe.coverage import doubtfulness, doubts, quiet_middle, seconds_of, sound_of, warned
from subscriber.transcribe.languages import iso_code
from subscriber.transcribe.profiles import Profile, billed_seconds
from subscriber.transcribe.repeats import Cut, echoes, is_repetitive, loops
from subscriber.transcribe.timing import (
    Stretches,
    are_possible,
    estimate,
    least_certain,
    loud_between,
    settled,
    shifted,
)
from subscriber.transcript import Answer, ChunkSpan, ChunkText, Segment, TimedWarning, Timing, Word

__all__ = ["judge", "judge_halves", "read"]

_T = TypeVar("_T")

NO_SPEECH_PROB = 0.6
NO_SPEECH_LOGPROB = -0.8
"""Beyond both, on silence, a segment is dropped. Neither is a filter alone: true speech had 0.62 (measured)."""

QUIET_SECONDS = 0.3
"""Less sound than the shortest word has."""

_EDGE = re.compile(r"^(?:…|\.{3}) *| *(?:…|\.{3})$")


class _Said(NamedTuple):
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    warnings: tuple[TimedWarning, ...]


def judge(answer: Answer, span: ChunkSpan, *, prompt: str | None, profile: Profile) -> ChunkText:
    """Judge the answer to a whole chunk; `prompt` is what was really sent.

    Of one that is `doubted` both halves are to be asked for, cut at its `quiet_middle`, and `judge_halves` decides.
    """
    text = read(answer, span, prompt=prompt, profile=profile)
    found = doubts(text, span)
    if found and quiet_middle(span) is not None:
        return replace(text, doubted=True)
    return replace(text, warnings=text.warnings + found)


def judge_halves(
    whole: ChunkText | None,
    parts: Sequence[tuple[ChunkSpan, ChunkText]],
    span: ChunkSpan,
) -> ChunkText:
    """The final verdict from what was read of a chunk's halves (all that were asked for) and of its whole.

    Whichever leaves less doubt is believed, the halves if both are as good; all of them are billed. `whole` is None
    where the provider refused the chunk as too long.
    """
    tried = [_joined([(part.start - span.start, text) for part, text in parts]), *([whole] if whole else [])]
    best = min(tried, key=lambda text: doubtfulness(text, span))
    return replace(
        best,
        doubted=False,
        warnings=best.warnings + doubts(best, span),
        billed_seconds=sum(text.billed_seconds or 0.0 for text in tried),
        request_ids=tuple(name for text in reversed(tried) for name in text.request_ids),
        model=tried[-1].model,
    )


def read(answer: Answer, span: ChunkSpan, *, prompt: str | None, profile: Profile) -> ChunkText:
    """What the model said of a chunk or a half of one, as far as it can be believed."""
    length, loud = span.end - span.start, sound_of(span)
    said, timing = _heard(answer, length, profile)
    said = _without_noise(said, loud)
    said = _pruned(said, "prompt_echo", lambda keys: echoes(keys, clean(prompt or "")))
    repetitive = is_repetitive(_text(said), [segment.compression_ratio for segment in said.segments])
    said = _pruned(said, "loop", lambda keys: loops(keys, repetitive=repetitive))
    text = _text(said)
    return ChunkText(
        text=text,
        language=iso_code(answer.language),
        timing=timing if text else None,
        segments=estimate(text, length, loud) if timing == "estimated" else said.segments,
        words=said.words,
        warnings=said.warnings,
        billed_seconds=billed_seconds(profile, length, answer.billed_seconds),
        request_ids=(answer.request_id,) if answer.request_id else (),
        model=answer.model,
    )


def _heard(answer: Answer, length: float, profile: Profile) -> tuple[_Said, Timing]:
    """Texts of one line, at possible times; one segment over the whole chunk where the model told none."""
    segments = [_with_numbers(replace(one, text=text)) for one in answer.segments if (text := clean(one.text))]
    if segments and are_possible(segments):
        words = [replace(one, word=word) for one in answer.words if (word := clean(one.word))]
        fitting = settled(words, 0.0, length) if are_possible(words) else ()
        return _Said(settled(segments, 0.0, length), fitting, ()), "model"
    text = join(one.text for one in segments) or clean(answer.text)
    if not profile.timed:
        text = _EDGE.sub("", text)  # gpt-transcribe marks a word that the cut parted
    warnings = (warned("times", 0.0, length),) if segments else ()
    return _Said((Segment(0.0, length, text),) if text else (), (), warnings), "estimated"


def _with_numbers(segment: Segment) -> Segment:
    """With scores that are numbers; JSON knows no other."""
    scores = (segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio)
    known = [score if score is not None and math.isfinite(score) else None for score in scores]
    return Segment(segment.start, segment.end, segment.text, *known)


def _without_noise(said: _Said, loud: Stretches) -> _Said:
    """Without the segments that the model doubts itself, as far as there is no sound."""
    noise = [segment for segment in said.segments if _is_noise(segment, loud)]
    kept = tuple(segment for segment in said.segments if segment not in noise)
    words = tuple(word for word in said.words if _inside(word, kept) or not _inside(word, noise))
    told = [warned("no_speech", segment.start, segment.end, segment.text) for segment in noise]
    return _Said(kept, words, (*said.warnings, *told))


def _is_noise(segment: Segment, loud: Stretches) -> bool:
    doubted = (segment.no_speech_prob or 0.0) > NO_SPEECH_PROB and (segment.avg_logprob or 0.0) < NO_SPEECH_LOGPROB
    return doubted and seconds_of(loud_between(loud, segment.start, segment.end)) < QUIET_SECONDS


def _inside(word: Word, segments: Sequence[Segment]) -> bool:
    return any(segment.start <= (word.start + word.end) / 2 <= segment.end for segment in segments)


def _pruned(said: _Said, kind: str, find: Callable[[Sequence[str]], list[Cut]]) -> _Said:
    """Without the pieces that are found, in the segments and in the words each by themselves."""
    parts = [(number, piece) for number, segment in enumerate(said.segments) for piece in pieces(segment.text)]
    cuts = find([key(piece) for _, piece in parts])
    if not cuts:
        return said
    kept = [""] * len(said.segments)
    for number, piece in _outside(parts, cuts):
        kept[number] += piece
    segments = [replace(one, text=text.strip()) for one, text in zip(said.segments, kept, strict=True) if text.strip()]
    told = [
        warned(kind, said.segments[parts[a][0]].start, said.segments[parts[b - 1][0]].end, parts[a][1].strip())
        for a, b in cuts
    ]
    words = _outside(said.words, find([key(word.word) for word in said.words]))
    return _Said(tuple(segments), tuple(words), (*said.warnings, *told))


def _outside(items: Sequence[_T], cuts: Sequence[Cut]) -> list[_T]:
    gone = {number for start, end in cuts for number in range(start, end)}
    return [item for number, item in enumerate(items) if number not in gone]


def _joined(parts: Sequence[tuple[float, ChunkText]]) -> ChunkText:
    """The texts of the parts of a chunk, each so many seconds after its start."""
    texts = [text for _, text in parts]
    return ChunkText(
        text=join(text.text for text in texts),
        language=next((text.language for text in texts if text.text), None),
        timing=least_certain(text.timing for text in texts),
        segments=tuple(one for at, text in parts for one in shifted(text.segments, at)),
        words=tuple(one for at, text in parts for one in shifted(text.words, at)),
        warnings=tuple(one for at, text in parts for one in shifted(text.warnings, at)),
        billed_seconds=sum(text.billed_seconds or 0.0 for text in texts),
        request_ids=tuple(name for text in texts for name in text.request_ids),
        model=next((text.model for text in texts), ""),
    )


def _text(said: _Said) -> str:
    return join(segment.text for segment in said.segments)
