"""What the pipeline needs of the world, as Protocols. The contracts are in the docstrings; tests/contract proves them.

Every call is bounded in time by its adapter and raises only errors of `subscriber.errors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from subscriber.budget_decisions import DecideDay
from subscriber.decisions import Decide
from subscriber.model import Delivery, Job, ObjectInfo, Record
from subscriber.notification import Notice
from subscriber.queries import Wanted
from subscriber.transcript import Answer, SpeechRequest

__all__ = ["Announcer", "BudgetLedger", "Ledger", "Listing", "Notifier", "Objects", "Records", "Source", "Transcriber"]

T = TypeVar("T")


class Source(Protocol):
    """Where deliveries come from. Its adapters for a real Pub/Sub have `check()` as well."""

    def pull(self, free: int) -> Sequence[Delivery]:
        """At most `free` deliveries, the first subscription's before the second's; empty after a few seconds of none.

        Raises NeighbourDown.
        """

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Set the leases of these deliveries to end `seconds` (0 to 600) from now; 0 redelivers at once.

        Raises Refused when an id is malformed (then none of the batch counts), NeighbourDown.
        """

    def finished(self) -> bool:
        """Whether no delivery will ever come again: an inbox that is not watched ends, a subscription does not."""

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Tell Pub/Sub that these messages are settled: best effort, as Pub/Sub's own is. Raises as `extend` does."""


class Ledger(Protocol):
    """One record a job, changed only in transactions. Its adapters have `check()` and `read(job)` as well."""

    def transact(self, job: Job, decide: Decide[T]) -> T:
        """Read the job's record, decide, write what was decided, all or nothing; answer what was decided.

        `decide` gets the record and the ledger's own time of that read; it may run several times, also after a commit
        of its own whose answer was lost. What it raises is passed on and nothing is written. Raises NeighbourDown.
        """


class BudgetLedger(Protocol):
    """The day's budget, one document beside the records, shared by every process that has the ledger."""

    def transact_budget(self, decide: DecideDay[T]) -> T:
        """As `Ledger.transact` does with a record."""


class Objects(Protocol):
    """Objects by bucket and name, with generations and preconditions. Its adapters have `check_output(bucket)` too."""

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """The live generation, or None. Raises NeighbourDown, Transient."""

    def read(self, info: ObjectInfo) -> bytes:
        """The bytes of exactly this generation. Raises Gone, NeighbourDown, Transient."""

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` of exactly this generation, fewer at its end. Raises as `read` does."""

    def write(
        self,
        bucket: str,
        name: str,
        data: bytes,
        *,
        content_type: str,
        metadata: dict[str, str],
        if_generation: int,
    ) -> ObjectInfo:
        """Write if the live generation is `if_generation` (0: if there is none).

        Raises PreconditionFailed, Permanent (`output_locked`, `output_name_too_long`), NeighbourDown, Transient.
        """

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        """Delete that generation; an absent object is fine. Raises PreconditionFailed and as `write` does."""


class Transcriber(Protocol):
    """A provider of transcription."""

    def check(self) -> None:
        """Prove that the key is accepted, paying nothing. Raises ConfigError or NeighbourDown."""

    def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None:
        """One real request of one second: an outage fails it, a bad file does not. Raises NeighbourDown."""

    def transcribe(self, request: SpeechRequest) -> Answer:
        """One request, never retried here.

        Raises Permanent, Transient, FormatRefused, RateLimited, NeighbourDown.
        """


class Announcer(Protocol):
    """Tells whoever listens that a job is settled. Its adapters have `check()` as well."""

    def announce(self, record: Record) -> None:
        """Publish the completion event of a settled record; at least once. Raises NeighbourDown, Transient."""


class Notifier(Protocol):
    """Has objects delivered to the daemon anew: the desk's commands ask it, the daemon never does."""

    def notify(self, notices: Sequence[Notice]) -> None:
        """Publish what Cloud Storage would for each of these generations; when it returns, all will be delivered.

        After an error any of them may be, too: notifying again is harmless. Raises ConfigError, NeighbourDown.
        """


class Records(Protocol):
    """The ledger as an operator reads it: the desk's commands ask it, the daemon never does."""

    def search(self, wanted: Wanted) -> Iterator[Record]:
        """The wanted records, in the order that `Wanted` says, read as they are taken: memory holds one page of them.

        Records may change meanwhile, also by the hand of whoever reads; each is met at most once. What is met may be
        stale by then: whoever acts on it decides in a transaction. Raises NeighbourDown, ConfigError, at any step.
        """

    def find(self, jobs: Sequence[Job]) -> dict[Job, Record]:
        """The records of those of these jobs, a few hundred at most, that have one: in one call, and no index is used.

        A forgotten job's is among them, although it names no job. Raises NeighbourDown, ConfigError.
        """


class Listing(Protocol):
    """Objects by the beginning of their names."""

    def below(self, bucket: str, prefix: str, start: str = "") -> Iterator[ObjectInfo]:
        """The live objects whose names begin so, in the order of their names from `start` on, page by page.

        Raises NeighbourDown, Transient, at any step.
        """
