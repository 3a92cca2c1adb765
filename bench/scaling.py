"""How the daemon's figures grow: jobs a second with slots and daemons, memory and CPU with length and backlog.

Each law is the power of a size that fits best; what grows with the 0th power does not grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bench.contenders import DAEMON
from bench.family import Family, MemoryWatch
from bench.figures import exponent
from bench.race import CHUNKS_A_MINUTE, Load, run, warm_up
from bench.recordings import MP3, long_recording, short_recording
from bench.store import save
from bench.table import Row, Table
from bench.track import Sound, Track, track

__all__ = ["COST", "SPEED", "Point", "backlog", "compared", "daemons", "lengths", "slots"]

SLOTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROUNDS = 10
LATENCY = 2.0
CALM = 32
"""Up to so many slots the two cores are not the limit."""

DAEMONS = (1, 2, 3, 4)
SLOTS_EACH = 16

MINUTES = (1, 10, 60, 180, 360)
LENGTH_SLOTS, LENGTH_LATENCY = 8, 0.2

BACKLOGS = (10, 100, 1000, 10_000, 100_000)
BACKLOG_SLOTS = 32
BACKLOG_SECONDS = 20.0
BACKLOG_OBJECTS = 600
"""More than are begun in that time. The messages behind them name objects that are not there, and are not reached."""


class Point(NamedTuple):
    """What one size came to: CPU in ms a job, memory as PSS in MB; `limit` is how many jobs a second there can be."""

    size: float
    jobs_a_second: float
    cpu_ms: float
    pss: float
    limit: float
    finished: bool = True


Columns = Mapping[str, Callable[[Point], str]]

SPEED: Columns = {
    "jobs/s": lambda one: f"{one.jobs_a_second:.2f}",
    "of the limit": lambda one: f"{one.jobs_a_second / one.limit:.2f}",
}
COST: Columns = {
    "CPU ms a job": lambda one: f"{one.cpu_ms:.1f}",
    "PSS MB": lambda one: f"{one.pss:.0f}",
}
LENGTH: Columns = {
    "seconds": lambda one: f"{1 / one.jobs_a_second:.1f}",
    "x realtime": lambda one: f"{60 * one.size * one.jobs_a_second:.0f}",
    "CPU seconds": lambda one: f"{one.cpu_ms / 1000:.2f}",
    "CPU ms a minute of sound": lambda one: f"{one.cpu_ms / one.size:.0f}",
    "PSS MB": lambda one: f"{one.pss:.0f}",
}


def slots() -> Iterator[Row | Table]:
    """One daemon, answers in 2 s: the limit is half of the slots a second."""
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(max(SLOTS) * ROUNDS))
        warm_up(place)
        points = [_point(place, Load(count, LATENCY, inbox, sounds[: count * ROUNDS]), count) for count in SLOTS]
    calm, busy = ([point for point in points if (point.size <= CALM) is few] for few in (True, False))
    yield _law(f"jobs/s with slots, up to {CALM}", calm, "jobs_a_second")
    yield _law(f"jobs/s with slots, above {CALM}", busy, "jobs_a_second")
    yield _law("memory with slots", points, "pss")
    title = f"One daemon, answers in {LATENCY:.0f} s, {ROUNDS} rounds of jobs"
    yield _told("slots", title, "slots", points, {**SPEED, **COST})


def daemons() -> Iterator[Row | Table]:
    """Several daemons on one subscription and one machine."""
    with track() as place:
        jobs = max(DAEMONS) * SLOTS_EACH * ROUNDS
        inbox, sounds = place.upload(short_recording(number) for number in range(jobs))
        warm_up(place)
        points = [
            _point(place, Load(SLOTS_EACH, LATENCY, inbox, sounds[: count * SLOTS_EACH * ROUNDS]), count, times=count)
            for count in DAEMONS
        ]
    yield _law("jobs/s with daemons", points, "jobs_a_second")
    title = f"Daemons of {SLOTS_EACH} slots, answers in {LATENCY:.0f} s, {ROUNDS} rounds of jobs; memory of all"
    yield _told("daemons", title, "daemons", points, {**SPEED, **COST})


def lengths() -> Iterator[Row | Table]:
    """One MP3 by itself, from a minute to six hours; memory.py has more of it."""
    points = []
    with track() as place:
        warm_up(place)
        for minutes in MINUTES:
            inbox, sounds = place.upload([long_recording(MP3, 60 * minutes, seed=minutes)], ".mp3")
            load = Load(LENGTH_SLOTS, LENGTH_LATENCY, inbox, sounds, requests_each=CHUNKS_A_MINUTE * minutes)
            points.append(_point(place, load, minutes))
    yield _law("memory with the length of an MP3", points, "pss")
    yield _law("CPU with the length of an MP3", points, "cpu_ms")
    title = f"One MP3 by itself, {LENGTH_SLOTS} slots, answers in {LENGTH_LATENCY} s"
    yield _told("lengths", title, "minutes", points, LENGTH)


def backlog() -> Iterator[Row | Table]:
    """The same work before ever more messages that wait."""
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(BACKLOG_OBJECTS))
        load = Load(BACKLOG_SLOTS, LATENCY, inbox, sounds)
        warm_up(place)
        points = [_behind(place, load, size) for size in BACKLOGS]
    full = [point for point in points if point.size >= BACKLOG_OBJECTS]
    yield _law("memory with the backlog", points, "pss")
    yield _law(f"CPU a job with the backlog, {full[0].size:.0f} and more", full, "cpu_ms")
    yield _law(f"jobs/s with the backlog, {full[0].size:.0f} and more", full, "jobs_a_second")
    title = f"{BACKLOG_SLOTS} slots, answers in {LATENCY:.0f} s: the first {BACKLOG_SECONDS:.0f} s"
    yield _told("backlog", title, "messages", points, {**SPEED, **COST})


def _behind(place: Track, load: Load, size: int) -> Point:
    """What is done in a while, or until there is no more."""
    place.stub.restart(load.latency)
    waiting = [*load.sounds[:size], *(Sound(f"later-{number}", 1, 1) for number in range(size - len(load.sounds)))]
    with place.lane(load.inbox, load.slots) as lane, ExitStack() as stack:
        lane.subscribe(DAEMON.ack_deadline_seconds)
        lane.publish(lane.messages(waiting, DAEMON.message))
        family = Family([DAEMON.start(lane, stack).pid])
        with MemoryWatch(family) as memory:
            cpu, began = family.cpu_seconds(), time.monotonic()
            while (seconds := time.monotonic() - began) < BACKLOG_SECONDS and place.stub.counts().answered < size:
                time.sleep(0.1)
            cpu, done = family.cpu_seconds() - cpu, place.stub.counts().answered
    return Point(size, done / seconds, 1000 * cpu / max(done, 1), memory.most.pss, load.slots / load.latency)


def _point(place: Track, load: Load, size: int, times: int = 1) -> Point:
    one = run(place, DAEMON, load, times=times)
    limit = times * load.slots / load.latency / load.requests_each
    return Point(size, one.jobs_a_second, one.cpu_ms, one.pss, limit, finished=one.done == one.jobs)


def _law(what: str, points: Sequence[Point], figure: str) -> Row:
    ended = [point for point in points if point.finished]
    if len(ended) < 2:
        return Row(what, "no power: fewer than two sizes came to their end in time")
    power = exponent([point.size for point in ended], [getattr(point, figure) for point in ended])
    return Row(f"{what}: grows with the power of", f"{power:.2f}")


def _told(name: str, title: str, size: str, points: Sequence[Point], columns: Columns) -> Table:
    save(name, points)
    return compared(title, size, points, columns)


def compared(title: str, size: str, points: Sequence[Point], columns: Columns) -> Table:
    """A line a size; one that did not come to its end in time has no figures, and the title says so."""
    lines = [(f"{one.size:,.0f}", *(told(one) if one.finished else "" for told in columns.values())) for one in points]
    unfinished = ", ".join(f"{one.size:,.0f}" for one in points if not one.finished)
    return Table(f"{title}; not done in time: {unfinished}" if unfinished else title, (size, *columns), lines)
