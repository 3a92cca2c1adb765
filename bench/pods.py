"""What several daemons do on one subscription: as many times as much as one, and nothing twice.

Two slots each and answers in 2 s, so that the machine is no limit: what is measured is what they cost one another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.stage import LONGEST_SECONDS, require, stage
from bench.table import Row
from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import wav

__all__ = ["rows"]

SLOTS = 2
ANSWER_SECONDS = 2.0
FILES_A_POD = 60
WITHIN = 0.85
PODS = (1, 2, 4)


def rows() -> Iterator[Row]:
    """Files a second of each fleet between its first fifth and its last, beside what its slots allow."""
    for pods in PODS:
        yield _fleet(pods)


def _fleet(pods: int) -> Row:
    files = pods * FILES_A_POD
    with stage(ANSWER_SECONDS) as scene:
        for number in range(files):
            scene.world.upload(f"{number}.wav", wav(f"fleet {number}"))
        fleet = [scene.start(whisper_concurrency=SLOTS) for _ in range(pods)]
        for daemon in fleet:
            daemon.ready()
        began = _when(fleet, files // 5)
        rate = (files - 2 * (files // 5)) / (_when(fleet, files - files // 5) - began)
        _when(fleet, files)
        _require_once(scene, files)
        shares = [int(_done(daemon)) for daemon in fleet]
    ideal = pods * SLOTS / ANSWER_SECONDS
    reached = f"{rate:.2f} files a second, {rate / ideal:.0%}; {min(shares)} to {max(shares)} files a daemon"
    what = f"{pods} daemon{'s' * (pods > 1)} of {SLOTS} slots on one subscription, answers in 2 s"
    return Row(what, reached, f">= {WITHIN:.0%} of {ideal:.0f}", rate >= WITHIN * ideal)


def _when(fleet: list[Daemon], files: int) -> float:
    """The moment at which so many are done."""
    until(lambda: sum(map(_done, fleet)) >= files, f"{files} files are done", LONGEST_SECONDS)
    return time.monotonic()


def _done(daemon: Daemon) -> float:
    return daemon.metrics("deliveries_total", outcome="transcribed")


def _require_once(scene: Scene, files: int) -> None:
    bodies = scene.control.status()["bodies"]
    require(len(bodies) == files and set(bodies.values()) == {1}, "each file is asked for once")
