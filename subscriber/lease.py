"""The two keepers: one renews leases with Pub/Sub, one renews claims in the ledger.

The law of this file: a keeper survives any exception, and the time of its last success can be asked. A lost lease does
not end a job, because only the claim is exclusive; a lost claim does, at the job's next step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Self

from subscriber.batches import batches, told
from subscriber.decisions import decide_renewal
from subscriber.errors import ClaimLost, Interrupted, Refused
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import Claim, Delivery, Progress
from subscriber.ports import Ledger, Source

__all__ = ["ClaimKeeper", "HeldClaim", "Keeper", "LeaseKeeper"]

RENEWALS_A_TERM = 3
"""A lease or claim is renewed at a third of its length: two renewals may fail before it ends."""

CLAIM_THREADS = 8
"""Renewals of claims at one time: 64 claims on a ledger that takes 2 s a call are still renewed within 16 s."""


LAST_TURN_SECONDS = 1.0
"""How long the end of a keeper waits for the turn that it is in: a call that hangs must not use up a pod's grace."""


class Keeper:
    """A thread that takes a turn every `every_seconds` until its `with` block ends, whatever a turn raises."""

    def __init__(self, kind: str, every_seconds: float, metrics: Metrics) -> None:
        self._kind = kind
        self._every_seconds = every_seconds
        self._metrics = metrics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{kind}-keeper", daemon=True)
        self._last_turn = self._last_success = time.monotonic()
        self._log = get_logger()
        metrics.watch_staleness(kind, self.staleness_seconds)

    def __enter__(self) -> Self:
        self._last_turn = self._last_success = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(LAST_TURN_SECONDS)

    def turn(self) -> None:
        """Renew what is due."""
        raise NotImplementedError

    def staleness_seconds(self) -> float:
        """Seconds since the last success, or since there was last nothing to renew."""
        return time.monotonic() - self._last_success

    def alive(self) -> bool:
        """Whether the thread takes its turns: three missed ones are a death."""
        return self._thread.is_alive() and time.monotonic() - self._last_turn < 10 + 3 * self._every_seconds

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            self._last_turn = time.monotonic()
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - a keeper that dies would lose every lease in silence
                self._log.exception("keeper_turn_failed", keeper=self._kind)

    def _count(self, result: str, number: int = 1) -> None:
        self._metrics.lease_renewals.labels(self._kind, result).inc(number)


