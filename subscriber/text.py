"""Text of any script: cleaned, measured, taken to pieces at the places where it may be parted, and joined again.

The law of this file: the pieces of a text, put one after the other, are the text. Chinese and Japanese part between any
two characters (but for those that may not begin a line), everything else at its spaces.
"""

# ruff: noqa: RUF001 - characters of other scripts are what this file is about

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["clean", "ends_sentence", "join", "key", "pieces", "printable", "width", "words"]

_OPENING = "「『（〈《【〔［｛“‘"
_CLOSING = "。、，．！？：；」』）〉》】〕］｝”’…‥・ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮゝゞヽヾ々"
_SPACELESS = (
    r"\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    r"\U00020000-\U0003ffff"
)
_ATTACHED = f"{_CLOSING}\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
_PIECE = re.compile(
    rf" *(?:[{_OPENING}]*[{_SPACELESS}][{_ATTACHED}]*|(?:(?![{_SPACELESS}{_OPENING}])[^ ])+|[{_OPENING}]+)| +$"
)
_SENTENCE_END = re.compile(r"[.!?…。！？؟।][\"'”’»)\]」』）]*$")
_ONE_SPACELESS = re.compile(rf"[{_SPACELESS}]")

SPACELESS_WORD = 4
"""Characters of Chinese or Japanese that are counted as one word."""


def clean(text: str) -> str:
    """One line: white space is single spaces; control characters and what UTF-8 cannot hold are gone."""
    whole = text.encode("utf-8", "ignore").decode()
    kept = "".join(" " if c.isspace() else c for c in whole if c.isspace() or unicodedata.category(c) != "Cc")
    return " ".join(kept.replace("\ufeff", "").split())


def printable(text: str) -> str:
    """A stranger's text on one line, and unable to steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def pieces(text: str) -> list[str]:
    """A cleaned text parted wherever a line may break; each piece keeps the space before it."""
    return _PIECE.findall(text)


def join(texts: Iterable[str]) -> str:
    """Texts that follow each other, with a space between them where their script has one."""
    joined = ""
    for text in filter(None, texts):
        joined += text if not joined or _touch(joined[-1], text[0]) else f" {text}"
    return joined


def _touch(left: str, right: str) -> bool:
    """Whether no space belongs between: beside full-width punctuation, and within a spaceless script."""
    full_width = [c in _OPENING + _CLOSING and width(c) == 2 for c in (left, right)]
    return any(full_width) or all(_ONE_SPACELESS.match(c) for c in (left, right))


def key(piece: str) -> str:
    """What two utterances of a piece have in common: its letters and digits without their case."""
    return "".join(c for c in piece.casefold() if c.isalnum()) or piece.strip()


def ends_sentence(piece: str) -> bool:
    """Whether a sentence may end here; `Dr.` looks like it, too."""
    return _SENTENCE_END.search(piece) is not None


def words(parts: Iterable[str]) -> float:
    """How many words pieces (or their keys) are worth."""
    return sum(1 / SPACELESS_WORD if _ONE_SPACELESS.search(part) else 1.0 for part in parts)


def width(text: str) -> int:
    """Columns on a screen: wide characters count two, everything else one. Never less than the characters."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
