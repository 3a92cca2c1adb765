"""Pull, run, drain: takes only what there is room for, gives every job a thread, and ends in the written order.

The law of this file: nothing is taken without a place for it. A pull asks for the places that are free, and the places
stay reserved while it is on the wire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from functools import partial

from subscriber.crew import Crew
from subscriber.decisions import decide_release
from subscriber.drain import RESERVE_SECONDS, Drain
from subscriber.errors import NeighbourDown, SubscriberError
from subscriber.lease import ClaimKeeper, HeldClaim, LeaseKeeper
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Ending, Outcome
from subscriber.outage import Outages
from subscriber.pipeline import Pipeline
from subscriber.ports import Ledger, Source
from subscriber.registry import Registry
from subscriber.settlement import Settler
from subscriber.solitude import Solitude

__all__ = ["Worker"]

TURN_SECONDS = 1.0
"""How long the pull loop waits for a place before it looks whether a parked job's time has come."""

GATHER_SECONDS = 0.02
"""How long a pull waits for more places where few are free: under load they get free one by one, and a pull and a lease
for each would be two calls more a job. By default no slot idles for it: there are twice as many places."""

PROBE_EVERY_SECONDS = 5.0
"""Between two probes of a neighbour that is down; with a probe's own 15 s never more than 20."""

LIVE_SECONDS = 120.0
"""A pull loop that took no turn for so long is dead: an empty pull and a probe take a tenth of it."""


