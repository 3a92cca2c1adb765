"""When a job stalls: the time of its own that has passed since it last got on.

The law of this file: a job's own time is that of its requests on the wire and of its decoder. Outages, the gate that a
429 has closed, the turns of other jobs and what another job asks for us are nobody's fault, and no length is one.
"""

from __future__ import annotations

from collections.abc import Callable

from subscriber.errors import Transient

__all__ = ["StallClock"]


class StallClock:
    """One job's, used by its thread only. `clock` counts seconds and stands still during outages."""

    def __init__(self, limit_seconds: float, clock: Callable[[], float]) -> None:
        self._limit_seconds = limit_seconds
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """The job got on: sound was decoded, or a chunk has its verdict."""
        self._own_seconds = 0.0
        self.forgive()

    def forgive(self) -> None:
        """What has passed since the last look was not the job's own time."""
        self._looked_at = self._clock()

    def charge(self) -> None:
        """What has passed since the last look was the job's own. Raises Transient (`stalled`) when it is too much."""
        before = self._looked_at
        self.forgive()
        self._own_seconds += self._looked_at - before
        if self._own_seconds > self._limit_seconds:
            raise Transient("stalled", f"no sound and no answer in {self._own_seconds:.0f} s of its own time")
