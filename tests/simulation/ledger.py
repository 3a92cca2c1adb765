"""The ledger as Firestore is: one record a job, a clock of its own, commits that fail if the record has changed.

The transactions are those of `adapters/firestore.py`: two calls, or one that ends a claim which was not renewed;
everything is tried again until a deadline, also a commit whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from subscriber.decisions import Decide
from subscriber.errors import ClaimLost, NeighbourDown
from subscriber.model import Job, Record, State
from tests.simulation.clockwork import Host
from tests.simulation.threads import at

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Database", "PodsLedger"]

T = TypeVar("T")

DEADLINE_SECONDS = 15.0
BACKOFF_SECONDS = 0.5


class _Aborted(NeighbourDown):
    def __init__(self) -> None:
        super().__init__("firestore", "unavailable", "another transaction was first")


class Version(NamedTuple):
    """A record as it was read, and when."""

    number: int
    record: Record | None
    read_at: datetime


class Database:
    """All records; `commits` numbers their changes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.records: dict[Job, Record] = {}
        self._numbers: dict[Job, int] = {}

    def read(self, job: Job) -> Version:
        """The record, by the database's own clock."""
        return Version(self._numbers.get(job, 0), self.records.get(job), at(self._world.clock.now))

    def commit(self, job: Job, found: Version, record: Record, by: Host, decide: Decide[Any]) -> Version:
        """Write, unless somebody wrote since the read."""
        if self._numbers.get(job, 0) != found.number:
            raise _Aborted
        self._world.watch.committed(by, found.record, record, decide)
        self.records[job] = record
        self._numbers[job] = found.number + 1
        self._world.operator.hears(job, record)
        return self.read(job)


class PodsLedger:
    """`ports.Ledger` as one pod reaches it."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host
        self._known: dict[Job, tuple[Version, float]] = {}

    def check(self) -> None:
        self._call(lambda: None)

    def transact(self, job: Job, decide: Decide[T]) -> T:
        self._world.watch.transacts(self._host, decide)
        clock, ours = self._world.clock, _OwnCommit()
        ends_at = clock.now + DEADLINE_SECONDS
        while True:
            try:
                return self._once(job, decide, ours)
            except NeighbourDown as error:
                if clock.now + BACKOFF_SECONDS > ends_at:
                    raise NeighbourDown("firestore", "unavailable", str(error)) from error
                clock.wait(BACKOFF_SECONDS)

    def _once(self, job: Job, decide: Decide[T], ours: _OwnCommit) -> T:
        database, clock = self._world.database, self._world.clock
        if known := self._known.pop(job, None):
            claimed, answered_at = known
            guess = decide(claimed.record, claimed.read_at + timedelta(seconds=clock.now - answered_at))
            if guess.write and guess.write.state is not State.CLAIMED:
                self._call(
                    partial(ours.commit, partial(database.commit, job, claimed, guess.write, self._host, decide))
                )
                return guess.answer
        found = self._call(partial(database.read, job))
        try:
            verdict = decide(found.record, found.read_at)
        except ClaimLost as lost:
            self._answered(found, ours, lost)
            raise
        self._answered(found, ours, verdict.answer)
        if verdict.write:
            self._call(partial(ours.commit, partial(database.commit, job, found, verdict.write, self._host, decide)))
            if verdict.write.state is State.CLAIMED and (not found.record or found.record.nonce != verdict.write.nonce):
                self._known[job] = Version(ours.number, verdict.write, ours.at), clock.now
        return verdict.answer

    def _answered(self, found: Version, ours: _OwnCommit, answer: object) -> None:
        if found.number and found.number == ours.number:
            self._world.watch.asked_again(self._host, found.record, answer)

    def _call(self, effect: Callable[[], T]) -> T:
        return self._world.wire.call("firestore", effect)


class _OwnCommit:
    """The number of the change that this call made, as soon as it is made, heard of or not."""

    number = 0
    at: datetime

    def commit(self, effect: Callable[[], Version]) -> None:
        self.number, _, self.at = effect()
