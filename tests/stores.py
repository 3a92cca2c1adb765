"""An adapter of the objects port on one bucket, and the short way to use it."""

from __future__ import annotations

from dataclasses import dataclass

from subscriber.model import ObjectInfo
from subscriber.ports import Objects


@dataclass(frozen=True)
class Store:
    """One adapter and the bucket that a test uses."""

    objects: Objects
    bucket: str

    def write(self, name: str, data: bytes = b"words", if_generation: int = 0, **metadata: str) -> ObjectInfo:
        return self.objects.write(
            self.bucket, name, data, content_type="text/plain", metadata=metadata, if_generation=if_generation
        )

    def live(self, name: str) -> ObjectInfo:
        found = self.objects.stat(self.bucket, name)
        assert found
        return found