class LeaseKeeper(Keeper):
    """Holds deliveries: extended in the breath of the pull, then again at a third of the lease."""

    def __init__(self, source: Source, lease_seconds: int, metrics: Metrics) -> None:
        super().__init__("ack", lease_seconds / RENEWALS_A_TERM, metrics)
        self._source = source
        self._lease_seconds = lease_seconds
        self._held: dict[tuple[str, str], Delivery] = {}
        self._lock = threading.Lock()
        self._on_the_wire = threading.Lock()

    def hold(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Extend these at once and keep them leased; those of messages that were not held before.

        A message that arrives again while we hold it only brings its newer ack id. Its worker may defer it meanwhile:
        what is extended here is on the wire as a renewal is.
        """
        with self._on_the_wire:
            with self._lock:
                arrived = {delivery.key: delivery for delivery in deliveries}
                new = [delivery for key, delivery in arrived.items() if key not in self._held]
                self._held |= arrived
            self._extend(deliveries)
        return new

    def held(self) -> list[Delivery]:
        """Every delivery that is leased to us."""
        with self._lock:
            return list(self._held.values())

    def take(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Stop renewing these; the same with their newest ack ids."""
        with self._lock:
            return [self._held.pop(delivery.key, delivery) for delivery in deliveries]

    def defer(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        """Stop renewing and have Pub/Sub deliver again after `seconds` (0 to 600). Raises SubscriberError.

        Waits for a renewal on the wire: sent before, it could arrive after and hold the message for a whole lease.
        """
        taken = self.take(deliveries)
        with self._on_the_wire:
            for subscription, ack_ids in batches(taken):
                self._source.extend(subscription, ack_ids, seconds)

    def turn(self) -> None:
        """Renew every lease in batches."""
        with self._on_the_wire:
            self._extend(self.held())

    def _extend(self, deliveries: Iterable[Delivery]) -> None:
        ok = True
        for subscription, ack_ids in batches(deliveries):
            ok &= self._renew(subscription, ack_ids)
        if ok:
            self._last_success = time.monotonic()

    def _renew(self, subscription: str, ack_ids: Sequence[str]) -> bool:
        """Renew a batch; whether Pub/Sub has heard us, also where it refuses a malformed id."""
        heard = True
        for number, error in told(lambda ids: self._source.extend(subscription, ids, self._lease_seconds), ack_ids):
            if isinstance(error, Refused):
                self._log.error("lease_refused", error=str(error))
                self._count("refused")
            elif error:
                self._log.warning("lease_renewal_failed", leases=number, error=str(error))
                self._count("error", number)
                heard = False
            else:
                self._count("ok", number)
        return heard


class HeldClaim:
    """A claim that the keeper renews. Its end is counted on our own clock from before the renewal was sent.

    `stage` is what its job is at: for people.
    """

    def __init__(self, claim: Claim, asked_at: float, renew: Callable[[HeldClaim], None]) -> None:
        self.claim = claim
        self.began_at = self.renewed_at = asked_at
        self.stage = "open"
        self.progress = Progress()
        self.pin = claim.pin
        self.lost = False
        self.alone_until = 0.0  # on our own clock; 0 in company
        self._interrupted = ""
        self._renew = renew

    @property
    def job_uri(self) -> str:
        """Source object, for logs."""
        return self.claim.job.uri

    def ensure(self) -> None:
        """Return only while the claim is ours: past its end, ask the ledger before going on. Raises ClaimLost."""
        if not self.lost and time.monotonic() >= self.renewed_at + self.claim.claim_seconds:
            self._renew(self)
        if self.lost:
            raise ClaimLost(f"the claim on {self.job_uri} was taken over or given up")

    def before_request(self) -> None:
        """As `ensure`, before something is paid. Raises Interrupted as well, once somebody wants the job to end."""
        if self._interrupted:
            raise Interrupted(self._interrupted)
        self.ensure()

    def interrupt(self, why: str) -> None:
        """Have the job end at its next request, free of charge."""
        self._interrupted = why

    def stays_alone(self) -> bool:
        """Whether the job, if it is alone, has still to be: it got no further than any claim before."""
        return time.monotonic() < self.alone_until and self.progress.done <= self.claim.furthest_seconds


class ClaimKeeper(Keeper):
    """Renews claims in the ledger, with the job's progress riding along."""

    def __init__(self, ledger: Ledger, claim_seconds: float, metrics: Metrics) -> None:
        # Three turns a term, so that a renewal that failed is tried again long before the next third.
        super().__init__("claim", claim_seconds / RENEWALS_A_TERM / 3, metrics)
        self._term_seconds = claim_seconds / RENEWALS_A_TERM
        self._ledger = ledger
        self._held: dict[str, HeldClaim] = {}
        self._renewing: set[str] = set()
        self._pool = ThreadPoolExecutor(CLAIM_THREADS, thread_name_prefix="claim-renewal")

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def holding(self, claim: Claim, asked_at: float) -> Iterator[HeldClaim]:
        """Keep a claim that was asked for at `asked_at` (our monotonic clock) renewed while the block runs."""
        held = HeldClaim(claim, asked_at, self.renew)
        self._held[claim.nonce] = held
        try:
            yield held
        finally:
            self._held.pop(claim.nonce, None)

    def held(self) -> list[HeldClaim]:
        """The claims in work."""
        return list(self._held.values())

    def renew(self, held: HeldClaim) -> None:
        """Renew now. Raises ClaimLost, and NeighbourDown.

        `held.lost` is set afterwards if it was taken from us, or if we have ended it ourselves: that is no news.
        """
        asked_at, alone = time.monotonic(), held.stays_alone()
        decide = partial(decide_renewal, claim=held.claim, progress=held.progress, pin=held.pin, alone=alone)
        try:
            ours = self._ledger.transact(held.claim.job, decide)
        except ClaimLost:
            held.lost = True
            self._count("lost")
            raise
        if not ours:
            held.lost = True
            return
        held.renewed_at = asked_at
        if not alone:
            held.alone_until = 0.0  # recorded before anybody joins it, so that it does not answer for their deaths
        self._count("ok")

    def staleness_seconds(self) -> float:
        """Seconds since the last success of the claim that has waited longest for one; 0 without claims."""
        now = time.monotonic()
        return now - min((held.renewed_at for held in self.held() if not held.lost), default=now)

    def turn(self) -> None:
        """Hand every claim that is due to the pool, the one that ends first first."""
        now = time.monotonic()
        claims = sorted(self.held(), key=lambda held: held.renewed_at)
        due = [held for held in claims if not held.lost and now - held.renewed_at >= self._term_seconds]
        for held in due:
            if held.claim.nonce not in self._renewing:
                self._renewing.add(held.claim.nonce)
                self._pool.submit(self._renew_quietly, held)

    def _renew_quietly(self, held: HeldClaim) -> None:
        try:
            if held.claim.nonce in self._held:
                self.renew(held)
        except ClaimLost as lost:
            self._log.warning("claim_lost", job=held.job_uri, error=str(lost))
        except Exception as error:  # noqa: BLE001 - the next turn tries again, whatever this was
            self._count("error")
            self._log.warning("claim_renewal_failed", job=held.job_uri, error=str(error))
        finally:
            self._renewing.discard(held.claim.nonce)
