"""The sizes that contenders race in, each a part of `make bench` by its name, and what is asked of the daemon there."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from bench.race import CHUNKS_A_MINUTE, Load, Run, compared, turns, warm_up
from bench.recordings import MP3, long_recording, short_recording
from bench.store import save
from bench.table import Row, Table, spread
from bench.track import track

__all__ = ["RACES", "Race"]

TEN_MINUTES = 600


@dataclass(frozen=True)
class Race:
    """`rounds` of the slots are published. Celery runs fewer times where a run takes minutes.

    The push endpoint runs in one race: the emulator pushes two messages at a time, however many slots there are.
    """

    slots: int
    latency: float
    rounds: int
    runs: int
    celery_runs: int
    push: bool = False
    seconds: int = 1

    @property
    def title(self) -> str:
        """What is raced."""
        files = "files of 1 s" if self.seconds == 1 else f"MP3s of {self.seconds // 60} minutes"
        return f"{self.slots} slots, answers in {self.latency:g} s, {self.jobs} {files}: {self.rounds} rounds"

    @property
    def jobs(self) -> int:
        """How many objects."""
        return self.rounds * self.slots

    @property
    def requests_each(self) -> int:
        """About so many does the daemon make of an object."""
        return max(1, self.seconds * CHUNKS_A_MINUTE // 60)

    def run(self) -> list[Run]:
        """On a track of its own."""
        with track() as place:
            long = self.seconds > 1
            make: Callable[[int], bytes] = partial(long_recording, MP3, self.seconds) if long else short_recording
            inbox, sounds = place.upload(make(number) for number in range(self.jobs))
            load = Load(self.slots, self.latency, inbox, sounds, requests_each=self.requests_each)
            warm_up(place)
            peers = ["streaming", "celery", *["push"] * self.push]
            done = turns(place, ["daemon", *peers], load, self.celery_runs)
            if self.runs > self.celery_runs:
                done += turns(place, ["daemon", "streaming"], load, self.runs - self.celery_runs)
            return done


# Forty rounds where a share of the limit is promised, so that the ramps at both ends do not decide; fewer elsewhere.
RACES = {
    "8x0.2": Race(8, 0.2, rounds=40, runs=3, celery_runs=3, push=True),
    "32x0.2": Race(32, 0.2, rounds=40, runs=3, celery_runs=2),
    "32x2": Race(32, 2.0, rounds=40, runs=2, celery_runs=1),
    "8x2": Race(8, 2.0, rounds=20, runs=2, celery_runs=2),
    "128x0.2": Race(128, 0.2, rounds=10, runs=2, celery_runs=2),
    "128x2": Race(128, 2.0, rounds=10, runs=2, celery_runs=2),
    "10min": Race(8, 0.2, rounds=2, runs=2, celery_runs=2, seconds=TEN_MINUTES),
}


def rows(name: str) -> Iterator[Row | Table]:
    """One race: its table, and the daemon's figures that have a goal."""
    race = RACES[name]
    runs = race.run()
    save(f"race-{name}", [asdict(one) for one in runs])
    ours, streaming = (
        [one for one in runs if one.contender == contender] for contender in ("this daemon", "streaming client")
    )
    yield from _goals(name, race, ours, streaming)
    yield compared(race.title, runs)


def _goals(name: str, race: Race, ours: Sequence[Run], streaming: Sequence[Run]) -> Iterator[Row]:
    where = f"{race.slots} slots x {race.latency:g} s"
    shares = [one.share for one in ours]
    least = {"8x0.2": 0.93, "32x2": 0.97}.get(name)
    if least:
        reached = statistics.median(shares)
        yield Row(f"share of the limit, {where}", spread(shares, "{:.2f}"), f">= {least}", reached >= least)
    if name == "32x0.2":
        speed = [mine.jobs_a_second / other.jobs_a_second for mine, other in zip(ours, streaming, strict=True)]
        reached = statistics.median(speed)
        yield Row(f"jobs/s, of the streaming client's, {where}", spread(speed, "{:.2f}"), ">= 0.75", reached >= 0.75)
    if name == "32x2":
        most = max(one.pss for one in ours)
        yield Row(
            f"memory (PSS), {where}", f"{spread([one.pss for one in ours], '{:.0f}')} MB", "<= 300 MB", most <= 300
        )
    if race.seconds == 1:
        times = [mine.cpu_ms / other.cpu_ms for mine, other in zip(ours, streaming, strict=True)]
        reached = statistics.median(times)
        yield Row(
            f"CPU a job, of the streaming client's, {where}", f"{spread(times)} times", "<= 2 times", reached <= 2
        )
