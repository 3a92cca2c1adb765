"""What the demo makes of the bundled recordings: a film of one of them, and a file of several minutes of them all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from subscriber.audio.joining import PAUSE_SECONDS, joined
from subscriber.recordings import Recording, recordings

__all__ = ["COPY", "FILM", "LONG", "LONG_SECONDS", "Made", "made"]

LONG, FILM, COPY = "programme.m4a", "clip.mp4", "the-same-again.m4a"

LONG_SECONDS = 180.0
"""Seven chunks at least: enough for a bar to move, and transcribed in half a minute on two cores."""


@dataclass(frozen=True, slots=True)
class Made:
    """A recording that is no file yet."""

    name: str
    data: bytes
    seconds: float
    text: str

    def written(self, folder: Path) -> Recording:
        """Make it a file in `folder`."""
        (folder / self.name).write_bytes(self.data)
        return Recording(folder / self.name, self.seconds, self.text)


def made() -> list[Made]:
    """A film and a long recording, in two seconds. PyAV may swallow what a signal's handler raises meanwhile."""
    bundled = recordings()
    return [_made(FILM, [bundled[3]], picture=True), _made(LONG, _enough(bundled), picture=False)]


def _enough(bundled: list[Recording]) -> list[Recording]:
    chosen: list[Recording] = []
    for recording in cycle(bundled):
        if _seconds(chosen) >= LONG_SECONDS:
            break
        chosen.append(recording)
    return chosen


def _made(name: str, parts: list[Recording], *, picture: bool) -> Made:
    data = joined([part.path for part in parts], picture=picture)
    return Made(name, data, _seconds(parts), " ".join(part.text for part in parts))


def _seconds(parts: list[Recording]) -> float:
    return sum(part.seconds + PAUSE_SECONDS for part in parts)
