"""Objects in memory, with generations and preconditions: sources, outputs and paid chunks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from subscriber.errors import Gone, PreconditionFailed
from subscriber.model import ObjectInfo
from tests.simulation.clockwork import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Buckets", "PodsObjects"]

T = TypeVar("T")


class Buckets:
    """Every live object, by bucket and name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._generations = count(1)
        self.live: dict[tuple[str, str], tuple[ObjectInfo, bytes]] = {}

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """The live generation."""
        found = self.live.get((bucket, name))
        return found[0] if found else None

    def read(self, info: ObjectInfo) -> bytes:
        """Of this very generation."""
        found = self.live.get((info.bucket, info.name))
        if not found or found[0].generation != info.generation:
            raise Gone(info.name)
        return found[1]

    def write(  # noqa: PLR0917 - who writes, and an object's fields
        self,
        host: Host | None,
        bucket: str,
        name: str,
        data: bytes,
        content_type: str,
        metadata: dict[str, str],
        if_generation: int,
    ) -> ObjectInfo:
        """One object, if the live generation is the one that was seen."""
        before = self._expected(bucket, name, if_generation)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        info = ObjectInfo(bucket, name, next(self._generations), len(data), content_type, md5, metadata)
        self.live[bucket, name] = info, data
        if host:
            self._world.watch.wrote(host, before, info, data)
        return info

    def delete(self, host: Host, bucket: str, name: str, if_generation: int) -> None:
        """An absent object is fine."""
        if self.stat(bucket, name):
            self._expected(bucket, name, if_generation)
            del self.live[bucket, name]
            self._world.watch.deleted(host, name)

    def _expected(self, bucket: str, name: str, generation: int) -> ObjectInfo | None:
        found = self.stat(bucket, name)
        if (found.generation if found else 0) != generation:
            raise PreconditionFailed(name)
        return found


class PodsObjects:
    """`ports.Objects` as one pod reaches it."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def check_output(self) -> None:
        self._call(lambda: None)

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        return self._call(partial(self._world.buckets.stat, bucket, name))

    def read(self, info: ObjectInfo) -> bytes:
        return self._call(partial(self._world.buckets.read, info))

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        return self.read(info)[offset : offset + size]

    def write(
        self, bucket: str, name: str, data: bytes, *, content_type: str, metadata: dict[str, str], if_generation: int
    ) -> ObjectInfo:
        args = (self._host, bucket, name, data, content_type, metadata, if_generation)
        return self._call(partial(self._world.buckets.write, *args))

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        self._call(partial(self._world.buckets.delete, self._host, bucket, name, if_generation))

    def _call(self, effect: Callable[[], T]) -> T:
        return self._world.wire.call("gcs", effect)
