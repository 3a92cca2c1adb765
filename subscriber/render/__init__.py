"""Transcripts as files. Pure: a transcript and its source go in, bytes come out, the same for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from subscriber.render.paragraphs import render_txt
from subscriber.render.subtitles import render_srt, render_vtt
from subscriber.render.verbose_json import render_json
from subscriber.transcript import OutputFile, Transcript

__all__ = ["FORMATS", "render", "render_json", "render_srt", "render_txt", "render_vtt"]

RENDERERS: Mapping[str, Callable[[Transcript], OutputFile]] = {"txt": render_txt, "srt": render_srt, "vtt": render_vtt}

FORMATS = ("json", *RENDERERS)
"""What may be asked for; the JSON is always written, because it completes the set."""


def render(transcript: Transcript, formats: Iterable[str]) -> list[OutputFile]:
    """The files of a set but for its JSON, which lists the generations of these: `render_json` makes it last."""
    wanted = set(formats)
    return [renderer(transcript) for name, renderer in RENDERERS.items() if name in wanted]
