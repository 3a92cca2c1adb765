"""Short recordings of our own with the words that are spoken in them, for `subscriber demo` and the tests.

tools/make-recordings.sh made them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

__all__ = ["Recording", "recordings"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of speech: `seconds` long, saying `text`."""

    path: Path
    seconds: float
    text: str


def recordings() -> list[Recording]:
    """Return the bundled recordings, shortest first."""
    folder = Path(str(files(__name__)))
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return sorted(
        (Recording(folder / one["file"], one["seconds"], one["text"]) for one in found), key=lambda r: r.seconds
    )
