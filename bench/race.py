"""Contenders on the same objects in turns, A B A B, from the first message published to the last transcript written.

`python -m bench.race --slots 8 --latency 0.2 --jobs 320 --runs 3 --only daemon,streaming` runs one race by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.contenders import CONTENDERS, Contender
from bench.family import Family, MemoryWatch
from bench.figures import ideal_seconds, percentile
from bench.recordings import short_recording
from bench.table import Table, spread
from bench.track import Lane, Sound, Track, track
from subscriber.emulators import Emulators

__all__ = ["CHUNKS_A_MINUTE", "Load", "Run", "compared", "race", "run", "turns", "warm_up"]

SETTLED_SECONDS = 1.0
"""From a contender's word that it is ready until it surely waits for messages; and for its last acks."""

LOOK_EVERY_SECONDS = 0.2
CHUNKS_A_MINUTE = 3
"""That the daemon makes of a long recording, about."""

WARM_UPS, WARM_UP_JOBS, WARM_UP_SLOTS = 3, 400, 16


@dataclass(frozen=True)
class Load:
    """What there is to do: `sounds` in `inbox`, answers in `latency` seconds; Google's services are at `servers`.

    `requests_each`: about so many does the daemon make of a sound.
    """

    slots: int
    latency: float
    inbox: str
    sounds: Sequence[Sound]
    servers: Emulators | None = None
    requests_each: int = 1

    @property
    def patience_seconds(self) -> float:
        """Six times the ideal, and a minute: who needs more is told as unfinished."""
        return 60 + 6 * ideal_seconds(len(self.sounds) * self.requests_each, self.slots, self.latency)


@dataclass(frozen=True)
class Run:
    """What one run came to. Seconds and MB; CPU in ms a job; `waits` from publishing to the transcript, sorted."""

    contender: str
    jobs: int
    done: int
    seconds: float
    ideal_seconds: float
    cpu_ms: float
    servers_cpu_ms: dict[str, float]
    rss: float
    pss: float
    waits: tuple[float, ...]
    requests: int
    paid_twice: int
    most_in_flight: int

    @property
    def jobs_a_second(self) -> float:
        """Of those that were done."""
        return self.done / self.seconds

    @property
    def share(self) -> float:
        """Of the limit, which is the ideal makespan of the requests that this contender needs once."""
        return self.ideal_seconds / self.seconds


def run(
    track: Track,
    contender: Contender,
    load: Load,
    *,
    times: int = 1,
    ready: Callable[[], None] = lambda: None,
) -> Run:
    """One contender, once, on a lane of its own; `times` of it share the lane.

    `ready` is called just before the first message is published.
    """
    track.stub.restart(load.latency)
    with track.lane(load.inbox, load.slots, load.servers) as lane, contender.racing(lane, times) as programs:
        family = Family(program.pid for program in programs)
        time.sleep(SETTLED_SECONDS)
        messages = lane.messages(load.sounds, contender.message)
        ready()
        with MemoryWatch(family) as memory:
            cpu, servers_cpu = family.cpu_seconds(), _servers_cpu(track)
            began = datetime.now(UTC)
            lane.publish(messages)
            _finish(track, lane, contender, load)
            time.sleep(SETTLED_SECONDS)
            cpu = family.cpu_seconds() - cpu
            servers_cpu = {name: used - servers_cpu[name] for name, used in _servers_cpu(track).items()}
        written, counts = lane.written(load.sounds, contender.ending), track.stub.counts()
    waits = sorted((at - began).total_seconds() for at in written.values())
    done = len(waits)
    return Run(
        contender=contender.name,
        jobs=len(load.sounds),
        done=done,
        seconds=waits[-1] if done == len(load.sounds) else load.patience_seconds,
        ideal_seconds=ideal_seconds(counts.distinct, load.slots * times, load.latency),
        cpu_ms=1000 * cpu / max(done, 1),
        servers_cpu_ms={name: 1000 * used / max(done, 1) for name, used in servers_cpu.items()},
        rss=memory.most.rss,
        pss=memory.most.pss,
        waits=tuple(waits),
        requests=counts.received,
        paid_twice=counts.paid_twice,
        most_in_flight=counts.most_in_flight,
    )


