"""How long to wait before trying again. Pure: chance is an argument."""

from __future__ import annotations

__all__ = ["backoff_seconds"]


def backoff_seconds(attempt: int, shortest: float, longest: float, chance: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); `chance` is a random number in [0, 1).

    Doubling from `shortest`, capped at `longest`, the upper half of it random: "equal jitter" of Marc Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The cap on the exponent only avoids overflow.
    """
    ceiling = min(longest, shortest * 2.0 ** min(attempt - 1, 30))
    return ceiling * (0.5 + 0.5 * chance)
