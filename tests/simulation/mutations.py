"""The code broken on purpose, one line or constant at a time, each with the promise that breaks with it.

A simulation that found nothing in these would prove nothing of the code as it is.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import Any, NamedTuple

from subscriber import decisions, endings, lease, outputs, pipeline, settlement, worker
from subscriber.decisions import Verdict, decide_claim, decide_release, decide_renewal
from subscriber.drain import Drain
from subscriber.errors import ClaimLost
from subscriber.lease import ClaimKeeper, Keeper, LeaseKeeper
from subscriber.model import Claim, Outcome, Record, State
from subscriber.registry import Registry
from subscriber.settlement import SETTLEMENT, Settlement
from subscriber.transcribe import asking
from subscriber.transcribe.asking import Asker
from subscriber.transcribe.cache import ChunkCache
from subscriber.transcribe.guards import judge
from subscriber.transcribe.pool import Lane, SlotPool
from subscriber.transcribe.profiles import profile_of
from subscriber.transcript import ChunkText
from tests.simulation.patches import replaced
from tests.simulation.subscription import POLL_SECONDS
from tests.simulation.threads import wall_time

__all__ = ["MUTATIONS", "Mutation"]


class Mutation(NamedTuple):
    """`what` is wrong, in words; `invariant` is the promise that it breaks; the rest is where and how."""

    what: str
    invariant: str
    places: tuple[tuple[Any, str], ...]
    broken: Any

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The code is broken while the block runs."""
        with replaced((owner, name, self.broken) for owner, name in self.places):
            yield


# Decisions


def _misreading(misread: Callable[[Record], Record]) -> Any:
    """A claim decided upon a record that is not quite what the ledger holds, unless it is one's own."""

    @wraps(decide_claim)
    def decide(record: Record | None, now: datetime, ask: Any) -> Any:
        foreign = record is not None and record.nonce != ask.nonce
        return decide_claim(misread(record) if record and foreign else record, now, ask)

    return decide


def _over_by_own_clock(found: Record) -> Record:
    return replace(found, claim_seconds=0.0) if wall_time() >= found.claim_ends_at else found


@wraps(decide_claim)
def _claim_without_nonce(record: Record | None, now: datetime, ask: Any) -> Any:
    return decide_claim(record and replace(record, nonce=""), now, ask)


@wraps(decide_claim)
def _claim_in_the_old_epoch(record: Record | None, now: datetime, ask: Any) -> Any:
    verdict = decide_claim(record, now, ask)
    if record and verdict.write and isinstance(verdict.answer, Claim):
        return Verdict(replace(verdict.answer, epoch=record.epoch), replace(verdict.write, epoch=record.epoch))
    return verdict


@wraps(decide_renewal)
def _renew_whatever_the_nonce(record: Record | None, now: datetime, claim: Any, **more: Any) -> Any:
    try:
        return decide_renewal(record, now, claim, **more)
    except ClaimLost:
        if record and record.state is State.CLAIMED:
            return Verdict(answer=True)
        raise


def _held_by_anybody(record: Record, claim: Any) -> Record:  # noqa: ARG001 - that is the point
    return record


@wraps(decide_release)
def _release_as_an_attempt(record: Record | None, now: datetime, claim: Any, why: str) -> Any:
    verdict = decide_release(record, now, claim, why)
    return Verdict(None, verdict.write and replace(verdict.write, attempts=verdict.write.attempts + 1))


# Messages


def _ack_before_completing(self: Any, held: Any, *more: Any) -> Any:
    deliveries = list(self._registry._entries[held.claim.job].deliveries.values())
    self._settler._acks.add(self._settler._leases.take(deliveries))
    return _write(self, held, *more)


_write = pipeline.Pipeline._write


def _do_nothing(*_: object, **__: object) -> None: ...


def _renew_after_the_end(self: Any, ledger: Any, claim_seconds: float, metrics: Any) -> None:
    _make_claim_keeper(self, ledger, claim_seconds, metrics)
    self._term_seconds = claim_seconds + POLL_SECONDS


_make_lease_keeper, _make_claim_keeper = LeaseKeeper.__init__, ClaimKeeper.__init__


def _renew_at_the_whole_lease(self: Any, source: Any, lease_seconds: int, metrics: Any) -> None:
    _make_lease_keeper(self, source, lease_seconds, metrics)
    self._every_seconds = float(lease_seconds)


def _all_the_grace(self: Drain) -> float:
    return self.remaining_seconds() + 6.0


# Outputs


def _look_at_nobodys_version(self: Any, name: str) -> Any:
    return self._objects.stat(self._location.bucket, name)


# Money and slots


def _use_before_storing(self: Any, key: str, question: Any, answer: Any) -> ChunkText:  # noqa: ARG001 - nothing is stored
    return judge(answer, question.span, prompt=None, profile=profile_of(question.model))


def _store_none_of(unwanted: Callable[[str, ChunkText], object]) -> Any:
    """Paid answers are kept, but for those of which it is true."""

    def put(self: Any, key: str, text: ChunkText, source_id: str = "") -> Any:
        return text if unwanted(key, text) else _put(self, key, text, source_id)

    return put


_put = ChunkCache.put


def _another_key_each_time(self: Any, question: Any) -> str:  # noqa: ARG001 - that is the point
    return str(uuid.uuid4())


