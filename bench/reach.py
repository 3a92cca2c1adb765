"""What a user feels beside speed: waits at light load, an idle program's cost, its start, its calls a job."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from bench.contenders import CONTENDERS, DAEMON, Contender
from bench.family import Family
from bench.figures import percentile
from bench.race import SETTLED_SECONDS, Load, run, warm_up
from bench.recordings import short_recording
from bench.store import save
from bench.table import Row, Table, spread
from bench.track import Track, track
from bench.wire import Seen, wire
from tests.daemon import until

__all__ = ["acks", "calls", "idle", "light", "start"]

SLOTS = 8
LATENCY = 0.2

LIGHT_JOBS = 100
LIGHT_EVERY_SECONDS = 0.5
CALLS_JOBS = 160
CALLS_LIGHT_JOBS = 40
ACKS_JOBS, ACKS_LIGHT_JOBS = 320, 60
IDLE_SECONDS = 60.0
IDLE_SETTLED_SECONDS = 5.0
COLD_STARTS, WARM_STARTS = 3, 7

KEPT_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""As an installed program has it: the first start writes what is missing, whatever this process was told."""


def light() -> Iterator[Row | Table]:
    """One job every half second: what is added to the provider's own latency."""
    lines = []
    with _loaded(LIGHT_JOBS) as (place, load):
        for name, contender in CONTENDERS.items():
            added = _added_ms(place, contender, load)
            p50, p99 = (percentile(added, share) for share in (0.5, 0.99))
            lines.append((contender.name, *(f"{one:.0f} ms" for one in (p50, p99, added[-1]))))
            save(f"light-{name}", added)
            if contender is DAEMON:
                yield Row("added latency at light load, p50", f"{p50:.0f} ms", "<= 80 ms", p50 <= 80)
                yield Row("added latency at light load, p99", f"{p99:.0f} ms", "<= 250 ms", p99 <= 250)
    often = f"A job every {LIGHT_EVERY_SECONDS} s, {LIGHT_JOBS} in all"
    title = f"{often}: from publishing to transcript, less Whisper's {LATENCY} s"
    yield Table(title, ("contender", "p50", "p99", "most"), lines)


def _added_ms(place: Track, contender: Contender, load: Load, ready: Callable[[], None] = lambda: None) -> list[float]:
    """Of each job, sorted."""
    place.stub.restart(load.latency)
    with place.lane(load.inbox, load.slots, load.servers) as lane, contender.racing(lane):
        time.sleep(SETTLED_SECONDS)
        ready()
        written = partial(lane.written, load.sounds, contender.ending)
        published = {}
        for sound in load.sounds:
            published[sound.name] = time.time()
            lane.publish(lane.messages([sound], contender.message))
            time.sleep(LIGHT_EVERY_SECONDS)
        until(lambda: len(written()) == len(load.sounds), "all are written", load.patience_seconds)
        time.sleep(SETTLED_SECONDS)
        found = written()
    return sorted(1000 * (at.timestamp() - published[name] - load.latency) for name, at in found.items())


def calls() -> Iterator[Row | Table]:
    """What a job asks of its neighbours, by name."""
    columns: dict[str, tuple[Seen, int]] = {}
    with _loaded(CALLS_JOBS) as (place, load):
        for contender in CONTENDERS.values():
            with wire(place.servers) as (servers, seen):
                run(place, contender, replace(load, servers=servers), ready=seen.reset)
            columns[contender.name] = seen, CALLS_JOBS
        with wire(place.servers) as (servers, seen):
            few = replace(load, servers=servers, sounds=load.sounds[:CALLS_LIGHT_JOBS])
            _added_ms(place, DAEMON, few, seen.reset)
        columns[f"{DAEMON.name}, a job every {LIGHT_EVERY_SECONDS} s"] = seen, CALLS_LIGHT_JOBS
    writes = columns[DAEMON.name][0].calls["documents written"] / CALLS_JOBS
    yield Row("Firestore documents written a short job", f"{writes:.2f}", "<= 2 plus renewals", writes <= 2.05)
    yield Table(f"Calls a job, {SLOTS} slots, answers in {LATENCY} s, {CALLS_JOBS} jobs", *_side_by_side(columns))


