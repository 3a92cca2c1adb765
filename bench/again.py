"""What is paid twice: notifications that come twice, a program that stands still, answers slower than a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from bench.contenders import CONTENDERS, DAEMON, Contender
from bench.family import Family
from bench.race import SETTLED_SECONDS
from bench.recordings import short_recording
from bench.stub import Counts
from bench.table import Row, Table, spread
from bench.track import Lane, Sound, Track, track

__all__ = ["duplicates", "slow_answers"]

SLOTS = 8
JOBS = 80
LATENCY = 0.5
EVERY_FIFTH = 5
STALL_AFTER_SECONDS = 2.0
STALL_SECONDS = 12.0
"""Longer than the 10 s of a subscription that nobody gave another deadline."""

SILENT_SECONDS = 5.0
"""So long after the deadline of its subscription without a new request, nothing of a contender's comes again."""

LONGEST_DEADLINE_SECONDS = 60
"""What Celery has taken comes again after its 240 s only where it does not ack it after the stop; it does."""

LONGEST_SECONDS = 180.0
RUNS = 2

SLOW_JOBS, SLOW_LATENCY = 4, 15.0
SLOW_WATCHED_SECONDS = 60.0
SHORT_DEADLINE_SECONDS = 10
"""A subscription's by default."""

PEERS = [contender for contender in CONTENDERS.values() if contender is not DAEMON]


def duplicates() -> Iterator[Row | Table]:
    """Every fifth notification comes twice, and two seconds later the program is stopped for longer than a deadline."""
    seen: dict[str, list[Counts]] = {}
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(JOBS))
        for _ in range(RUNS):
            for contender in CONTENDERS.values():
                with place.lane(inbox, SLOTS) as lane:
                    seen.setdefault(contender.name, []).append(_stalled(place, lane, contender, sounds))
    most = max(one.paid_twice for one in seen[DAEMON.name])
    what = f"paid twice: {1 / EVERY_FIFTH:.0%} notified twice, and a stop of {STALL_SECONDS:.0f} s"
    yield Row(what, str(most), "0", not most)
    yield _table(f"{what}; {JOBS} jobs, {SLOTS} slots, answers in {LATENCY} s", seen)


def _stalled(place: Track, lane: Lane, contender: Contender, sounds: list[Sound]) -> Counts:
    twice = [sound for number, sound in enumerate(sounds) for _ in range(1 if number % EVERY_FIFTH else 2)]
    place.stub.restart(LATENCY)
    with contender.racing(lane) as (program,):
        time.sleep(SETTLED_SECONDS)
        lane.publish(lane.messages(twice, contender.message))
        time.sleep(STALL_AFTER_SECONDS)
        members = Family([program.pid]).members()
        for member in members:
            member.suspend()
        time.sleep(STALL_SECONDS)
        for member in members:
            member.resume()
        return _when_silent(place, min(contender.ack_deadline_seconds, LONGEST_DEADLINE_SECONDS) + SILENT_SECONDS)


def _when_silent(place: Track, seconds: float) -> Counts:
    """What was asked by the time that nothing more is."""
    deadline = time.monotonic() + LONGEST_SECONDS
    counts, since = place.stub.counts(), time.monotonic()
    while time.monotonic() < min(deadline, since + seconds):
        time.sleep(SETTLED_SECONDS)
        if (now := place.stub.counts()) != counts:
            counts, since = now, time.monotonic()
    return counts


def slow_answers() -> Iterator[Row | Table]:
    """A Whisper that takes longer than the deadline of a subscription that nobody gave another one.

    Celery alone keeps its own, because its transport makes subscriptions, or changes those it finds, to have it.
    """
    seen: dict[str, list[Counts]] = {}
    with track() as place:
        inbox, sounds = place.upload(short_recording(number) for number in range(SLOW_JOBS))
        for contender in (replace(DAEMON, ack_deadline_seconds=SHORT_DEADLINE_SECONDS), *PEERS):
            place.stub.restart(SLOW_LATENCY)
            with place.lane(inbox, SLOTS) as lane, contender.racing(lane):
                lane.publish(lane.messages(sounds, contender.message))
                time.sleep(SLOW_WATCHED_SECONDS)
            seen[f"{contender.name}, {contender.ack_deadline_seconds} s"] = [place.stub.counts()]
    twice = next(iter(seen.values()))[0].paid_twice
    what = f"paid twice in {SLOW_WATCHED_SECONDS:.0f} s: answers in {SLOW_LATENCY:.0f} s"
    yield Row(f"{what}, behind a deadline of {SHORT_DEADLINE_SECONDS} s", str(twice), "0", not twice)
    yield _table(f"{what}, behind deadlines of so many seconds; {SLOW_JOBS} jobs", seen)


def _table(title: str, seen: dict[str, list[Counts]]) -> Table:
    lines = [
        (
            name,
            spread([one.received for one in counts], "{:.0f}"),
            spread([one.distinct for one in counts], "{:.0f}"),
            spread([one.paid_twice for one in counts], "{:.0f}"),
        )
        for name, counts in seen.items()
    ]
    return Table(title, ("contender", "requests", "of them different", "paid twice"), lines)