def _servers_cpu(track: Track) -> dict[str, float]:
    return {name: family.cpu_seconds() for name, family in track.families.items()}


def _finish(track: Track, lane: Lane, contender: Contender, load: Load) -> None:
    """Wait for the last transcript. A look at the stub costs nearly nothing, one at the bucket many ms."""
    deadline = time.monotonic() + load.patience_seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
        answered = track.stub.counts().answered >= len(load.sounds)
        if answered and len(lane.written(load.sounds, contender.ending)) >= len(load.sounds):
            return


def turns(track: Track, names: Sequence[str], load: Load, runs: int) -> list[Run]:
    """Each contender once, and then again, so that a disturbance meets all of them."""
    done = []
    for _ in range(runs):
        for name in names:
            done.append(run(track, CONTENDERS[name], load))
            print(f"{datetime.now(UTC):%H:%M:%S} {_told(done[-1])}", file=sys.stderr, flush=True)
    return done


def warm_up(track: Track) -> None:
    """The emulators' JVMs compile what they are asked for; until then they take ten times as long."""
    inbox, sounds = track.upload(short_recording(number) for number in range(WARM_UP_JOBS))
    for _ in range(WARM_UPS):
        run(track, CONTENDERS["daemon"], Load(WARM_UP_SLOTS, 0.0, inbox, sounds))


def _told(one: Run) -> str:
    servers = ", ".join(f"{name} {used:.1f}" for name, used in one.servers_cpu_ms.items())
    return (
        f"{one.contender}: {one.done} of {one.jobs} in {one.seconds:.2f} s, {one.share:.3f} of the limit, "
        f"{one.cpu_ms:.1f} ms CPU a job ({servers}), {one.pss:.0f} MB, {one.requests} requests"
    )


HEAD = (
    "contender",
    "jobs/s",
    "of the limit",
    "CPU ms a job",
    "servers' CPU ms",
    "RSS MB",
    "PSS MB",
    "to transcript p50 s",
    "p99 s",
    "requests",
    "paid twice",
    "most at once",
)


def compared(title: str, runs: Sequence[Run]) -> Table:
    """A line a contender; each figure as median (least to most) over its runs."""
    names = dict.fromkeys(one.contender for one in runs)
    return Table(title, HEAD, [_line(name, [one for one in runs if one.contender == name]) for name in names])


def _line(name: str, runs: Sequence[Run]) -> tuple[str, ...]:
    unfinished = [f"{one.done} of {one.jobs} done" for one in runs if one.done < one.jobs]
    return (
        f"{name} ({', '.join(unfinished)})" if unfinished else name,
        spread([one.jobs_a_second for one in runs]),
        spread([one.share for one in runs], "{:.2f}"),
        spread([one.cpu_ms for one in runs]),
        spread([sum(one.servers_cpu_ms.values()) for one in runs]),
        spread([one.rss for one in runs], "{:.0f}"),
        spread([one.pss for one in runs], "{:.0f}"),
        spread([percentile(one.waits, 0.5) for one in runs if one.waits], "{:.2f}"),
        spread([percentile(one.waits, 0.99) for one in runs if one.waits], "{:.2f}"),
        spread([one.requests for one in runs], "{:.0f}"),
        spread([one.paid_twice for one in runs], "{:.0f}"),
        spread([one.most_in_flight for one in runs], "{:.0f}"),
    )


def race(slots: int, latency: float, jobs: int, runs: int, names: Sequence[str]) -> list[Run]:
    """On a track of its own, with files of 1 s."""
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(jobs))
        load = Load(slots, latency, inbox, sounds)
        warm_up(place)
        return turns(place, names, load, runs)


def main(arguments: Sequence[str]) -> Iterator[str]:
    """One race, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.race", description=__doc__)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--jobs", type=int, default=0, help="default: 40 rounds of the slots")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", default=",".join(CONTENDERS), help=f"of {', '.join(CONTENDERS)}")
    asked = parser.parse_args(arguments)
    jobs = asked.jobs or 40 * asked.slots
    runs = race(asked.slots, asked.latency, jobs, asked.runs, asked.only.split(","))
    yield str(compared(f"{asked.slots} slots, answers in {asked.latency:g} s, {jobs} files of 1 s", runs))


if __name__ == "__main__":
    print(*main(sys.argv[1:]))
