"""A history from its seed: what there is to do, and everything that goes wrong meanwhile.

Up to FAULTS_END_AT seconds anything may happen; from then on nothing does, and all must come to its end.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import NamedTuple

from tests.simulation.pod import stand_ins
from tests.simulation.promises import Violation
from tests.simulation.threads import installed
from tests.simulation.world import World

__all__ = ["History", "histories", "run"]

FAULTS_END_AT = 40.0
"""Longer than a claim."""

BUSY_SECONDS = 10.0
"""Within this time most of the work is done; what befalls an idle pod teaches little."""

PATIENCE_SECONDS = 600.0
"""How long all may take to settle after that."""

COLLECT_EVERY = 50
"""Histories that may lie about until their cycles are collected: some 25 MB."""

DOUBTFUL_SHARE = 0.3
"""Of the recordings, in which a chunk's first answer is no verdict."""

MOST_CALLS = {"firestore": 10, "gcs": 25, "pubsub": 10, "whisper": 8}
"""What befalls a pod at a call befalls it at one of its first so many."""

NEIGHBOURS = tuple(MOST_CALLS)


class History(NamedTuple):
    """What became of a seed."""

    seed: int
    violation: Violation | None
    seconds: float
    lines: list[str]


@contextmanager
def histories() -> Iterator[None]:
    """The place for histories: the daemon's modules live by the virtual clock while the block runs."""
    with installed(), stand_ins(), _no_collection():
        yield


