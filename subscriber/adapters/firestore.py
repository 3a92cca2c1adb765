"""The ledger in Firestore: one transaction of one document, `read -> decide -> write`.

The law of this file: what a decision saw is what its write replaces; if the record changed in between, Firestore aborts
and all of it is done again. A commit whose answer is lost is done again too: the decision recognises its own nonce, so
the retry is the read-back. A lost commit cannot land later, because the transaction that repeats it has moved on.

Whoever ends a claim that was never renewed knows the record: he wrote it last. Then the write alone is sent, on the
condition that the record is still at the version that his own write made. If it is not, a transaction reads it. A claim
is never granted or renewed so: its end is a time, and must be reckoned from the ledger's own.

The transaction begins with the read (one RPC less) and asks for optimistic concurrency: a claimer killed between read
and commit then locks nobody out. The emulator ignores that wish and locks on read, so a transaction that will not
commit is rolled back at once: measured there, one that is merely forgotten blocks its job for 60 s. The high-level
client is not used, because it masks a 503 on begin as a ValueError and hides timeouts and the time of a read.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

import grpc
from google.api_core import exceptions
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    CommitRequest,
    CommitResponse,
    Document,
    RollbackRequest,
    TransactionOptions,
)

from subscriber.backoff import backoff_seconds
from subscriber.budget_decisions import Day, DecideDay
from subscriber.channels import open_channel, rpc
from subscriber.decisions import Decide
from subscriber.documents import day_from_document, day_to_document, from_document, to_document
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.firestore_values import decode, encode
from subscriber.model import Job, Record, State
from subscriber.verdict import Decision

__all__ = ["FirestoreLedger"]

D = TypeVar("D")
T = TypeVar("T")

_CALL_SECONDS = 5.0
# An RPC answers in 10 to 100 ms. Five seconds leave room for a new connection, and the deadline has room for three.

_DEADLINE_SECONDS = 15.0
# All tries of one call together: a sixth of a claim's length, so a keeper learns of an outage long before claims end.

_ROLLBACK_SECONDS = 1.0
# It only spares others a wait, and follows a call that may have used up its own five seconds.

_BACKOFF_SECONDS = (0.05, 2.0)
# Who lost a race for a document may look again at once; a Firestore in trouble is asked every 1 to 2 s.

_FORBIDDEN = (exceptions.Forbidden, exceptions.Unauthorized)

_MISCONFIGURED = (exceptions.NotFound, exceptions.FailedPrecondition, exceptions.InvalidArgument)
# What a read meets: no such project or database, a database in Datastore mode, a name that Firestore does not take.


_OPTIMISTIC = TransactionOptions.pb()(read_write={"concurrency_mode": TransactionOptions.ConcurrencyMode.OPTIMISTIC})

_MOST_KNOWN = 2000
# Twice the most jobs of a process. Who ends or renews a claim takes its record out, and a claim that was lost before
# either leaves it in.

_ANYHOW: Mapping[str, Any] = {}

_SERVICE = "/google.firestore.v1.Firestore"


@dataclass(frozen=True)
class _Kind(Generic[D]):
    """A kind of document, which has a collection of its own, beside the ledger's."""

    collection_ending: str
    to_document: Callable[[D], dict[str, Any]]
    from_document: Callable[[Mapping[str, Any]], D]


_RECORDS = _Kind[Record]("", to_document, from_document)
_BUDGET = _Kind[Day]("-budget", day_to_document, day_from_document)


class _Found(NamedTuple, Generic[D]):
    """What a read brought: the document, the time of the read, and the transaction that began with it, if any."""

    document: D | None
    read_at: datetime
    transaction: bytes = b""


class _Known(NamedTuple):
    """The record as our claim made it, its version, and when: Firestore's time, and our clock's of its answer."""

    record: Record
    version: Any
    written_at: datetime
    answered_at: float

    def now(self) -> datetime:
        """Firestore's time, or earlier by less than an answer takes: a time to come would put off who comes next."""
        return self.written_at + timedelta(seconds=time.monotonic() - self.answered_at)


