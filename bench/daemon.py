"""What the daemon makes of its slots and of what was paid: the real one, on the emulators, 8 slots, answers in 2 s.

Times run from before the upload until the job is recorded. Requests are counted by the Whisper that gets them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from bench.recordings import MP3, OPUS, long_recording
from bench.stage import LONGEST_SECONDS, require, stage
from bench.table import Row, spread
from tests.daemon import Daemon, until
from tests.process.scenes import Scene

__all__ = ["rows"]

SLOTS = 8
ANSWER_SECONDS = 2.0
WITHIN = 1.15
TIMES_ALONE = 3
RUNS = 5
HOUR = 3600
CLAIM_SECONDS = 5
"""So long the next daemon waits for the claim of the one that was killed; nothing that is counted depends on it."""


def rows() -> Iterator[Row]:
    """An hour by itself and under a second name; a short file behind a long one; a kill in the middle of an hour."""
    yield from _hour()
    yield from _behind_a_long_one()
    yield _killed()


def _hour() -> Iterator[Row]:
    hour = long_recording(MP3, HOUR)
    with stage(ANSWER_SECONDS) as scene:
        daemon = _started(scene)
        took = _seconds(scene, daemon, "hour.mp3", hour)
        chunks = scene.requests()
        ideal = chunks * ANSWER_SECONDS / SLOTS
        reached = f"{took:.1f} s for {chunks} chunks: {took / ideal - 1:+.0%}"
        goal = f"<= {WITHIN - 1:+.0%} of {ideal:.1f} s"
        yield Row(f"one hour, answers in 2 s, {SLOTS} slots", reached, goal, took <= WITHIN * ideal)
        _seconds(scene, daemon, "copy.mp3", hour)
        again = scene.requests() - chunks
        yield Row("paid requests for the same bytes under a second name", str(again), "0", not again)


def _behind_a_long_one() -> Iterator[Row]:
    """Each short file has sound of its own, else it would come from the chunk cache."""
    shorts = [long_recording(OPUS, 10, seed=number) for number in range(2 * RUNS)]
    with stage(ANSWER_SECONDS) as scene:
        daemon = _started(scene)
        alone = [_seconds(scene, daemon, f"alone-{number}", short) for number, short in enumerate(shorts[:RUNS])]
        yield Row("a 10 s file alone", f"{spread(alone)} s")
        scene.world.upload("long.mp3", long_recording(MP3, 2 * HOUR), content_type="audio/mpeg")
        sent = scene.requests()
        until(lambda: scene.requests() >= sent + 4 * SLOTS, "the long one has all slots", LONGEST_SECONDS)
        behind = [_seconds(scene, daemon, f"behind-{number}", short) for number, short in enumerate(shorts[RUNS:])]
        require(daemon.metrics("jobs_in_flight") == 1, "the long one is still in work")
    times = max(behind) / statistics.median(alone)
    reached = f"{spread(behind)} s: {times:.1f} times, at worst"
    yield Row("a 10 s file behind a two-hour one", reached, f"<= {TIMES_ALONE} times", times <= TIMES_ALONE)


def _killed() -> Row:
    with stage(ANSWER_SECONDS) as scene:
        first = _started(scene)
        scene.world.upload("hour.mp3", long_recording(MP3, HOUR), content_type="audio/mpeg")
        until(lambda: scene.requests() >= 70, "half of it was asked for", LONGEST_SECONDS)
        first.kill()
        _done(_started(scene), 1)
        counts = scene.control.status()["bodies"].values()
    paid_again = sum(counts) - len(counts)
    what = "SIGKILL in the middle of an hour: chunks that the next run pays again"
    return Row(what, f"{paid_again} of {len(counts)}", f"<= {SLOTS}", paid_again <= SLOTS)


def _started(scene: Scene) -> Daemon:
    daemon = scene.start(whisper_concurrency=SLOTS, claim_seconds=CLAIM_SECONDS)
    daemon.ready()
    return daemon


def _seconds(scene: Scene, daemon: Daemon, name: str, data: bytes) -> float:
    """From before the upload until one more job is done."""
    done = daemon.metrics("deliveries_total", outcome="transcribed")
    began = time.monotonic()
    scene.world.upload(name, data, content_type="audio/mpeg")
    _done(daemon, done + 1)
    return time.monotonic() - began


def _done(daemon: Daemon, jobs: float) -> None:
    until(lambda: daemon.metrics("deliveries_total", outcome="transcribed") >= jobs, "it is done", LONGEST_SECONDS)
