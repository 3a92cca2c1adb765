"""Strict readers of SubRip and WebVTT that share nothing with what writes them.

They accept less than players do: what they read, every player reads.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple


class Shown(NamedTuple):
    """A cue as a player has it; times in milliseconds."""

    start: int
    end: int
    lines: tuple[str, ...]


def read_srt(data: bytes) -> list[Shown]:
    """Numbered from 1, blocks parted by exactly one empty line."""
    blocks = _blocks(data.decode())
    assert [block[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    return [_shown(block[1], block[2:], ",") for block in blocks]


def read_vtt(data: bytes) -> list[Shown]:
    """A header, then cues without identifiers and without markup; character references are resolved."""
    header, *blocks = _blocks(data.decode())
    assert header == ["WEBVTT"]
    for block in blocks:
        for line in block[1:]:
            assert "<" not in line
            assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", line)
    return [_shown(block[0], [html.unescape(line) for line in block[1:]], ".") for block in blocks]


def _blocks(text: str) -> list[list[str]]:
    assert not re.search(r"[\r\v\f\x00\x85\u2028\u2029]", text)
    if not text:
        return []
    assert text.endswith("\n")
    return [block.split("\n") for block in text[:-1].split("\n\n")]


def _shown(times: str, lines: list[str], point: str) -> Shown:
    clock = rf"(\d\d+):([0-5]\d):([0-5]\d)\{point}(\d\d\d)"
    found = re.fullmatch(rf"{clock} --> {clock}", times)
    assert found, times
    assert lines
    assert all(line.strip() and "-->" not in line for line in lines), lines
    h, m, s, ms, *end = map(int, found.groups())
    return Shown(_ms(h, m, s, ms), _ms(*end), tuple(lines))


def _ms(hours: int, minutes: int, seconds: int, milliseconds: int) -> int:
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
