"""Readers of SubRip and WebVTT that share nothing with what writes them: two strict ones, and two that others wrote.

The strict ones accept less than players do: what they read, every player reads.
"""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import NamedTuple

import srt
import webvtt


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


def read_by_others(srt_file: bytes, vtt_file: bytes) -> list[Shown]:
    """What the libraries `srt` and `webvtt-py` read alike, neither of them skipping over anything."""
    found = [
        Shown(_ms_of(cue.start), _ms_of(cue.end), tuple(cue.content.split("\n")))
        for cue in srt.parse(srt_file.decode(), ignore_errors=False)
    ]
    captions = webvtt.from_string(vtt_file.decode(), strict=True)
    assert found == [
        Shown(_ms(*one.start_time.to_tuple()), _ms(*one.end_time.to_tuple()), tuple(map(html.unescape, one.lines)))
        for one in captions.captions
    ]
    return found


def _ms_of(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


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