class Worker:
    """The pull loop in a thread of its own, and one more thread a job in work."""

    def __init__(
        self,
        *,
        source: Source,
        ledger: Ledger,
        pipeline: Pipeline,
        leases: LeaseKeeper,
        claims: ClaimKeeper,
        registry: Registry,
        solitude: Solitude,
        settler: Settler,
        outages: Outages,
        drain: Drain,
        metrics: Metrics,
        max_jobs: int,
        prepare: Callable[[], bool],
        on_finished: Callable[[], None],
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._pipeline = pipeline
        self._leases = leases
        self._claims = claims
        self._registry = registry
        self._solitude = solitude
        self._settler = settler
        self._outages = outages
        self._drain = drain
        self._metrics = metrics
        self._max_jobs = max_jobs
        self._prepare = prepare
        self._on_finished = on_finished
        self._in_work: set[object] = set()
        self._crew = Crew("job")
        self._changed = threading.Condition()
        drain.wakes(self._changed)
        self._last_turn = time.monotonic()
        self._thread = threading.Thread(target=self._pull_loop, name="pull", daemon=True)
        self._log = get_logger()
        metrics.jobs_limit.set(max_jobs)

    def start(self) -> None:
        """Begin to pull, if `prepare` says so."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether the pull loop takes its turns, however long the jobs take."""
        return self._thread.is_alive() and time.monotonic() - self._last_turn < LIVE_SECONDS

    def drain(self, on_drained: Callable[[], None]) -> None:
        """Stop in the written order, within the drain's grace, in a thread: the caller listens for a second signal."""
        threading.Thread(target=self._drain_in_order, args=(on_drained,), name="drain", daemon=True).start()

    # The pull loop.

    def _pull_loop(self) -> None:
        ready = self._prepare()
        while ready and not (self._drain.draining or self._ended()):
            self._last_turn = time.monotonic()
            try:
                self._turn()
            except NeighbourDown as error:
                self._outages.suspect(error)
            except Exception:  # noqa: BLE001 - a pull loop that dies would strand the subscription
                self._log.exception("pull_turn_failed")
                self._drain.wait(TURN_SECONDS)
        self._on_finished()

    def _turn(self) -> None:
        if self._outages.paused:
            self._outages.probe()
            self._drain.wait(PROBE_EVERY_SECONDS if self._outages.paused else 0)
        elif self._free_places() and (woken := self._registry.wake()):
            job, delivery = woken
            self._start(delivery, partial(self._pipeline.work, job))
        elif (room := self._room()) and (room := self._gathered(room)):
            self._take(self._source.pull(room))
        else:
            with self._changed:
                self._changed.wait(TURN_SECONDS)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Lease what came, in the same breath; start it, or hand it back if a drain has begun meanwhile."""
        new = self._leases.hold(deliveries)
        if self._drain.draining:
            self._settler.settle(new, Ending(Outcome.INTERRUPTED, "draining"))
            return
        for delivery in new:
            self._metrics.see_delivery_attempt(delivery.attempt)
            age = datetime.now(UTC) - delivery.message.published_at
            self._metrics.see_age(max(0.0, age.total_seconds()))
            self._start(delivery, self._pipeline.handle)

    def _start(self, delivery: Delivery, do: Callable[[Delivery], None]) -> None:
        place = object()
        with self._changed:
            self._in_work.add(place)
            self._count()
        self._crew.run(partial(self._run, place, delivery, do))

    def _run(self, place: object, delivery: Delivery, do: Callable[[Delivery], None]) -> None:
        """Do it, and go on with a job that has waited for the place: the pull loop may be in a long poll."""
        try:
            self._do(delivery, do)
            while self._may_go_on() and (woken := self._registry.wake()):
                self._tell()
                job, leader = woken
                self._do(leader, partial(self._pipeline.work, job))
        finally:
            with self._changed:
                self._in_work.discard(place)
                self._tell()

    def _may_go_on(self) -> bool:
        return not (self._drain.draining or self._outages.paused or self._solitude.closed)

    def _do(self, delivery: Delivery, do: Callable[[Delivery], None]) -> None:
        try:
            do(delivery)
        except Exception:  # noqa: BLE001 - the message comes again when its lease ends
            self._log.exception("job_thread_failed")
            self._leases.take([delivery])

    def _tell(self) -> None:
        with self._changed:
            self._count()
            self._changed.notify_all()

    def _free_places(self) -> int:
        with self._changed:
            return 0 if self._solitude.closed else self._max_jobs - len(self._in_work)

    def _room(self) -> int:
        """How many deliveries may be taken now: each needs a place, and a place in the queue should it be large."""
        with self._changed:
            threads = len(self._in_work)
            return max(0, min(self._free_places(), self._registry.room(threads)))

    def _gathered(self, room: int) -> int:
        """The room for a pull that is worth its calls: where little is free, more is waited for a moment."""
        if room >= self._max_jobs // 8:
            return room
        return 0 if self._drain.wait(GATHER_SECONDS) else self._room()

    def _count(self) -> None:
        self._metrics.see_in_flight(len(self._in_work))
        self._metrics.jobs_parked.set(self._registry.waiting())

    def _ended(self) -> bool:
        """Whether the source has ended and nothing of it is in work: never so for a subscription."""
        return self._source.finished() and not self._in_work

    def _drain_in_order(self, on_drained: Callable[[], None]) -> None:
        try:
            self._let_waiting_go()
            self._wait_for_jobs(self._drain.seconds_for_work)
            self._release_claims()
            # The last pull comes back by itself; what it brings is handed back before it is worked on.
            self._thread.join(self._drain.remaining_seconds())
            self._settler.settle(self._leases.held(), Ending(Outcome.INTERRUPTED, "draining"))
            # Others may have the jobs by now; an answer that is still on its way spares them its price.
            self._wait_for_jobs(self._drain.seconds_for_answers)
        except Exception:  # noqa: BLE001 - whatever happens, the process ends; leases and claims end by themselves
            self._log.exception("drain_failed")
        on_drained()

    def _let_waiting_go(self) -> None:
        """Another pod has their job, or may have it at once."""
        for deliveries in self._registry.finish_waiting():
            self._settler.settle(deliveries, Ending(Outcome.INTERRUPTED, "draining"))

    def _wait_for_jobs(self, seconds_left: Callable[[], float]) -> None:
        """Work goes on, leases are renewed; requests that could not return in time are not issued any more."""
        with self._changed:
            while self._in_work and (left := seconds_left()) > 0:
                self._changed.wait(left)

    def _release_claims(self) -> None:
        """Give up claims first, messages second, so that whoever gets the message gets the job."""
        if not (claims := self._claims.held()):
            return
        self._log.warning("released_unfinished", jobs=len(claims))
        pool = ThreadPoolExecutor(min(16, len(claims)))
        wait([pool.submit(self._release, held) for held in claims], timeout=RESERVE_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)

    def _release(self, held: HeldClaim) -> None:
        held.lost = True  # whatever its thread still does ends at its next step
        try:
            self._ledger.transact(held.claim.job, partial(decide_release, claim=held.claim, why="shutdown"))
        except SubscriberError as error:
            self._log.warning("release_failed", job=held.job_uri, error=str(error))
