"""What lies on the desk: the neighbours that the operator's commands ask, and the settings that they go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from subscriber.errors import ConfigError
from subscriber.model import Job, ObjectInfo, Record
from subscriber.notification import Selection
from subscriber.outputs import OutputLocation
from subscriber.ports import Ledger, Listing, Notifier, Objects, Records
from subscriber.queries import Place, Wanted

__all__ = ["Desk", "Store"]


class Store(Objects, Listing, Protocol):
    """Objects that can also be listed."""


@dataclass(frozen=True, slots=True)
class Desk:
    """`usd_per_minute`: of the first model, None where nobody told it. `publisher`: None where REPLAY_TOPIC is not set.

    `source_bucket` is where bare names belong in the embedded mode, whose inbox nobody shows us: None elsewhere.
    """

    ledger: Ledger
    records: Records
    objects: Store
    location: OutputLocation
    chunk_prefix: str
    selection: Selection
    max_attempts: int
    max_event_age_seconds: float
    usd_per_minute: float | None = None
    publisher: Notifier | None = None
    source_bucket: str | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def notifier(self) -> Notifier:
        """Who has objects delivered anew. Raises ConfigError where REPLAY_TOPIC is not set."""
        if self.publisher is None:
            remedy = "name a topic whose subscription is the second of SUBSCRIBER_SUBSCRIPTION"
            raise ConfigError("SUBSCRIBER_REPLAY_TOPIC", "is not set: where shall notifications be published?", remedy)
        return self.publisher

    def records_of(self, bucket: str, name: str) -> list[Record]:
        """The records of one object, newest generation first."""
        found = self.records.search(Wanted(Place.of(bucket, name)))
        return sorted(found, key=lambda record: record.generation, reverse=True)

    def live(self, bucket: str, name: str) -> ObjectInfo | None:
        """The source object's live generation; None where there is none, or nobody knows."""
        return None if bucket == self.source_bucket else self.objects.stat(bucket, name)

    def job(self, bucket: str, name: str, generation: int) -> Job:
        """The job of a generation for our OUTPUT."""
        return Job(bucket, name, generation, self.location.text)
