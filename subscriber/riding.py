"""The ports as the pipeline sees them: each call waits out outages of its neighbour (see `outage.py`).

Where the bare adapter raises NeighbourDown, these raise Interrupted (we drain, or the outage is long) or Transient (the
neighbour is well, but not for this call).
"""

from __future__ import annotations

from typing import TypeVar

from subscriber.decisions import Decide
from subscriber.model import Job, ObjectInfo, Record
from subscriber.outage import Outages
from subscriber.ports import Announcer, Ledger, Objects

__all__ = ["RidingAnnouncer", "RidingLedger", "RidingObjects"]

T = TypeVar("T")


class RidingLedger:
    """What the pipeline needs of a Ledger."""

    def __init__(self, ledger: Ledger, outages: Outages) -> None:
        self._ledger = ledger
        self._outages = outages

    def transact(self, job: Job, decide: Decide[T]) -> T:
        """As the port says."""
        return self._outages.ride("firestore", lambda: self._ledger.transact(job, decide))


class RidingObjects:
    """What the pipeline needs of Objects."""

    def __init__(self, objects: Objects, outages: Outages) -> None:
        self._objects = objects
        self._outages = outages

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """As the port says."""
        return self._outages.ride("gcs", lambda: self._objects.stat(bucket, name))

    def read(self, info: ObjectInfo) -> bytes:
        """As the port says."""
        return self._outages.ride("gcs", lambda: self._objects.read(info))

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """As the port says."""
        return self._outages.ride("gcs", lambda: self._objects.read_range(info, offset, size))

    def write(
        self, bucket: str, name: str, data: bytes, *, content_type: str, metadata: dict[str, str], if_generation: int
    ) -> ObjectInfo:
        """As the port says."""
        return self._outages.ride(
            "gcs",
            lambda: self._objects.write(
                bucket, name, data, content_type=content_type, metadata=metadata, if_generation=if_generation
            ),
        )

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        """As the port says."""
        self._outages.ride("gcs", lambda: self._objects.delete(bucket, name, if_generation=if_generation))


class RidingAnnouncer:
    """What the pipeline needs of an Announcer."""

    def __init__(self, announcer: Announcer, outages: Outages) -> None:
        self._announcer = announcer
        self._outages = outages

    def announce(self, record: Record) -> None:
        """As the port says."""
        self._outages.ride("pubsub", lambda: self._announcer.announce(record))
