"""The real daemon on Google's emulators, with a Whisper of fixed delay: what every measurement of the daemon runs on.

It is the stage of the process tests, so that what is measured is what is tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from bench.whisper import FixedDelay
from subscriber.emulators import emulators
from subscriber.whisper_server import Control, Server
from tests.process.scenes import Scene
from tests.world import fresh, new_world

__all__ = ["LONGEST_SECONDS", "Unmeasured", "require", "stage"]

LONGEST_SECONDS = 1800.0
"""Nothing that is measured here takes longer on two cores."""


class Unmeasured(Exception):
    """Things did not go as a measurement takes for granted, so its figure would mean nothing."""


def require(holds: bool, what: str) -> None:
    """Raise Unmeasured unless it holds."""
    if not holds:
        raise Unmeasured(f"it does not hold that {what}")


@contextmanager
def stage(answer_seconds: float) -> Iterator[Scene]:
    """Servers of its own; the daemons' logs, which tests would show, go nowhere. Raises EmulatorsMissing."""
    with (
        Path(os.devnull).open("w", encoding="ascii") as nowhere,
        redirect_stdout(nowhere),
        emulators(os.environ, project=fresh("bench")) as servers,
        new_world(servers) as world,
        Server(FixedDelay(answer_seconds), control=True) as whisper,
        Scene(world, whisper.url, Control(whisper.url)) as scene,
    ):
        yield scene
