"""Figures of the last measurements, by name, below build/: what the plots are drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "load", "save"]

FOLDER = Path(__file__).parents[1] / "build" / "bench"


def save(name: str, figures: Any) -> None:
    """Keep them in place of those of the last time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def load(name: str) -> Any:
    """What was kept; None where nothing was measured."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
