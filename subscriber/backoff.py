"""How long to wait before trying again. Pure but for the clock that a date is compared with: chance is an argument."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["DEFAULT_WAIT_SECONDS", "LONGEST_WAIT_SECONDS", "backoff_seconds", "retry_after_seconds"]

DEFAULT_WAIT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0
"""How long a 429 without Retry-After closes the gate, and how long at most one with it may."""


def backoff_seconds(attempt: int, shortest: float, longest: float, chance: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); `chance` is a random number in [0, 1).

    Doubling from `shortest`, capped at `longest`, the upper half of it random: "equal jitter" of Marc Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The cap on the exponent only avoids overflow.
    """
    ceiling = min(longest, shortest * 2.0 ** min(attempt - 1, 30))
    return ceiling * (0.5 + 0.5 * chance)


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Seconds to wait: from `retry-after-ms`, or `retry-after` in seconds or as a date.

    No wait at all, or one that is over by our clock, would be a hot loop of every slot: the default counts instead.
    """
    try:
        if millis := headers.get("retry-after-ms"):
            seconds = float(millis) / 1000
        else:
            seconds = _seconds_until(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        seconds = 0.0
    return min(seconds, LONGEST_WAIT_SECONDS) if math.isfinite(seconds) and seconds > 0 else DEFAULT_WAIT_SECONDS


def _seconds_until(said: str) -> float:
    """Raises ValueError or OverflowError for what is neither a number nor a date."""
    try:
        return float(said)
    except ValueError:
        date = parsedate_to_datetime(said)
        # HTTP's dates are in GMT; one that does not name its zone comes without.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
