"""Which bucket a folder of recordings is for an OUTBOX: the first one is `inbox`, others get names of their own.

The law of this file: two files are never taken for one. A `talk.mp3` of another folder must not replace the transcript
of the first, so OUTBOX remembers whose files it holds, and the second one meets `output_collision`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from subscriber.beneath import locked, move, opened, synced
from subscriber.errors import ConfigError

__all__ = ["INBOX", "bucket_of"]

INBOX = "inbox"
CORNER, LIST = ".subscriber", "inboxes.json"


def bucket_of(inbox: Path, outbox: Path) -> str:
    """The name of the bucket that `inbox` stands for. Raises ConfigError, OSError."""
    real = os.fsencode(os.path.realpath(inbox)).decode(errors="backslashreplace")
    with locked(outbox, CORNER, "lock"):
        known = _known(outbox)
        if real not in known:
            known.append(real)
            new = synced(outbox / CORNER / "new", json.dumps(known, ensure_ascii=False, indent=1).encode())
            move(new, outbox, CORNER, LIST)
    number = known.index(real)
    return f"{INBOX}-{number + 1}" if number else INBOX


def _known(outbox: Path) -> list[str]:
    try:
        with opened(outbox, CORNER, LIST) as file:
            return [str(path) for path in json.load(file)]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ConfigError("OUTBOX", f"{outbox / CORNER / LIST} cannot be read: {error}") from error
