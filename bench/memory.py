"""How much memory a daemon and all its processes hold at the worst moment, and that nothing is spooled to a disk.

Measured is the highest PSS (what is shared counts once) of the real daemon and its descendants, looked at ten times a
second while it works, and beside it how many files any of them has open for writing, deleted ones too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from bench.family import Family, pss_bytes
from bench.recordings import M4A, MP3, Encoding, long_recording
from bench.stage import LONGEST_SECONDS, require, stage
from bench.table import Row
from tests.daemon import Daemon
from tests.process.scenes import Scene

__all__ = ["places", "rows"]

LOOK_EVERY_SECONDS = 0.1
ONE_FILE_MB = 250
MANY_FILES_MB = 500
HOUR = 3600
MANY, SLOTS = 16, 32
ANSWER_SECONDS = 8.0
"""Long enough that two busy cores keep all slots busy."""

FLAT_MB_AN_HOUR = 10
"""Of an m4a only its index grows, by 5 MB an hour (36 bytes a frame, in FFmpeg); of an MP3 nothing does."""

CHUNKS_WATCHED = 400
"""Of the sixteen recordings' 7,600: two minutes with all slots busy."""

CHUNKS_A_PLACE = 10
"""Of about 30 that a quarter of an hour has: by then every place is taken, and none is free again."""


class Watch:
    """The most that was seen of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._family = Family([daemon.pid])
        self.most_mb = 0.0
        self.files_written = 0

    def until(self, happened: Callable[[], bool]) -> None:
        """Look until then. Raises TimeoutError."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError
            self._look()
            time.sleep(LOOK_EVERY_SECONDS)

    def _look(self) -> None:
        members = self._family.members()
        self.most_mb = max(self.most_mb, sum(map(pss_bytes, members)) / 1e6)
        self.files_written = max(self.files_written, sum(_files_written(one.pid) for one in members))


def rows() -> Iterator[Row]:
    """One file by itself, in two formats and three lengths; then many at once."""
    for encoding in (MP3, M4A):
        yield from _alone(encoding)
    for encoding in (MP3, M4A):
        yield _together(encoding)


def _alone(encoding: Encoding) -> Iterator[Row]:
    seen = {hours: _one_file(encoding, hours) for hours in (1, 3, 6)}
    for hours, watch in seen.items():
        what = f"memory, one {encoding.name} of {hours} h"
        reached = f"{watch.most_mb:.0f} MB, {watch.files_written} files written"
        goal = f"< {ONE_FILE_MB} MB, no files"
        yield Row(what, reached, goal, watch.most_mb < ONE_FILE_MB and not watch.files_written)
    growth = (seen[6].most_mb - seen[1].most_mb) / 5
    met = growth < FLAT_MB_AN_HOUR
    yield Row(
        f"memory, growth with the length of an {encoding.name}",
        f"{growth:+.1f} MB an hour",
        f"< {FLAT_MB_AN_HOUR} MB",
        met,
    )


def _one_file(encoding: Encoding, hours: int) -> Watch:
    with stage(0.0) as scene:
        daemon = scene.start()
        daemon.ready()
        watch = Watch(daemon)
        scene.world.upload("long", long_recording(encoding, HOUR * hours), content_type="audio/mpeg")
        watch.until(lambda: daemon.metrics("deliveries_total") >= 1)
        require(daemon.metrics("deliveries_total", outcome="transcribed") == 1, "it is transcribed")
    return watch


def _together(encoding: Encoding) -> Row:
    with stage(ANSWER_SECONDS) as scene:
        for number in range(MANY):
            recording = long_recording(encoding, 3 * HOUR, seed=number)
            scene.world.upload(f"long-{number}", recording, content_type="audio/mpeg")
        watch = _busy(scene)
    what = f"memory, {MANY} {encoding.name}s of 3 h, {SLOTS} slots busy"
    reached = f"{watch.most_mb:.0f} MB, {watch.files_written} files written"
    return Row(what, reached, f"< {MANY_FILES_MB} MB", watch.most_mb < MANY_FILES_MB)


def _busy(scene: Scene, slots: int = SLOTS, chunks: int = CHUNKS_WATCHED) -> Watch:
    daemon = scene.start(whisper_concurrency=slots)
    daemon.ready()
    watch, busiest = Watch(daemon), 0.0

    def enough() -> bool:
        nonlocal busiest
        busiest = max(busiest, daemon.metrics("whisper_in_flight"))
        return scene.requests() >= chunks

    watch.until(enough)
    require(busiest == slots, "all slots were busy")
    return watch


def places() -> Iterator[Row]:
    """What a pod needs for its places, all of them taken: the figures behind docs/scale.md's formula."""
    for slots in (4, 8, 16, 32):
        with stage(ANSWER_SECONDS) as scene:
            for number in range(2 * slots):
                recording = long_recording(M4A, HOUR / 4, seed=number)
                scene.world.upload(f"{number}", recording, content_type="audio/mp4")
            watch = _busy(scene, slots, CHUNKS_A_PLACE * 2 * slots)
        yield Row(f"memory, {2 * slots} places taken by small M4As", f"{watch.most_mb:.0f} MB")


def _files_written(pid: int) -> int:
    """How many regular files a process has open for writing."""
    count = 0
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                flags = int((entry.parent.parent / "fdinfo" / entry.name).read_text().split()[3], 8)
                named = entry.readlink().is_relative_to("/") and not entry.readlink().is_relative_to("/dev")
                count += named and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return count
