"""What the demo makes of the bundled recordings: a film of one of them, and a file of several minutes of them all."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

from subscriber.audio.joining import PAUSE_SECONDS, joined
from subscriber.recordings import Recording, recordings

__all__ = ["COPY", "FILM", "LONG", "LONG_SECONDS", "made"]

LONG, FILM, COPY = "programme.m4a", "clip.mp4", "the-same-again.m4a"

LONG_SECONDS = 180.0
"""Seven chunks at least: enough for a bar to move, and transcribed in half a minute on two cores."""


def made(folder: Path) -> tuple[Recording, Recording]:
    """Write a film and a long recording into `folder`."""
    bundled = recordings()
    return (
        _made(folder / FILM, [bundled[3]], picture=True),
        _made(folder / LONG, _enough(bundled), picture=False),
    )


def _enough(bundled: list[Recording]) -> list[Recording]:
    chosen: list[Recording] = []
    for recording in cycle(bundled):
        if _seconds(chosen) >= LONG_SECONDS:
            break
        chosen.append(recording)
    return chosen


def _made(path: Path, parts: list[Recording], *, picture: bool) -> Recording:
    path.write_bytes(joined([part.path for part in parts], picture=picture))
    return Recording(path, _seconds(parts), " ".join(part.text for part in parts))


def _seconds(parts: list[Recording]) -> float:
    return sum(part.seconds + PAUSE_SECONDS for part in parts)
