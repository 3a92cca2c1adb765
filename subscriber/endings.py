"""The ways to end other than with a transcript, and the one line that each attempt leaves in the log."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from subscriber.backoff import backoff_seconds
from subscriber.decisions import decide_end, decide_release, decide_retry, recorded_outcome
from subscriber.drain import Drain
from subscriber.errors import ClaimLost, Interrupted, NeighbourDown, NotForUs, Permanent, Superseded, Transient
from subscriber.lease import HeldClaim
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import Claim, Delivery, Ending, Outcome, Reason, State
from subscriber.outputs import OutputLocation, write_error
from subscriber.ports import Ledger, Objects

__all__ = ["Endings", "RetryPolicy"]

WARNED = {Outcome.FAILED, Outcome.REJECTED, Outcome.EXHAUSTED, Outcome.EXPIRED, Outcome.LOST}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """MAX_ATTEMPTS and the backoff between them, in seconds."""

    max_attempts: int
    min_seconds: float
    max_seconds: float

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after failed attempt number `attempt`."""
        chance = random.random()  # noqa: S311 - jitter
        return backoff_seconds(attempt, self.min_seconds, self.max_seconds, chance)


class Endings:
    """Each method records one way of ending and answers what the delivery is settled by."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        objects: Objects,
        location: OutputLocation,
        retry: RetryPolicy,
        drain: Drain,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._objects = objects
        self._location = location
        self._retry = retry
        self._drain = drain
        self._metrics = metrics
        self._log = get_logger()

    def of_claim(self, held: HeldClaim, error: Exception) -> Ending:
        """Record why the work under a claim stopped. Raises ClaimLost, Interrupted or Transient if it cannot."""
        try:
            match error:
                case ClaimLost():
                    raise error
                case Permanent():
                    return self._bury(held, error)
                case Interrupted() | NeighbourDown():
                    return self._release(held.claim, str(error))
                case Transient():
                    return self._retry_later(held, error)
            self._log.error("unexpected_error", exc_info=error)
            return self._retry_later(held, Transient("unexpected", f"{type(error).__name__}: {error}"))
        finally:
            _forget_where(error)

    def without_transcript(self, claim: Claim, state: State, message: str, kind: str = "") -> Ending:
        """Record that the job is settled: dead or skipped (with its kind), gone or superseded."""
        reason = Reason(kind or str(state), message, datetime.now(UTC))
        decide = partial(decide_end, claim=claim, state=state, reason=reason)
        record = self._ledger.transact(claim.job, decide)
        return Ending(recorded_outcome(record), reason.kind, message, record=record, claim=claim)

    def unwanted(self, claim: Claim, error: NotForUs) -> Ending:
        """Record that the object itself says that it asks nothing of us."""
        self._metrics.ignored.labels(error.reason).inc()
        return self.without_transcript(claim, State.SKIPPED, str(error), error.reason)

    def of_delivery(self, error: Exception) -> Ending:
        """Why a delivery ends that has no claim (any more) to record it under."""
        try:
            match error:
                case NotForUs():
                    self._metrics.ignored.labels(error.reason).inc()
                    return Ending(Outcome.IGNORED, error.reason, str(error))
                case ClaimLost():
                    return Ending(Outcome.LOST, "claim_lost", str(error))
                case Interrupted() | NeighbourDown():
                    return self._interrupted(str(error))
                case Transient():
                    return Ending(Outcome.FAILED, error.reason, str(error), self._retry.wait_seconds(1))
            self._log.error("unexpected_error", exc_info=error)
            return Ending(Outcome.FAILED, "unexpected", f"{type(error).__name__}: {error}", self._retry.wait_seconds(1))
        finally:
            _forget_where(error)

    def report(self, ending: Ending, delivery: Delivery, took_seconds: float) -> None:
        """One line an attempt, and the figures of a job that this process settled."""
        claim, record = ending.claim, ending.record
        log = self._log.warning if ending.outcome in WARNED else self._log.info
        log(
            "attempt",
            outcome=str(ending.outcome),
            reason=ending.reason or None,
            error=ending.message or None,
            attempt=claim.attempt if claim else None,
            epoch=claim.epoch if claim else None,
            seconds=round(took_seconds, 3),
            retry_in_seconds=round(ending.retry_after_seconds, 1) or None,
            delivery_attempt=delivery.attempt or None,
        )
        self._metrics.book.see_ending(ending, delivery.message.id, took_seconds)
        if claim and record and record.state.final:
            self._metrics.jobs.labels(record.state, record.reason.kind if record.reason else "").inc()
            self._metrics.job_seconds.observe(took_seconds)
        if ending.outcome is Outcome.TRANSCRIBED:
            age = datetime.now(UTC) - delivery.message.published_at
            self._metrics.end_to_end_seconds.observe(age.total_seconds())
            self._metrics.last_success_timestamp_seconds.set_to_current_time()

    def _bury(self, held: HeldClaim, verdict: Permanent) -> Ending:
        """Dead: NAME.error.json first, as far as it can be written, then the record."""
        held.ensure()
        reason = Reason(verdict.reason, str(verdict), datetime.now(UTC))
        try:
            write_error(self._objects, self._location, held.claim, reason)
        except (Permanent, Superseded, Transient) as obstacle:
            self._log.warning("error_file_not_written", error=str(obstacle))
        return self.without_transcript(held.claim, State.DEAD, str(verdict), verdict.reason)

    def _retry_later(self, held: HeldClaim, failure: Transient) -> Ending:
        claim = held.claim
        if claim.attempt >= self._retry.max_attempts:
            last = f"{claim.attempt} attempts failed; the last: {failure.reason}: {failure}"
            return self._bury(held, Permanent("exhausted", last))
        wait = self._retry.wait_seconds(claim.attempt)
        reason = Reason(failure.reason, str(failure), datetime.now(UTC))
        self._ledger.transact(claim.job, partial(decide_retry, claim=claim, reason=reason, wait=wait))
        return Ending(Outcome.FAILED, failure.reason, str(failure), wait, claim=claim)

    def _release(self, claim: Claim, why: str) -> Ending:
        """Let another worker have the job, free of charge: the claim is given up before the message is."""
        self._ledger.transact(claim.job, partial(decide_release, claim=claim, why=why))
        return self._interrupted(why, claim)

    def _interrupted(self, why: str, claim: Claim | None = None) -> Ending:
        """At a shutdown another pod shall have the message at once; in a long outage at once would be a hot loop."""
        wait = 0.0 if self._drain.draining else self._retry.min_seconds
        return Ending(Outcome.INTERRUPTED, "interrupted", why, wait, claim=claim)


def _forget_where(error: BaseException | None) -> None:
    """Let go of what the functions held that an error came through: a request's sound, and the future with the error.

    That circle would stay until Python looks for garbage, for which it counts objects and not their bytes. Errors that
    led to one another may do so in a circle, too: what a future holds is raised anew while its consequence is handled.
    """
    if error and error.__traceback__:
        error.__traceback__ = None
        _forget_where(error.__cause__)
        _forget_where(error.__context__)
