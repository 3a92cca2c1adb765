"""`python -m tests.chaos.soak` (`make soak`): a steady load with a fault now and then, and nothing may grow.

Figures are of the daemon and all its processes. Those that count are taken at rest: once after a fifth of the time,
when all that is made once has been made, and once at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from subscriber.emulators import emulators
from subscriber.model import State
from subscriber.whisper_server import Control, Server, StubEngine
from tests.chaos.troupe import LEASE_SECONDS, Troupe
from tests.daemon import Daemon, until
from tests.process.scenes import silent_for
from tests.sound import wav
from tests.world import World, fresh, new_world

__all__ = ["Figures", "grown"]

LATENCY_SECONDS = 0.3
UPLOAD_EVERY_SECONDS = 1.0
CROWD = 24
"""Uploads at once before all others, four times as many as there are places: no outage lets so many gather, so each
pool of connections is as full before the first rest as it ever gets."""
FAULT_EVERY = 10
"""Uploads; every third fault takes a neighbour away."""
AWAY_SECONDS = 2.0
FAULTS = ("server_error", "rate_limit", "html", "drop")

SETTLED_SECONDS = 300.0
AT_REST = 2
"""Processes: the daemon and its decoders' nursery."""
SPARE_MB, SPARE_SHARE = 15.0, 0.15
"""What memory may differ by from rest to rest: allocators and caches are never twice the same."""
SPARE_FILES = 6
"""Connections come and go."""
SPARE_THREADS = 16
"""Pools of a fixed size fill as they are needed: eight threads renew claims, six ask the provider. One that is lost
with each job or fault is more within two minutes."""


@dataclass(frozen=True)
class Figures:
    """Of all processes together; `leases` are the deliveries that are held, in work or parked.

    `own_mb` is memory that no file stands behind. PSS counts libraries too, in shares with all else that runs Python on
    the machine: when others ended it was 20 MB more from one row to the next.
    """

    pss_mb: float
    own_mb: float
    processes: int
    threads: int
    files: int
    leases: int

    def __str__(self) -> str:
        """One row of the table."""
        memory = f"{self.pss_mb:8.0f} {self.own_mb:8.0f}"
        return f"{memory} {self.processes:10} {self.threads:8} {self.files:6} {self.leases:7}"


HEADING = "seconds  uploads   PSS MB   own MB  processes  threads  files  leases"


def grown(before: Figures, after: Figures) -> list[str]:
    """What is not flat from one rest to another."""
    limits = {
        "own_mb": before.own_mb * (1 + SPARE_SHARE) + SPARE_MB,
        "processes": before.processes,
        "threads": before.threads + SPARE_THREADS,
        "files": before.files + SPARE_FILES,
        "leases": 0,
    }
    reached = {name: getattr(after, name) for name in limits}
    return [f"{name}: {reached[name]:.0f} > {limit:.0f}" for name, limit in limits.items() if reached[name] > limit]