def _as_if_all_slots_were_free(self: Any) -> Lane | None:
    waiting = (lane for lane in self._lanes if lane.waiting)
    return min(waiting, key=lambda lane: (lane.in_flight, lane.age), default=None)


def _the_oldest_job_first(self: Any) -> Lane | None:
    if self._in_flight >= self._slots:
        return None
    return min((lane for lane in self._lanes if lane.waiting), key=lambda lane: lane.age, default=None)


def _leave_the_gate_open(self: Any, lane: Any, task: Any, began: float, seconds: float) -> None:  # noqa: ARG001 - not waited
    _close_gate(self, lane, task, began, 0.0)


_close_gate = SlotPool._close_gate


MUTATIONS = (
    Mutation(
        "a renewal ignores nonce and epoch", "one believer", ((lease, "decide_renewal"),), _renew_whatever_the_nonce
    ),
    Mutation("nobody looks at nonce and epoch", "fence", ((decisions, "require_held"),), _held_by_anybody),
    Mutation(
        "a settled job is claimed again",
        "fence",
        ((pipeline, "decide_claim"),),
        _misreading(lambda found: replace(found, state=State.WAITING) if found.state.final else found),
    ),
    Mutation(
        "the message of a replay is settled with the end before it",
        "ack after end",
        ((settlement, "_came_after"),),
        lambda _, __: False,
    ),
    Mutation("a takeover keeps the epoch", "epochs grow", ((pipeline, "decide_claim"),), _claim_in_the_old_epoch),
    Mutation(
        "a release costs an attempt",
        "attempts",
        ((endings, "decide_release"), (worker, "decide_release")),
        _release_as_an_attempt,
    ),
    Mutation(
        "a takeover costs an attempt",
        "attempts",
        ((pipeline, "decide_claim"),),
        _misreading(lambda found: replace(found, attempts=found.attempts + (found.state is State.CLAIMED))),
    ),
    Mutation(
        "a claimer goes by its own clock", "no theft", ((pipeline, "decide_claim"),), _misreading(_over_by_own_clock)
    ),
    Mutation(
        "a claim is free for others at half its length",
        "no theft",
        ((pipeline, "decide_claim"),),
        _misreading(lambda found: replace(found, claim_seconds=found.claim_seconds / 2)),
    ),
    Mutation("a claimer does not know its nonce", "own commit", ((pipeline, "decide_claim"),), _claim_without_nonce),
    Mutation(
        "the ack comes before the record", "ack after end", ((pipeline.Pipeline, "_write"),), _ack_before_completing
    ),
    Mutation(
        "what was interrupted is acked",
        "ack after end",
        ((settlement, "SETTLEMENT"),),
        SETTLEMENT | {Outcome.INTERRUPTED: Settlement.ACK},
    ),
    Mutation("nobody is told", "told before ack", ((pipeline.Pipeline, "_announce"),), _do_nothing),
    Mutation(
        "outputs are not fenced", "newer outputs stay", ((outputs._Writer, "_replaceable"),), _look_at_nobodys_version
    ),
    Mutation(
        "the old JSON stays while its set is replaced", "complete set", ((outputs._Writer, "take_away"),), _do_nothing
    ),
    Mutation("an answer is used and not stored", "paid once", ((Asker, "_judge"),), _use_before_storing),
    Mutation(
        "a doubted answer is not stored",
        "paid once",
        ((ChunkCache, "put"),),
        _store_none_of(lambda _, text: text.doubted),
    ),
    Mutation(
        "a half's answer is not stored",
        "paid once",
        ((ChunkCache, "put"),),
        _store_none_of(lambda key, _: re.search(r"\d-\d+$", key)),
    ),
    Mutation("what waits long is not looked for again", "paid once", ((asking, "LOOK_AGAIN_SECONDS"),), math.inf),
    Mutation("a chunk has another key each time", "paid once", ((Asker, "_key"),), _another_key_each_time),
    Mutation("slots are not counted", "slots", ((SlotPool, "_fairest"),), _as_if_all_slots_were_free),
    Mutation("a 429 closes no gate", "gate", ((SlotPool, "_close_gate"),), _leave_the_gate_open),
    Mutation("the oldest job gets every slot", "fairness", ((SlotPool, "_fairest"),), _the_oldest_job_first),
    Mutation(
        "leases are renewed at their whole length",
        "lease kept",
        ((LeaseKeeper, "__init__"),),
        _renew_at_the_whole_lease,
    ),
    Mutation(
        "claims are renewed after their end",
        "claim kept",
        ((ClaimKeeper, "__init__"),),
        _renew_after_the_end,
    ),
    Mutation("claims are never renewed", "claim kept", ((ClaimKeeper, "turn"),), _do_nothing),
    Mutation("a pod goes on when it has drained", "drain", ((worker.Worker, "_drain_in_order"),), _do_nothing),
    Mutation(
        "a drain takes no thought of what a request takes", "drain", ((Drain, "seconds_for_work"),), _all_the_grace
    ),
    Mutation("what is parked never wakes", "all settles", ((Registry, "wake"),), _do_nothing),
    Mutation(
        "what fails is left to Pub/Sub without a word",
        "all settles",
        ((Keeper, "turn"), (LeaseKeeper, "take")),
        lambda *_: [],
    ),
)
"""At least one for each promise."""
