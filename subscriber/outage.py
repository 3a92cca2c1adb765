"""Outages are pauses: when a neighbour is down, callers wait; nothing fails, nothing is paid, no attempt is counted.

The law of this file: a failing call is an outage only if the neighbour's probe fails too. A call that keeps failing
while the probe passes is that job's own failure. The pull loop probes while it is paused; there is no thread for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from subscriber.drain import Drain
from subscriber.errors import ConfigError, Interrupted, NeighbourDown, Transient
from subscriber.log import get_logger
from subscriber.metrics import Metrics

__all__ = ["Outage", "Outages"]

T = TypeVar("T")

LET_GO_SECONDS = 900.0
"""After so long a pause a waiting job lets its claim go, free of charge: another region's pod may be luckier."""

OWN_FAILURES = 3
"""How often a call may fail while its neighbour passes the probe before that is the job's own failure."""

OWN_REASON = {"whisper": "provider_error", "gcs": "storage_error", "firestore": "ledger_error", "pubsub": "unexpected"}


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a neighbour is thought to be down, and since how many seconds; `reason` is one of PAUSES."""

    neighbour: str
    reason: str
    message: str
    seconds: float


class Outages:
    """Who is down and since when. A probe raises NeighbourDown while its neighbour is away."""

    def __init__(self, probes: Mapping[str, Callable[[], None]], drain: Drain, metrics: Metrics) -> None:
        self._probes = probes
        self._drain = drain
        self._metrics = metrics
        self._down: dict[str, tuple[NeighbourDown, float]] = {}
        self._paused_at, self._paused_seconds = 0.0, 0.0
        self._changed = threading.Condition()
        drain.wakes(self._changed)
        self._probing = threading.Lock()
        self._log = get_logger()

    @property
    def paused(self) -> dict[str, str]:
        """Neighbour -> why it is thought to be down; empty when all is well."""
        return {one.neighbour: f"{one.reason}: {one.message}" for one in self.known()}

    def known(self) -> list[Outage]:
        """The outages that pause us."""
        with self._changed:
            now = time.monotonic()
            return [Outage(name, error.reason, str(error), now - since) for name, (error, since) in self._down.items()]

    def clock(self) -> float:
        """Seconds on a clock that stands still while any neighbour is down."""
        with self._changed:
            return (self._paused_at if self._down else time.monotonic()) - self._paused_seconds

    def ride(self, neighbour: str, call: Callable[[], T]) -> T:
        """Make a call that may be repeated, waiting out outages of its neighbour.

        Also those of another one that the call meets: a request to the provider may ask the ledger for its claim first.
        Raises Transient when the call fails while the neighbour is well, Interrupted in a drain or a long outage.
        """
        met, own_failures = neighbour, 0
        while own_failures < OWN_FAILURES:
            self._await(met)
            self._await(neighbour)
            try:
                return call()
            except NeighbourDown as error:
                met, failure = error.neighbour, error
                own_failures += met != "budget"  # money that another request took first is no failure of this one
                self.suspect(error)
        raise Transient(OWN_REASON[met], f"{met} is well, but not for this: {failure}") from failure

    def suspect(self, error: NeighbourDown) -> bool:
        """Probe the neighbour that seems to be down, and pause if it is; answers whether it is."""
        with self._probing:
            if error.neighbour in self._down:
                return True
            try:
                self._ask(error)
            except NeighbourDown as confirmed:
                self.pause(confirmed)
                return True
            return False

    def pause(self, error: NeighbourDown) -> None:
        """Stop for this neighbour until its probe passes."""
        with self._changed:
            if error.neighbour in self._down:
                return
            now = time.monotonic()
            self._paused_at = self._paused_at if self._down else now
            self._down[error.neighbour] = (error, now)
        self._metrics.provider_paused.labels(error.reason).set(1)
        self._log.error("paused", neighbour=error.neighbour, reason=error.reason, error=str(error))

    def probe(self) -> None:
        """Ask every neighbour that is down whether it is back, and resume if so."""
        with self._changed:
            down = [error for error, _ in self._down.values()]
        for error in down:
            with self._probing:
                try:
                    self._ask(error)
                except NeighbourDown:
                    continue
                self._resume(error.neighbour)

    def _ask(self, error: NeighbourDown) -> None:
        """Raise NeighbourDown while the error lasts; what is misconfigured while we run is a pause, too."""
        try:
            (error.probe or self._probes[error.neighbour])()
        except ConfigError as mistake:
            raise NeighbourDown(error.neighbour, "forbidden", str(mistake), probe=error.probe) from mistake

    def _resume(self, neighbour: str) -> None:
        with self._changed:
            error, since = self._down.pop(neighbour)
            still = {other.reason for other, _ in self._down.values()}
            self._paused_seconds += 0.0 if self._down else time.monotonic() - self._paused_at
            self._changed.notify_all()
        if error.reason not in still:
            self._metrics.provider_paused.labels(error.reason).set(0)
        self._log.info("resumed", neighbour=neighbour, paused_seconds=round(time.monotonic() - since, 1))

    def _await(self, neighbour: str) -> None:
        """Return when the neighbour is not known to be down."""
        with self._changed:
            while neighbour in self._down:
                error, since = self._down[neighbour]
                patience = since + LET_GO_SECONDS - time.monotonic()
                if self._drain.draining or patience <= 0:
                    raise Interrupted(f"{neighbour} is down: {error}")
                self._changed.wait(patience)