def _side_by_side(columns: dict[str, tuple[Seen, int]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines: a line a call."""
    totals = sum((seen.calls for seen, _ in columns.values()), Counter[str]())
    lines = [
        (name, *(f"{seen.calls[name] / jobs:.2f}" if seen.calls[name] else "" for seen, jobs in columns.values()))
        for name in sorted(totals)
    ]
    return ("call", *columns), lines


def acks() -> Iterator[Table]:
    """From publishing to the ack, as a relay before Pub/Sub sees it. A push has no ack but its answer."""
    lines = []
    with _loaded(ACKS_JOBS) as (place, load):
        for contender in (one for one in CONTENDERS.values() if not one.push):
            with wire(place.servers, pubsub_only=True) as (servers, busy):
                run(place, contender, replace(load, servers=servers))
            with wire(place.servers, pubsub_only=True) as (servers, calm):
                _added_ms(place, contender, replace(load, servers=servers, sounds=load.sounds[:ACKS_LIGHT_JOBS]))
            waits = [
                f"{percentile(list(seen.ack_waits.values()), share):.2f} s"
                for seen in (busy, calm)
                for share in (0.5, 0.99)
            ]
            lines.append((contender.name, *waits))
    head = (f"{ACKS_JOBS} at once, p50", "p99", f"one every {LIGHT_EVERY_SECONDS} s, p50", "p99")
    yield Table(f"From publishing to the ack, {SLOTS} slots, answers in {LATENCY} s", ("contender", *head), lines)


def idle() -> Iterator[Row | Table]:
    """A minute without a message."""
    lines = []
    with _loaded(1) as (place, load):
        for contender in CONTENDERS.values():
            with wire(place.servers) as (servers, seen):
                share, pss = _idle(place, contender, replace(load, servers=servers), seen)
            asked = ", ".join(f"{name} {times}" for name, times in sorted(seen.calls.items())) or "none"
            lines.append((contender.name, f"{share:.2%}", f"{pss:.0f}", asked))
            if contender is DAEMON:
                others = {name for name in seen.calls if not name.startswith("Subscriber.")}
                yield Row("idle: share of a core", f"{share:.2%}", "<= 0.5 %", share <= 0.005)
                yield Row("idle: calls to Firestore and Storage", ", ".join(others) or "none", "none", not others)
    title = f"{IDLE_SECONDS:.0f} s without a message, {SLOTS} slots"
    yield Table(title, ("contender", "of a core", "PSS MB", "calls"), lines)


def _idle(place: Track, contender: Contender, load: Load, seen: Seen) -> tuple[float, float]:
    """Its share of a core, and its memory in MB."""
    with place.lane(load.inbox, load.slots, load.servers) as lane, contender.racing(lane) as programs:
        family = Family(program.pid for program in programs)
        time.sleep(IDLE_SETTLED_SECONDS)
        seen.reset()
        cpu = family.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        return (family.cpu_seconds() - cpu) / IDLE_SECONDS, family.memory().pss


def start() -> Iterator[Row | Table]:
    """From the process to its first pull, as the emulator's relay sees it; the preflight lies between."""
    lines = []
    with _loaded(1) as (place, load):
        for name in ("daemon", "streaming", "celery"):
            contender = CONTENDERS[name]
            _to_pull(place, contender, load, cold=False)
            cold, _ = zip(*(_to_pull(place, contender, load, cold=True) for _ in range(COLD_STARTS)), strict=True)
            warm, cpu = zip(*(_to_pull(place, contender, load, cold=False) for _ in range(WARM_STARTS)), strict=True)
            lines.append((contender.name, *(f"{spread(seconds, '{:.2f}')} s" for seconds in (warm, cpu, cold))))
            if contender is DAEMON:
                met = sorted(warm)[WARM_STARTS // 2] <= 1.5
                yield Row("start: process to first pull", f"{spread(warm, '{:.2f}')} s", "<= 1.5 s", met)
    title = f"Process to first pull; {WARM_STARTS} starts, and {COLD_STARTS} without compiled bytecode"
    yield Table(title, ("contender", "warm", "CPU of these", "cold"), lines)


def _to_pull(place: Track, contender: Contender, load: Load, *, cold: bool) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, its children's included, up to a moment later."""
    with (
        tempfile.TemporaryDirectory() as empty,
        wire(place.servers) as (servers, seen),
        place.lane(load.inbox, load.slots, servers, {"PYTHONPYCACHEPREFIX": empty} if cold else KEPT_BYTECODE) as lane,
        contender.racing(lane) as (program,),
    ):
        until(lambda: seen.first_pull is not None, "it pulls")
        cpu = Family([program.pid]).cpu_seconds()
        return (seen.first_pull or 0.0) - program.started_at, cpu


@contextmanager
def _loaded(jobs: int) -> Iterator[tuple[Track, Load]]:
    """A track that is warm, and so many files of 1 s."""
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(jobs))
        load = Load(SLOTS, LATENCY, inbox, sounds)
        warm_up(place)
        yield place, load
