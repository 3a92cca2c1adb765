"""Where in time a frame belongs. Pure: seconds in, seconds out.

The law of this file: timestamps are believed over counting samples, unless they say what cannot be.
"""

from __future__ import annotations

__all__ = ["GAP_SECONDS", "Timeline"]

GAP_SECONDS = 0.08
"""Less is how encoders round. A lost packet is shorter; several add up, and are filled when they reach this."""

LONGEST_GAP_SECONDS = 3600.0
"""Where no length is declared, a longer gap is a clock that was set, or one that ran over, and not silence."""


class Timeline:
    """Follows a track's clock. `origin`: where the container begins; `declared`: how long it says it is, in seconds."""

    def __init__(self, origin: float, declared: float | None) -> None:
        self._clock = origin
        self._end = None if declared is None else origin + declared

    def place(self, at: float | None, seconds: float) -> float:
        """Return how far the timestamp `at` is from where sound ended: > 0 a gap, < 0 a jump back, 0 neither."""
        step = 0.0 if at is None else at - self._clock
        if abs(step) <= GAP_SECONDS:
            step = 0.0
        self._clock += step + seconds
        return step

    def believes(self, gap: float) -> bool:
        """Whether the gap just reported may be real: what follows it lies within the declared length."""
        if self._end is None:
            return gap <= LONGEST_GAP_SECONDS
        return self._clock <= self._end + 1
