"""Who works beside whom: jobs in company, or a suspect alone, so that poison is known by whom it kills.

The law of this file: while a suspect is at work, no other job of this process holds a claim, and none is taken. That it
is alone is recorded before it begins, and that it is alone no longer before anybody joins it: a death is counted
against a job only where no other can have caused it. The others wait for bounded times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from subscriber.drain import Drain
from subscriber.errors import Interrupted
from subscriber.lease import ClaimKeeper, HeldClaim
from subscriber.log import get_logger

__all__ = ["Solitude"]

QUIET_SECONDS = 60.0
"""How long the jobs that are in work may go on. Most have ended by then; the others resume from their paid chunks."""

INTERRUPTED_SECONDS = 420.0
"""How long a suspect waits for those that were interrupted: a request of 30 s of sound is given 360 s."""

LONGEST_ALONE_SECONDS = 900.0
"""After so long a suspect gets company, however far it is: as long as a job may go without any progress."""

ANOTHER = "another job has to be alone in this process"


class Solitude:
    """Thread-safe; one process has one."""

    def __init__(self, claims: ClaimKeeper, drain: Drain) -> None:
        self._claims = claims
        self._drain = drain
        self._changed = threading.Condition()
        drain.wakes(self._changed)
        self._working = 0
        self._suspect: HeldClaim | None = None
        self._waiting = False
        self._log = get_logger()

    @property
    def closed(self) -> bool:
        """Whether a suspect is alone or waits for it: nothing else may be begun."""
        suspect = self._suspect
        return suspect is not None and (self._waiting or suspect.alone_until > 0)

    @contextmanager
    def company(self) -> Iterator[None]:
        """Work on a job beside others. Raises Interrupted where that may not be now."""
        with self._changed:
            if self.closed:
                raise Interrupted(ANOTHER)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextmanager
    def if_suspect(self, held: HeldClaim) -> Iterator[None]:
        """Within `company`: leave it, if this job is a suspect. Raises Interrupted, ClaimLost, NeighbourDown."""
        if not held.claim.suspect:
            yield
            return
        with self._changed:
            if self.closed:
                raise Interrupted(ANOTHER)
            self._suspect, self._waiting = held, True
        try:
            self._wait_until_alone(held)
            self._log.warning("working_alone", longest_seconds=LONGEST_ALONE_SECONDS)
            yield
        finally:
            with self._changed:
                if self._suspect is held:
                    self._suspect, self._waiting = None, False

    def _wait_until_alone(self, held: HeldClaim) -> None:
        """Return when nobody else is at work, and that is recorded."""
        if not self._quiet(QUIET_SECONDS):
            for other in self._claims.held():
                if other is not held:
                    other.interrupt(ANOTHER)
            if not self._quiet(INTERRUPTED_SECONDS):
                raise Interrupted("the other jobs in this process do not come to an end")
        held.alone_until = time.monotonic() + LONGEST_ALONE_SECONDS
        self._claims.renew(held)
        self._waiting = False

    def _quiet(self, within_seconds: float) -> bool:
        """Wait until the suspect is the only one; False when that takes too long. Raises Interrupted in a drain."""
        with self._changed:
            self._changed.wait_for(lambda: self._working == 1 or self._drain.draining, within_seconds)
            if self._drain.draining:
                raise Interrupted("draining")
            return self._working == 1
