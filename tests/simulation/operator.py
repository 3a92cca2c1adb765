"""Somebody at a desk who has dead jobs done again, as soon as he hears of them: `subscriber replay`."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from subscriber.desk.reopening import decide_reopening
from subscriber.model import Job, Record, State
from tests.simulation.clockwork import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Operator"]

SOON_SECONDS = 1.0
"""While the pod that recorded the end still tells of it."""


class Operator:
    """`patience`: how many more deaths he does not put up with; `to_come`: what he has yet to do."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._host = Host("the operator")
        # His own chance: a history in which nothing dies is what it is without him.
        self._chance = Random(f"operator {seed}")  # noqa: S311 - it must come again
        self.patience = self._chance.choice((0, 0, 1, 2))
        self.to_come = 0

    def hears(self, job: Job, record: Record) -> None:
        """Of every commit."""
        if record.state is State.DEAD and self.patience:
            self.patience -= 1
            self.to_come += 1
            self._world.clock.after(self._chance.uniform(0.0, SOON_SECONDS), partial(self._replay, job))

    def _replay(self, job: Job) -> None:
        self.to_come -= 1
        database = self._world.database
        found = database.read(job)
        decide = partial(decide_reopening, job=job, nonce=f"operator {found.number}", salt="")
        if written := decide(found.record, found.read_at).write:
            database.commit(job, found, written, self._host, decide)
            self._world.notify(job)