class Soak:
    """One daemon, the load on it, and what was seen."""

    def __init__(self, world: World, troupe: Troupe, control: Control) -> None:
        self._world, self._troupe, self._control = world, troupe, control
        self._chance = random.Random(1)  # noqa: S311 - no secret
        self._began = time.monotonic()
        self._cut_until: dict[str, float] = {}
        self.uploads = 0

    @property
    def daemon(self) -> Daemon:
        """The only one."""
        return self._troupe.daemons[0]

    def crowd(self) -> None:
        """Upload so many at once."""
        for _ in range(CROWD):
            self._upload()

    def load(self, seconds: float, say_every_seconds: float) -> None:
        """Upload at a steady pace for so long."""
        ends_at = time.monotonic() + seconds
        said_at = 0.0
        while time.monotonic() < ends_at:
            next_at = time.monotonic() + UPLOAD_EVERY_SECONDS
            self._upload()
            if time.monotonic() > said_at + say_every_seconds:
                said_at = time.monotonic()
                self.say()
            until(lambda at=next_at: time.monotonic() >= at, "the next second")  # type: ignore[misc]
            self._bring_back(time.monotonic())

    def rest(self) -> Figures:
        """What is held when all is done, with every record as it should be."""
        self._bring_back(float("inf"))
        until(self._settled, "every upload is settled", SETTLED_SECONDS)
        until(lambda: not self._leases(), "nothing is held", SETTLED_SECONDS)
        until(lambda: len(self._processes()) == AT_REST, "no decoder waits for a file any more", SETTLED_SECONDS)
        return self.say()

    def say(self) -> Figures:
        """One row."""
        seen = self._figures()
        print(f"{time.monotonic() - self._began:7.0f} {self.uploads:8} {seen}", flush=True)
        return seen

    def states(self) -> Counter[str]:
        """How many records are in which state."""
        return Counter(str(one["state"]) for one in self._world.records().values())

    def _upload(self) -> None:
        """Mostly a second; every tenth has several chunks, every seventh is notified twice."""
        self.uploads += 1
        name = f"{self.uploads}.wav"
        generation = self._world.upload(name, wav(name, 25.0 if self.uploads % 10 == 0 else 1.0))
        if self.uploads % 7 == 0:
            self._world.publish_again(self._world.notification(name, generation))
        if self.uploads % FAULT_EVERY == 0:
            self._spoil()

    def _spoil(self) -> None:
        if self.uploads % (3 * FAULT_EVERY):
            self._control.fault(self._chance.choice(FAULTS), retry_after=1)
            return
        name = self._chance.choice(list(self._troupe.valves))
        self._troupe.valves[name].cut()
        self._cut_until[name] = time.monotonic() + AWAY_SECONDS

    def _bring_back(self, now: float) -> None:
        for name in [name for name, end in self._cut_until.items() if end <= now]:
            del self._cut_until[name]
            self._troupe.valves[name].open()

    def _settled(self) -> bool:
        found = self.states()
        return sum(found.values()) == self.uploads and all(State(state).final for state in found)

    def _leases(self) -> int:
        return int(self.daemon.metrics("jobs_in_flight") + self.daemon.metrics("jobs_parked"))

    def _processes(self) -> list[psutil.Process]:
        daemon = psutil.Process(self.daemon.pid)
        return [daemon, *daemon.children(recursive=True)]

    def _figures(self) -> Figures:
        seen = list(self._seen())
        return Figures(
            pss_mb=sum(memory.pss for memory, _, _ in seen) / 1e6,
            own_mb=sum(memory.rss - memory.shared for memory, _, _ in seen) / 1e6,
            processes=len(seen),
            threads=sum(threads for _, threads, _ in seen),
            files=sum(files for _, _, files in seen),
            leases=self._leases(),
        )

    def _seen(self) -> Iterator[tuple[Any, int, int]]:
        """Memory, threads and files of each process; decoders at work may end while we look."""
        for one in self._processes():
            with suppress(psutil.NoSuchProcess):
                yield one.memory_full_info(), one.num_threads(), one.num_fds()


def soak(world: World, provider: Server, seconds: float) -> list[str]:
    """Do it; what is not as it should be."""
    with Troupe(world, provider, 1) as troupe:
        soaking = Soak(world, troupe, Control(provider.url))
        soaking.daemon.ready()
        print(HEADING)
        every = max(5.0, seconds / 20)
        soaking.crowd()
        soaking.load(seconds / 5, every)
        before = soaking.rest()
        soaking.load(seconds * 4 / 5, every)
        after = soaking.rest()
        wrong = grown(before, after)
        if (states := soaking.states()) != {"done": soaking.uploads}:
            wrong.append(f"records: {dict(states)}")
        if not silent_for(world.queue, LEASE_SECONDS + 2.0):
            wrong.append("the subscription is not empty")
        soaking.daemon.term()
        if code := soaking.daemon.exit_code():
            wrong.append(f"exit code {code}")
        return wrong


def main() -> int:
    """Print the table and the verdict; 1 unless all is flat."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    with (
        emulators(os.environ, project=fresh("soak")) as servers,
        Server(StubEngine(LATENCY_SECONDS), control=True) as provider,
        new_world(servers, LEASE_SECONDS) as world,
    ):
        wrong = soak(world, provider, seconds)
    print("not as promised:", "; ".join(wrong) or "nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
