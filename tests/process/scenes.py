"""What the tests of the real process do and look at: daemons that start together, recordings, records, outputs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from subscriber.whisper_server import Control
from tests.daemon import Daemon, daemon
from tests.sound import heard
from tests.world import Queue, World

__all__ = ["Output", "Scene", "silent_for"]


class Output(NamedTuple):
    """One object of the output bucket."""

    generation: int
    metadata: dict[str, str]
    data: bytes


@dataclass
class Scene:
    """A world, a provider, and the daemons that the test starts; all end with the `with` block."""

    world: World
    whisper_url: str
    control: Control
    _daemons: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._daemons.__exit__(kind, error, at)

    def start(self, *module: str, **settings: object) -> Daemon:
        """A daemon that may not be ready yet."""
        return self._daemons.enter_context(daemon(self.world, self.whisper_url, *module, **settings))

    def record(self, name: str, generation: int | None = None) -> dict[str, Any]:
        """The ledger's record of the object's only, or this, generation."""
        found = [
            record
            for record in self.world.records().values()
            if record["name"] == name and generation in {None, record["generation"]}
        ]
        assert len(found) == 1, f"{len(found)} records of {name!r}"
        return found[0]

    def claims(self, name: str) -> int:
        """How often the job has been claimed: its epochs count from the second of its first claim."""
        record = self.record(name)
        return int(record["epoch"]) - int(record["created_at"].timestamp())

    def outputs(self, name: str) -> dict[str, Output]:
        """What stands in the output bucket for this object, by the ending that the name has more."""
        blobs = list(self.world.storage.list_blobs(self.world.output_bucket, prefix=f"{name}."))
        return {
            blob.name.removeprefix(f"{name}."): Output(
                int(blob.generation), blob.metadata or {}, blob.download_as_bytes()
            )
            for blob in blobs
        }

    def requests(self, data: bytes | None = None) -> int:
        """How many requests the provider got, in all or for this recording of one chunk."""
        status = self.control.status()
        return int(status["received"] if data is None else status["bodies"].get(heard(data), 0))

    def stored(self, prefix: str = "") -> set[str]:
        """The names of the paid chunks that are kept, below OUTPUT's prefix."""
        found = self.world.storage.list_blobs(self.world.output_bucket, prefix=f"{prefix}.chunks/")
        return {blob.name for blob in found}


def silent_for(queue: Queue, seconds: float) -> bool:
    """Whether the subscription brings us nothing for so long."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        if queue.pull(seconds=max(1.0, left)):
            return False
    return True