class FirestoreLedger:
    """A `Ledger` in one collection, and a `BudgetLedger` in another beside it.

    Threads may share it; `emulator_host` (HOST:PORT) replaces Google's endpoint. Raises ConfigError when there are no
    credentials. A read is one RPC, a transaction two: read and begin, then commit or roll back. The end of a claim is
    one, where nobody has changed the record since it was claimed. `deadline_seconds` bounds all tries of one call.
    """

    def __init__(
        self,
        project: str,
        database: str,
        collection: str,
        *,
        emulator_host: str | None = None,
        deadline_seconds: float = _DEADLINE_SECONDS,
    ) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._collection = f"{self._database}/documents/{collection}"
        self._deadline_seconds = deadline_seconds
        # The emulator's own convention for a caller whom no security rule concerns.
        self._metadata = [("authorization", "Bearer owner")] if emulator_host else []
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._channel = open_channel(FirestoreGrpcTransport, emulator_host)
        self._connect(self._channel)

    def _connect(self, channel: grpc.Channel) -> None:
        made = partial(rpc, channel, routed_by="database")
        self._read = made(
            f"{_SERVICE}/BatchGetDocuments",
            BatchGetDocumentsRequest.pb(),
            BatchGetDocumentsResponse.pb(),
            streamed=True,
        )
        self._write = made(f"{_SERVICE}/Commit", CommitRequest.pb(), CommitResponse.pb())
        self._undo = made(f"{_SERVICE}/Rollback", RollbackRequest.pb())

    def check(self) -> None:
        """Prove that we can read, once, by a document that need not exist. Raises ConfigError or NeighbourDown."""
        try:
            self._fetch(_RECORDS, "check", time.monotonic() + _CALL_SECONDS)
        except _MISCONFIGURED as error:
            _, project, _, database = self._database.split("/")
            create = f"gcloud firestore databases create --project={project} --database='{database}'"
            raise ConfigError("SUBSCRIBER_FIRESTORE_DATABASE", str(error), f"{create} --location=...") from error
        except exceptions.GoogleAPICallError as error:
            raise _down(error) from error

    def transact(self, job: Job, decide: Decide[T]) -> T:
        """Read, decide, write, all or nothing; see `ports.Ledger`. Raises NeighbourDown and what `decide` raises."""
        return self._patiently(lambda ends_at: self._transact_record(job.id, decide, ends_at))

    def transact_budget(self, decide: DecideDay[T]) -> T:
        """The same with the day's budget."""
        return self._patiently(lambda ends_at: self._transact(_BUDGET, "day", decide, ends_at))

    def read(self, job: Job) -> Record | None:
        """The job's record as it is. Raises NeighbourDown."""
        return self._patiently(lambda ends_at: self._fetch(_RECORDS, job.id, ends_at).document)

    def close(self) -> None:
        """Close the connection; no call may follow."""
        self._channel.close()

    def _patiently(self, attempt: Callable[[float], T]) -> T:
        """Run `attempt` until it succeeds or the deadline, its argument (monotonic seconds), is over.

        A refusal of access is final. All else is tried again: a lost race (ABORTED, on the read or the commit), a lost
        answer, and what we do not know. A ledger that answers nonsense is down; no job has failed.
        """
        ends_at = time.monotonic() + self._deadline_seconds
        for tried in count(1):
            try:
                return attempt(ends_at)
            except exceptions.GoogleAPICallError as error:
                wait = backoff_seconds(tried, *_BACKOFF_SECONDS, random.random())  # noqa: S311 - jitter, no secret
                if isinstance(error, _FORBIDDEN) or time.monotonic() + wait > ends_at:
                    raise _down(error) from error
                time.sleep(wait)
        raise AssertionError

    def _transact_record(self, document_id: str, decide: Decide[T], ends_at: float) -> T:
        """Without the read, once, where we know the record and the decision ends our claim."""
        known = self._known.pop(document_id, None)
        if known:
            decision = decide(known.record, known.now())
            if decision.write and decision.write.state is not State.CLAIMED:
                still_ours = {"current_document": {"update_time": known.version}}
                self._commit(_RECORDS, document_id, decision.write, ends_at, condition=still_ours)
                return decision.answer
        return self._transact(_RECORDS, document_id, decide, ends_at)

    def _remember(self, document_id: str, before: Any, now: Any, done: Any) -> None:
        """The record of a new claim, which only its own thread knows as yet; not of a renewal, which may be late."""
        if isinstance(now, Record) and now.state is State.CLAIMED and (before is None or before.nonce != now.nonce):
            version, written_at = done.write_results[0].update_time, done.commit_time.ToDatetime(UTC)
            self._known[document_id] = _Known(now, version, written_at, time.monotonic())
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _transact(
        self,
        kind: _Kind[D],
        document_id: str,
        decide: Callable[[D | None, datetime], Decision[T, D]],
        ends_at: float,
    ) -> T:
        found = self._fetch(kind, document_id, ends_at, transact=True)
        committed = False
        try:
            decision = decide(found.document, found.read_at)
            if decision.write:
                done = self._commit(kind, document_id, decision.write, ends_at, transaction=found.transaction)
                committed = True
                self._remember(document_id, found.document, decision.write, done)
            return decision.answer
        finally:
            if not committed:
                self._roll_back(found.transaction)

    def _fetch(self, kind: _Kind[D], document_id: str, ends_at: float, *, transact: bool = False) -> _Found[D]:
        """A strongly consistent read, which may begin a transaction. Only a batch, of two reads, tells its time.

        Of a transaction that has begun nobody else knows: if the rest of the read does not come it is let go of.
        """
        begin: dict[str, Any] = {"new_transaction": _OPTIMISTIC} if transact else {}
        answers, transaction = [], b""
        try:
            for answer in self._read(**self._call(ends_at), documents=[self._name(kind, document_id)], **begin):
                transaction = answer.transaction or transaction
                answers.append(answer)
            return _found(kind, answers)._replace(transaction=transaction)
        except Exception:
            if transaction:
                self._roll_back(transaction)
            raise

    def _name(self, kind: _Kind[Any], document_id: str) -> str:
        return f"{self._collection}{kind.collection_ending}/{document_id}"

    def _commit(
        self,
        kind: _Kind[D],
        document_id: str,
        content: D,
        ends_at: float,
        *,
        transaction: bytes = b"",
        condition: Mapping[str, Any] = _ANYHOW,
    ) -> Any:
        """Replace the whole document: it is all there is, and one that a newer version wrote is never ours."""
        document = Document.pb()(name=self._name(kind, document_id))
        for field, value in kind.to_document(content).items():
            encode(document.fields[field], value)
        return self._write(**self._call(ends_at), writes=[{"update": document, **condition}], transaction=transaction)

    def _roll_back(self, transaction: bytes) -> None:
        """Let go of the record. If that fails, the transaction ends by itself."""
        with suppress(exceptions.GoogleAPICallError):
            self._undo(**self._call(time.monotonic() + _ROLLBACK_SECONDS), transaction=transaction)

    def _call(self, ends_at: float) -> dict[str, Any]:
        """How each RPC is made: once, and bounded by what is left of the deadline, but never by nothing."""
        timeout = min(_CALL_SECONDS, max(ends_at - time.monotonic(), 0.1))
        return {"timeout": timeout, "metadata": self._metadata, "database": self._database}


def _found(kind: _Kind[D], answers: Sequence[Any]) -> _Found[D]:
    """What a read brought: an answer may tell of its transaction alone. Raises NeighbourDown, and what it may hold."""
    answer = next((one for one in answers if one.HasField("found") or one.HasField("missing")), None)
    if answer is None:
        raise NeighbourDown("firestore", "unavailable", "a read brought no answer")
    fields = {field: decode(value) for field, value in answer.found.fields.items()}
    document = kind.from_document(fields) if answer.HasField("found") else None
    return _Found(document, answer.read_time.ToDatetime(UTC))


def _down(error: exceptions.GoogleAPICallError) -> NeighbourDown:
    return NeighbourDown("firestore", "forbidden" if isinstance(error, _FORBIDDEN) else "unavailable", str(error))
