"""Words that a model repeats: phrases in a loop, and the prompt that it was given.

Texts are lists of keys here (see `text.key`), so that neither case nor punctuation hides a repetition. A cut is a pair
of positions: what lies from the first up to the second is to go.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from subscriber.text import key, pieces, words

__all__ = ["Cut", "echoes", "is_repetitive", "loops"]

Cut = tuple[int, int]

MOST_COMPRESSION = 2.4
"""Speech compresses to no less than this share; Whisper itself takes more for a loop."""

LOOP_WORDS, LOOP_TIMES = 6, 5
LONG_LOOP_WORDS, LONG_LOOP_TIMES = 40, 3
"""A phrase of up to so many words that comes so many times in a row is a loop; the second pair once a text compresses
too well to be speech."""

ECHO_WORDS = 4
"""Fewer words than this in common with the prompt are chance."""


def is_repetitive(text: str, ratios: Sequence[float | None] = ()) -> bool:
    """Whether a text, or the model's own ratio for a part of it, compresses too well to be speech."""
    data = text.encode()
    own = len(data) / len(zlib.compress(data)) if data else 0.0
    return max([own, *(ratio for ratio in ratios if ratio)]) > MOST_COMPRESSION


def loops(keys: Sequence[str], *, repetitive: bool) -> list[Cut]:
    """All but the first of phrases that come again and again."""
    most, times = (LONG_LOOP_WORDS, LONG_LOOP_TIMES) if repetitive else (LOOP_WORDS, LOOP_TIMES)
    sizes = [words([one]) for one in keys]
    cuts: list[Cut] = []
    at = 0
    while at < len(keys):
        cut = _loop_at(keys, sizes, at, most, times)
        if cut:
            cuts.append(cut)
        at = cut[1] if cut else at + 1
    return cuts


def _loop_at(keys: Sequence[str], sizes: Sequence[float], at: int, most_words: int, times: int) -> Cut | None:
    """The repetitions of the shortest phrase that begins here and is a loop."""
    size = 0.0
    for period in range(1, (len(keys) - at) // times + 1):
        size += sizes[at + period - 1]
        if size > most_words:
            return None
        end = at + period
        while end < len(keys) and keys[end] == keys[end - period]:
            end += 1
        if end - at >= period * times:
            # What follows the last whole repetition may be the beginning of something new, unless nothing follows it.
            return at + period, end if end == len(keys) else end - (end - at) % period
    return None


def echoes(keys: Sequence[str], prompt: str) -> list[Cut]:
    """The prompt wherever it stands whole; everything, if all of it is (a part of) the prompt."""
    told = [key(piece) for piece in pieces(prompt)]
    if not told or not keys:
        return []
    if list(keys) == told or (words(keys) >= ECHO_WORDS and _found(told, keys)):
        return [(0, len(keys))]
    return [(at, at + len(told)) for at in _found(keys, told)] if words(told) >= ECHO_WORDS else []


def _found(keys: Sequence[str], part: Sequence[str]) -> list[int]:
    """Where a part begins, each time after the last one's end."""
    places: list[int] = []
    for at in range(len(keys) - len(part) + 1):
        if list(keys[at : at + len(part)]) == list(part) and (not places or at >= places[-1] + len(part)):
            places.append(at)
    return places
