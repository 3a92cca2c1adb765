"""SubRip and WebVTT.

The law of this file: a time is milliseconds before it is anything else (rounding its parts one by one makes
`00:00:60,000`), and no text can end a cue or begin one: cues hold neither an arrow nor an empty line.
"""

from __future__ import annotations

from subscriber.render.cues import Cue, cues
from subscriber.transcript import OutputFile, Transcript

__all__ = ["render_srt", "render_vtt"]


def render_srt(transcript: Transcript) -> OutputFile:
    """SubRip; it has no way to escape markup, so text stays as it is."""
    blocks = [
        f"{number}\n{_times(cue, ',')}\n{_text(cue)}\n" for number, cue in enumerate(cues(transcript.segments), 1)
    ]
    return OutputFile("srt", "application/x-subrip; charset=utf-8", "\n".join(blocks).encode())


def render_vtt(transcript: Transcript) -> OutputFile:
    """WebVTT, with `&` and `<` escaped."""
    blocks = [f"{_times(cue, '.')}\n{_escaped(_text(cue))}\n" for cue in cues(transcript.segments)]
    return OutputFile("vtt", "text/vtt; charset=utf-8", "\n".join(["WEBVTT\n", *blocks]).encode())


def _times(cue: Cue, point: str) -> str:
    return f"{_clock(cue.start_ms, point)} --> {_clock(cue.end_ms, point)}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _text(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