def run(seed: int, *, telling: bool = False) -> History:
    """One history, to its end or to the first promise that is broken."""
    chance = Random(seed)  # noqa: S311 - it must come again
    world = World(seed, slots=chance.choice((1, 2, 3)), telling=telling)
    plan = _Plan(world, chance)
    try:
        while not (world.watch.found or plan.over()):
            world.clock.step()
            world.watch.look_at_claims()
        if not world.watch.found:
            world.watch.look_at_the_end()
    finally:
        world.clock.end()
        if seed % COLLECT_EVERY == 0:
            gc.collect()
    return History(seed, world.watch.found, world.clock.now, world.lines or [])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Cycles are collected between histories, not within: it is quicker, and no `__del__` comes by surprise."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class _Plan:
    """Draws what happens and when; everything is set before the first step."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._to_come = 0
        for name in "ABC"[: chance.choice((1, 1, 2, 2, 2, 2, 3))]:
            world.start_pod(name)
        for number in range(chance.choice((1, 1, 1, 1, 1, 2, 3))):
            self._plan_upload(f"{'abc'[number]}.wav", chance.choice((0.0, chance.uniform(0.0, 5.0))))
        for _ in range(chance.choice((0, 1, 1, 2, 3, 4))):
            chance.choice(self._faults())()
        self._spoil_the_wire()

    def over(self) -> bool:
        """Whether all has happened and is settled, or never will be."""
        world = self._world
        if world.clock.now > FAULTS_END_AT + PATIENCE_SECONDS:
            return True
        if self._to_come or world.operator.to_come or world.subscription.waiting:
            return False
        records = (world.database.records.get(job) for job in world.jobs)
        return all(record and record.state.final for record in records)

    def _faults(self) -> tuple[Callable[[], None], ...]:
        return (
            self._plan_kill,
            self._plan_sigterm,
            self._plan_freeze,
            self._plan_freeze,
            self._plan_cut,
            self._plan_outage,
            self._plan_repeat,
            self._plan_replacement,
            self._plan_deletion,
            self._plan_stranger,
            self._plan_bad_chunk,
            self._plan_rate_limits,
            self._plan_slow_answers,
        )

    # What happens at a time, or at some call of a pod: right before a commit, in the middle of the outputs.

    def _at(self, seconds: float, happens: Callable[[], object]) -> None:
        self._to_come += 1

        def happening() -> None:
            self._to_come -= 1
            happens()

        self._world.clock.after(seconds, happening)

    def _befalls(self, pod: str, happens: Callable[[], object]) -> None:
        if self._chance.random() < 0.5:
            self._at(self._time(), happens)
        else:
            neighbour = self._chance.choice(NEIGHBOURS)
            self._world.ambushes[pod, neighbour, self._chance.randint(2, MOST_CALLS[neighbour])] = happens

    def _time(self) -> float:
        return self._chance.uniform(0.2, BUSY_SECONDS)

    def _a_pod(self) -> str:
        return self._chance.choice(self._world.pods).host.name

    def _plan_upload(self, name: str, at: float) -> None:
        chunks, doubtful = self._chance.choice((1, 1, 2, 3)), self._chance.random() < DOUBTFUL_SHARE
        self._at(at, partial(self._world.upload, name, chunks, doubtful=doubtful))

    def _plan_kill(self) -> None:
        pod = self._a_pod()
        self._befalls(pod, partial(self._world.kill, pod))

    def _plan_sigterm(self) -> None:
        pod = self._a_pod()
        self._befalls(pod, partial(self._world.terminate, pod))

    def _plan_freeze(self) -> None:
        pod = self._a_pod()
        self._befalls(pod, partial(self._world.freeze, pod, self._chance.choice((2.0, 20.0, 32.0, 35.0, 50.0))))

    def _plan_cut(self) -> None:
        pod, neighbour = self._a_pod(), self._chance.choice(NEIGHBOURS)
        self._befalls(pod, partial(self._cut, pod, neighbour, self._chance.choice((3.0, 15.0, 35.0))))

    def _plan_outage(self) -> None:
        neighbour, seconds = self._chance.choice(NEIGHBOURS), self._chance.choice((1.0, 5.0, 25.0))
        self._at(self._time(), partial(self._outage, neighbour, seconds))

    def _plan_repeat(self) -> None:
        self._at(self._time(), lambda: self._world.notify(self._world.jobs[0]) if self._world.jobs else None)

    def _plan_replacement(self) -> None:
        self._plan_upload("a.wav", self._time())

    def _plan_deletion(self) -> None:
        self._at(self._time(), lambda: self._world.buckets.live.pop(("inbox", "a.wav"), None))

    def _plan_stranger(self) -> None:
        self._at(self._time(), lambda: self._world.subscription.publish({"eventType": "OBJECT_DELETE"}, None))

    def _plan_bad_chunk(self) -> None:
        """A chunk of the first upload fails some times, or each time, or is never answered, or is refused."""
        provider, name = self._world.provider, "a.wav"
        match self._chance.choice(("fails", "mute", "refused")):
            case "fails":
                provider.failing[name] = self._chance.choice((1, 3, 4, 1000))
            case "mute":
                provider.mute[name] = self._chance.choice((1, 2))
            case _:
                provider.refused.add(name)

    def _plan_rate_limits(self) -> None:
        self._world.provider.limited = 0.2

    def _plan_slow_answers(self) -> None:
        self._world.provider.takes = (20.0, 28.0)

    def _spoil_the_wire(self) -> None:
        world, chance = self._world, self._chance
        world.wire.losses = chance.choice((0.0, 0.0, 0.02, 0.1))
        world.wire.slow = chance.choice((0.0, 0.0, 0.02))
        world.subscription.repeats = chance.choice((0.0, 0.1))
        world.subscription.lost_acks = chance.choice((0.0, 0.1))
        world.clock.after(FAULTS_END_AT, self._calm_down)

    def _calm_down(self) -> None:
        world = self._world
        world.wire.losses = world.wire.slow = world.provider.limited = 0.0
        world.subscription.repeats = world.subscription.lost_acks = 0.0
        world.ambushes.clear()
        world.tell("nothing goes wrong any more")

    def _cut(self, pod: str, neighbour: str, seconds: float) -> None:
        self._world.tell(f"{pod} and {neighbour} do not hear of each other for {seconds:g} s")
        self._world.wire.cut[self._world.newest(pod).host, neighbour] = self._world.clock.now + seconds

    def _outage(self, neighbour: str, seconds: float) -> None:
        self._world.tell(f"{neighbour} is away for {seconds:g} s")
        self._world.wire.out[neighbour] = self._world.clock.now + seconds
