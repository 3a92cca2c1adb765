"""What lies between a pod and its neighbours: delay, losses on the way there and on the way back, cuts, outages.

The law of this file: a request that has arrived happens, whatever has become of whoever sent it. A stopped or killed
pod has its last requests on the wire, and they count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from subscriber.errors import NeighbourDown, SubscriberError
from tests.simulation.clockwork import Host, Thread

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["NoAnswer", "Wire"]

T = TypeVar("T")

CALL_SECONDS = 5.0
"""How long a client waits for an answer; what is slower happens all the same."""


SPARED_CALLS = 4
"""After one bad call so many are good: a call, its probe, and both once more."""


class NoAnswer(NeighbourDown):
    """The request may have happened, for all that its sender knows."""


class Wire:
    """Calls happen at most once; whether, nobody knows who gets no answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.losses = 0.0
        """Share of the calls of which either the request or the answer is lost."""
        self.slow = 0.0
        """Share of the calls that take seconds."""
        self.out: dict[str, float] = {}
        """Neighbour -> until when it is away."""
        self.cut: dict[tuple[Host, str], float] = {}
        """Pod and neighbour -> until when they do not hear of each other."""
        self.troubled_at: dict[tuple[Host, str], float] = defaultdict(lambda: float("-inf"))
        """When a pod last met trouble with a neighbour."""
        self._spared: dict[tuple[Thread, str], int] = defaultdict(int)

    def call(
        self, neighbour: str, effect: Callable[[], T], patience: float = CALL_SECONDS, takes_seconds: float = 0.0
    ) -> T:
        """Have `effect` happen over there, and wait for its answer. Raises NeighbourDown, and what `effect` raises."""
        clock, chance = self._world.clock, self._world.chance
        if not clock.now:
            return effect()  # the first pods start well, as they mostly do
        me = clock.me()
        self._world.called(me.host, neighbour)
        me = clock.me()  # it may just have been killed
        if self._away(me.host, neighbour):
            clock.wait(0.05)
            self._note_trouble(me, neighbour)
            raise NeighbourDown(neighbour, "unavailable", "connection refused")
        there, back = chance.uniform(0.005, 0.05), takes_seconds + chance.uniform(0.005, 0.05)
        may_fail = self._may_fail(me, neighbour)
        if chance.random() < self.slow:
            self.troubled_at[me.host, neighbour] = clock.now + CALL_SECONDS
            there = chance.uniform(0.5, 1.6 * CALL_SECONDS if may_fail else 0.9 * CALL_SECONDS)
        lost = chance.random() < self.losses and may_fail
        if not (lost and chance.random() < 0.5):
            word_goes_back = not lost
            clock.after(there, partial(self._arrive, me, me.ticket, neighbour, effect, back, word_goes_back))
        answer = clock.wait(min(patience, 0.2) if lost else patience)
        if answer is None:
            self._note_trouble(me, neighbour)
            raise NoAnswer(neighbour, "unavailable", "no answer")
        result, error = answer
        if error:
            raise error
        return cast("T", result)

    def trouble(self, host: Host, neighbour: str, within_seconds: float) -> bool:
        """Whether this pod lately could not rely on this neighbour."""
        return self._world.clock.now - self.troubled_at[host, neighbour] <= within_seconds

    def _arrive(  # noqa: PLR0917 - a request and its way back
        self, sender: Thread, ticket: int, neighbour: str, effect: Callable[[], object], back: float, answered: bool
    ) -> None:
        result: object = None
        error: SubscriberError | None = None
        try:
            result = effect()
        except SubscriberError as raised:
            error = raised
        if answered and not self._away(sender.host, neighbour):
            self._world.clock.wake(sender, ticket, (result, error), back)
        else:
            self.troubled_at[sender.host, neighbour] = self._world.clock.now

    def _away(self, host: Host, neighbour: str) -> bool:
        until = max(self.out.get(neighbour, 0.0), self.cut.get((host, neighbour), 0.0))
        return self._world.clock.now < until

    def _may_fail(self, me: Thread, neighbour: str) -> bool:
        """Three failures in a row while the neighbour is well are a job's own failure, and none of ours to cause."""
        self._spared[me, neighbour] -= 1
        return self._spared[me, neighbour] < 0

    def _note_trouble(self, me: Thread, neighbour: str) -> None:
        self.troubled_at[me.host, neighbour] = self._world.clock.now
        self._spared[me, neighbour] = SPARED_CALLS
