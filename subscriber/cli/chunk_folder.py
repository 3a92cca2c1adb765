"""Where `local FILE -` keeps the chunks that it was answered: a folder of the user's, because nothing else of it stays.

The law of this file: it is a cache. Whoever deletes it loses money at most, and where it cannot be had the work goes on
without it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from subscriber.log import get_logger

__all__ = ["KEPT_DAYS", "chunk_folder"]

KEPT_DAYS = 7
"""As long as the bucket's lifecycle rule keeps them: they are there for a second try, and hold what somebody said."""


def chunk_folder(environ: Mapping[str, str]) -> Path | None:
    """`$XDG_CACHE_HOME/subscriber`, without what is too old; None where it cannot be written."""
    try:
        folder = _home(environ) / "subscriber"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _forget_old(folder, time.time() - KEPT_DAYS * 86_400)
    except (OSError, RuntimeError) as error:  # no home at all is a RuntimeError
        get_logger().warning("chunks_not_kept", error=str(error))
        return None
    return folder


def _home(environ: Mapping[str, str]) -> Path:
    """By the XDG base directory specification, which ignores relative paths. Raises RuntimeError."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _forget_old(folder: Path, before: float) -> None:
    """Chunks and what is known of them; the lock's file stays."""
    for file in folder.rglob("*.json"):
        if file.stat().st_mtime < before:
            file.unlink(missing_ok=True)
