"""How many files and connections the process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

__all__ = ["allow_many"]

MANY = 65_536


def allow_many() -> None:
    """Raise our own limit as far as we may: a shell's usual 1,024 are fewer than the connections of 256 slots.

    Each of MAX_JOBS threads may keep a connection to Cloud Storage, and libcurl has three descriptors for one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS takes fewer than it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MANY)), hard))
