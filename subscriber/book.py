"""What the last hour was like and what ended lately: of this process alone, in memory, bounded, for whoever looks.

The law of this file: whoever tells something pays for a lock and an addition; all else is done when somebody asks. No
thread is behind it: minutes in which nothing was told are filled in when they are read.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from subscriber.model import Ending, Job, Outcome, State

__all__ = ["KEPT", "MINUTES", "Book", "Ended", "Minute"]

MINUTES = 60
"""As many are kept."""

KEPT = 20
"""So many endings of either kind are kept: a screen or two on a phone."""

MESSAGE_LIMIT = 300
"""Characters of a message that are kept. The ledger has more of it: see `explain`."""

_MINUTE_SECONDS = 60
_DAY_SECONDS = 86_400


@dataclass(slots=True)
class Minute:
    """One minute of Unix time. Jobs `done` and `dead`, attempts `failed` that are made again, the most jobs in flight.

    `audio_seconds` is the length of what was done, `cost_usd` that of all answers, in US dollars.
    """

    number: int
    in_flight: int = 0
    done: int = 0
    dead: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One attempt that ended. `job` is None where an attempt failed before it had a claim."""

    job: Job | None
    message_id: str
    outcome: Outcome
    reason: str
    message: str
    at: datetime
    took_seconds: float
    attempt: int | None
    next_attempt_at: datetime | None
    audio_seconds: float | None
    cost_usd: float | None


class Book:
    """Thread-safe. `clock` gives Unix time; set back, it adds to the last minute until it is there again."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes = deque([Minute(int(clock() // _MINUTE_SECONDS))], maxlen=MINUTES)
        self._in_flight = 0
        self._finished: deque[Ended] = deque(maxlen=KEPT)
        self._failed: deque[Ended] = deque(maxlen=KEPT)
        self._day, self._today_usd = int(clock() // _DAY_SECONDS), 0.0
        self._arrival: tuple[datetime, float] | None = None
        self.began_at = self._now()

    # What it is told.

    def see_in_flight(self, jobs: int) -> None:
        """So many jobs are in work from now on."""
        with self._lock:
            minute = self._present()
            self._in_flight = jobs
            minute.in_flight = max(minute.in_flight, jobs)

    def see_cost(self, usd: float) -> None:
        """An answer has cost so much."""
        with self._lock:
            self._turn_day()
            self._today_usd += usd
            self._present().cost_usd += usd

    def see_arrival(self, age_seconds: float) -> None:
        """A message has arrived, so long after its publication."""
        with self._lock:
            self._arrival = self._now(), age_seconds

    def see_ending(self, ending: Ending, message_id: str, took_seconds: float) -> None:
        """An attempt has ended. Only what this process settled, or failed at, is kept."""
        settled = ending.record.state if ending.claim and ending.record and ending.record.state.final else None
        failed = ending.outcome is Outcome.FAILED
        if not settled and not failed:
            return
        entry = self._entry(ending, message_id, took_seconds)
        with self._lock:
            (self._failed if failed or settled is State.DEAD else self._finished).appendleft(entry)
            minute = self._present()
            minute.failed += failed
            minute.dead += settled is State.DEAD
            if settled is State.DONE:
                minute.done += 1
                minute.audio_seconds += entry.audio_seconds or 0.0

    # What it is asked.

    def hour(self) -> list[Minute]:
        """The last minutes, the present one last; those before our start are empty."""
        with self._lock:
            self._present()
            kept = [replace(minute) for minute in self._minutes]
        return [Minute(kept[0].number - ahead) for ahead in range(MINUTES - len(kept), 0, -1)] + kept

    def finished(self) -> Sequence[Ended]:
        """Jobs that were done or needed no transcript, the last one first."""
        with self._lock:
            return tuple(self._finished)

    def failed(self) -> Sequence[Ended]:
        """Jobs that are dead and attempts that failed, the last one first."""
        with self._lock:
            return tuple(self._failed)

    def today(self) -> tuple[float, datetime]:
        """What answers have cost, in US dollars, since midnight UTC or our start, and which of the two that is."""
        with self._lock:
            self._turn_day()
            return self._today_usd, max(self.began_at, datetime.fromtimestamp(self._day * _DAY_SECONDS, UTC))

    def last_arrival(self) -> tuple[datetime, float] | None:
        """When a message last arrived, and how long after its publication in seconds."""
        with self._lock:
            return self._arrival

    def _entry(self, ending: Ending, message_id: str, took_seconds: float) -> Ended:
        at, record = self._now(), ending.record
        return Ended(
            job=ending.claim.job if ending.claim else None,
            message_id=message_id,
            outcome=ending.outcome,
            reason=ending.reason,
            message=ending.message[:MESSAGE_LIMIT],
            at=at,
            took_seconds=took_seconds,
            attempt=ending.claim.attempt if ending.claim else None,
            next_attempt_at=at + timedelta(seconds=ending.retry_after_seconds) if ending.retry_after_seconds else None,
            audio_seconds=record.audio_seconds if record else None,
            cost_usd=record.cost_usd if record else None,
        )

    def _present(self) -> Minute:
        """The jobs in flight last into every minute until they change."""
        number = int(self._clock() // _MINUTE_SECONDS)
        first = max(self._minutes[-1].number + 1, number - MINUTES + 1)
        self._minutes.extend(Minute(each, self._in_flight) for each in range(first, number + 1))
        return self._minutes[-1]

    def _turn_day(self) -> None:
        day = int(self._clock() // _DAY_SECONDS)
        if day > self._day:
            self._day, self._today_usd = day, 0.0

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
