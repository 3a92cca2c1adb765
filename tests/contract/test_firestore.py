"""What only the ledger in Firestore can suffer: faults on the wire, behind Google's real client."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import CommitRequest

from subscriber.adapters import firestore as module
from subscriber.adapters.firestore import FirestoreLedger, _Known
from subscriber.decisions import Refusal, Verdict
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ClaimLost, ConfigError, NeighbourDown
from subscriber.model import State
from tests.claims import BY_OWNER, CLAIMED, JOB, NOW, claim, claiming, claims_of, found, put

TRANSIENT = [
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
]
READ, WRITE, UNDO = "BatchGetDocuments", "Commit", "Rollback"


class Fault(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """An error as gRPC gives it to its callers."""

    def __init__(self, status: grpc.StatusCode) -> None:
        super().__init__(status)
        self.status = status

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return "injected"

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def result(self) -> Any:
        raise self


class Faults(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]  # as above
    """Counts the calls on their way, and lets the next ones of a method fail, before or after they took effect."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.held: list[Any] = []
        self._planned: list[tuple[str, grpc.StatusCode, bool]] = []

    def plan(self, method: str, *statuses: grpc.StatusCode, applied: bool = False) -> None:
        self._planned += [(method, status, applied) for status in statuses]

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        method = details.method.rpartition("/")[2]
        self.calls.append(method)
        fault = next((fault for fault in self._planned if fault[0] == method), None)
        if not fault:
            return continuation(details, request)
        self._planned.remove(fault)
        if fault[2]:
            continuation(details, request).result()
        self.held.append(request)
        raise Fault(fault[1])

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """As a call of one answer; but of what took effect the first answer comes."""
        if fault := next((fault for fault in self._planned if fault[0] == READ and fault[2]), None):
            self.calls.append(READ)
            self._planned.remove(fault)
            return _broken_off(continuation(details, request), fault[1])
        return self.intercept_unary_unary(continuation, details, request)


def _broken_off(answers: Iterator[Any], status: grpc.StatusCode) -> Iterator[Any]:
    yield next(answers)
    raise Fault(status)


@pytest.fixture
def faults(firestore: FirestoreLedger) -> Faults:
    """Faults on the wire of the Firestore ledger, behind Google's real client."""
    made = Faults()
    firestore._connect(grpc.intercept_channel(firestore._channel, made))
    return made


def test_a_transaction_takes_two_calls_and_a_read_one(firestore: FirestoreLedger, faults: Faults) -> None:
    claim(firestore)
    assert faults.calls == [READ, WRITE]
    firestore.transact(JOB, claiming())
    assert faults.calls[2:] == [READ, UNDO]
    firestore.read(JOB)
    assert faults.calls[4:] == [READ]


ENDS = [deed for deed in BY_OWNER if deed != "renew"]


@pytest.mark.parametrize("deed", ENDS)
def test_whoever_ends_a_claim_reads_nothing_that_he_wrote_himself(
    firestore: FirestoreLedger, faults: Faults, deed: str
) -> None:
    firestore.transact(JOB, BY_OWNER[deed](claim(firestore)))
    assert faults.calls == [READ, WRITE, WRITE]
    assert not firestore._known, "of a job that is not claimed nothing is kept"


def test_a_claim_that_was_renewed_is_read_at_its_end(firestore: FirestoreLedger, faults: Faults) -> None:
    """What a renewal wrote is not kept: its answer may come after the end, and even after another claim."""
    ours = claim(firestore)
    for deed in ("renew", "renew", "complete"):
        firestore.transact(JOB, BY_OWNER[deed](ours))
        assert not firestore._known
    assert faults.calls == [READ, WRITE] * 4


@pytest.mark.parametrize("deed", ENDS)
def test_what_another_has_written_since_is_never_written_over(
    firestore: FirestoreLedger, emulators: Emulators, deed: str
) -> None:
    theirs = claim(firestore)
    collection = firestore._collection.rpartition("/")[2]
    host = emulators.firestore_host
    with closing(FirestoreLedger(emulators.project, "(default)", collection, emulator_host=host)) as another:
        put(another, replace(found(another), renewed_at=found(another).renewed_at - timedelta(seconds=90)))
        claim(another)
        before = found(another)
        with pytest.raises(ClaimLost):
            firestore.transact(JOB, BY_OWNER[deed](theirs))
        assert found(another) == before


def test_what_another_has_added_since_is_kept(firestore: FirestoreLedger, emulators: Emulators) -> None:
    ours = claim(firestore)
    collection = firestore._collection.rpartition("/")[2]
    host = emulators.firestore_host
    with closing(FirestoreLedger(emulators.project, "(default)", collection, emulator_host=host)) as another:
        another.transact(JOB, BY_OWNER["renew"](ours))
    done = firestore.transact(JOB, BY_OWNER["complete"](ours))
    assert (done.state, done.progress.done) == (State.DONE, 30.0)


def test_an_end_whose_write_comes_late_cannot_undo_what_happened_since(
    firestore: FirestoreLedger, faults: Faults
) -> None:
    ours = claim(firestore)
    faults.plan(WRITE, grpc.StatusCode.DEADLINE_EXCEEDED)
    firestore.transact(JOB, BY_OWNER["release"](ours))
    claim(firestore)
    before = found(firestore)
    client = FirestoreClient(transport=FirestoreGrpcTransport(channel=firestore._channel))
    with pytest.raises(GoogleAPICallError):
        client.commit(request=CommitRequest.wrap(faults.held[0]))
    assert found(firestore) == before


def test_records_that_nobody_asks_for_any_more_are_forgotten(
    firestore: FirestoreLedger, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriber.adapters.firestore._MOST_KNOWN", 2)
    jobs = [replace(JOB, generation=number) for number in range(1, 5)]
    held = {job: claim(firestore, job) for job in jobs}
    assert len(firestore._known) == 2
    for job in jobs:
        firestore.transact(job, BY_OWNER["complete"](held[job]))
    assert faults.calls[8:] == [READ, WRITE, READ, WRITE, WRITE, WRITE], "the two oldest are read again"


def test_the_time_of_an_end_is_the_ledgers_own_and_never_to_come(firestore: FirestoreLedger) -> None:
    """A job that is released must be due for whoever comes next, and an end lie before what is published after it."""
    ours = claim(firestore)
    began = found(firestore).renewed_at
    done = firestore.transact(JOB, BY_OWNER["complete"](ours))
    read_at = firestore.transact(JOB, lambda _, now: Verdict(now))
    assert done.completed_at
    assert began <= done.completed_at <= read_at


def test_a_claim_whose_write_took_long_ends_no_later_than_now(firestore: FirestoreLedger) -> None:
    write, late = firestore._write, threading.Event()

    def slow(**request: Any) -> Any:
        late.wait(1.0)
        return write(**request)

    firestore._write = slow
    ours = claim(firestore)
    late.set()
    firestore.transact(JOB, BY_OWNER["release"](ours))
    claim(firestore)


def test_what_has_passed_since_a_write_is_counted_on_a_clock_that_nobody_sets() -> None:
    known = _Known(CLAIMED, None, written_at=NOW, answered_at=time.monotonic() - 7)
    assert timedelta(seconds=7) <= known.now() - NOW < timedelta(seconds=30)


def calls_that_grpc_holds() -> int:
    """A call of which anything has not been heard yet is one, for as long as its channel lives."""
    gc.collect()
    return sum(type(one).__name__ == "_CallState" for one in gc.get_objects())


def test_of_a_call_nothing_is_held_after_its_answer(firestore: FirestoreLedger) -> None:
    """A daemon makes two a job: what stays of each is all that it ever loses."""
    claim(firestore)
    before = calls_that_grpc_holds()
    for _ in range(3):
        firestore.read(JOB)
        firestore.transact(JOB, claiming())
        firestore.check()
    assert calls_that_grpc_holds() == before


def test_a_refusal_locks_nobody_out(firestore: FirestoreLedger) -> None:
    """The emulator locks what a transaction reads until it ends; a forgotten one would hold the owner up for 60 s."""
    ours = claim(firestore)
    firestore.transact(JOB, claiming())
    firestore._deadline_seconds = 1.0
    firestore.transact(JOB, BY_OWNER["renew"](ours))


def test_a_transaction_whose_read_breaks_off_locks_nobody_out(firestore: FirestoreLedger, faults: Faults) -> None:
    """Its first answer tells of the transaction, and the rest may never come. The emulator would lock for a minute."""
    ours = claim(firestore)
    faults.plan(READ, grpc.StatusCode.DEADLINE_EXCEEDED, applied=True)
    firestore._deadline_seconds = 1.0
    firestore.transact(JOB, BY_OWNER["renew"](ours))
    assert faults.calls[2:] == [READ, UNDO, READ, WRITE]


def test_a_record_that_cannot_be_understood_locks_nobody_out(
    firestore: FirestoreLedger, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(firestore)
    monkeypatch.setattr(module, "decode", lambda _: [].pop())
    with pytest.raises(IndexError):
        firestore.transact(JOB, claiming())
    assert faults.calls[2:] == [READ, UNDO]


def test_a_record_that_cannot_be_understood_leaves_its_read_heard_to_the_end(
    firestore: FirestoreLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or gRPC would hold the call for as long as the connection lasts."""
    claim(firestore)
    read, heard = firestore._read, []

    def listened(**how: Any) -> Iterator[Any]:
        yield from read(**how)
        heard.append("all")

    monkeypatch.setattr(firestore, "_read", listened)
    monkeypatch.setattr(module, "decode", lambda _: [].pop())
    with pytest.raises(IndexError):
        firestore.transact(JOB, claiming())
    assert heard == ["all"]


def test_a_rollback_takes_little_of_the_time_that_a_retry_has(
    firestore: FirestoreLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(firestore)
    undo, limits = firestore._undo, []

    def timed(*, timeout: float, **how: Any) -> Any:
        limits.append(timeout)
        return undo(timeout=timeout, **how)

    monkeypatch.setattr(firestore, "_undo", timed)
    firestore.transact(JOB, claiming())
    assert 0 < limits[0] <= 1.0


def test_a_rollback_that_fails_changes_no_answer(firestore: FirestoreLedger, faults: Faults) -> None:
    claim(firestore)
    faults.plan(UNDO, grpc.StatusCode.UNAVAILABLE)
    assert isinstance(firestore.transact(JOB, claiming()), Refusal)


@pytest.mark.parametrize("method", [READ, WRITE])
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_call_that_failed_is_made_again(
    firestore: FirestoreLedger, faults: Faults, method: str, status: grpc.StatusCode
) -> None:
    faults.plan(method, status, status)
    claim(firestore)
    assert faults.calls.count(method) == 3
    assert claims_of(found(firestore)) == 1


@pytest.mark.parametrize("status", TRANSIENT)
def test_a_claim_whose_answer_was_lost_is_ours_and_consumes_one_epoch(
    firestore: FirestoreLedger, faults: Faults, status: grpc.StatusCode
) -> None:
    faults.plan(WRITE, status, applied=True)
    ours = claim(firestore)
    assert (claims_of(found(firestore)), ours.nonce) == (1, found(firestore).nonce)
    assert faults.calls.count(WRITE) == 1


@pytest.mark.parametrize("deed", BY_OWNER)
def test_whatever_an_owner_does_is_done_once_when_the_answer_was_lost(
    firestore: FirestoreLedger, faults: Faults, deed: str
) -> None:
    ours = claim(firestore)
    faults.plan(WRITE, grpc.StatusCode.DEADLINE_EXCEEDED, applied=True)
    firestore.transact(JOB, BY_OWNER[deed](ours))
    assert found(firestore).attempts == (deed in {"retry", "bury"})
    assert len(found(firestore).history) == (deed != "renew")


def test_a_commit_that_comes_late_cannot_undo_what_happened_since(firestore: FirestoreLedger, faults: Faults) -> None:
    faults.plan(WRITE, grpc.StatusCode.DEADLINE_EXCEEDED)
    ours = claim(firestore)
    done = firestore.transact(JOB, BY_OWNER["complete"](ours))
    client = FirestoreClient(transport=FirestoreGrpcTransport(channel=firestore._channel))
    with pytest.raises(GoogleAPICallError):
        client.commit(request=CommitRequest.wrap(faults.held[0]))
    assert firestore.read(JOB) == done


@pytest.mark.parametrize("status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED])
def test_a_refusal_of_access_is_a_pause_at_once(
    firestore: FirestoreLedger, faults: Faults, status: grpc.StatusCode
) -> None:
    faults.plan(READ, status, status)
    for call in (lambda: claim(firestore), firestore.check):
        with pytest.raises(NeighbourDown, match="injected") as down:
            call()
        assert (down.value.neighbour, down.value.reason) == ("firestore", "forbidden")
    assert faults.calls == [READ, READ]


def test_a_database_that_does_not_exist_is_a_matter_of_configuration(
    firestore: FirestoreLedger, faults: Faults
) -> None:
    faults.plan(READ, grpc.StatusCode.NOT_FOUND)
    with pytest.raises(ConfigError, match=r"SUBSCRIBER_FIRESTORE_DATABASE.*\n.*gcloud firestore databases create"):
        firestore.check()


def test_missing_credentials_are_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(ConfigError, match=r"absent.json.*\n.*gcloud auth application-default login"):
        FirestoreLedger("project", "(default)", "ledger")


@pytest.mark.parametrize("listening", [False, True])
def test_an_outage_is_reported_when_the_deadline_is_over(listening: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody listens, or somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if listening else free_port()
        away = FirestoreLedger("project", "(default)", "ledger", emulator_host=f"127.0.0.1:{port}", deadline_seconds=1)
        began = time.monotonic()
        with closing(away), pytest.raises(NeighbourDown) as down:
            away.transact(JOB, claiming())
    assert (down.value.neighbour, down.value.reason) == ("firestore", "unavailable")
    assert time.monotonic() - began < 2.5
    assert capfd.readouterr().err == ""


def test_the_ledger_is_found_again_when_it_is_back(firestore: FirestoreLedger, faults: Faults) -> None:
    firestore._deadline_seconds = 0.2
    faults.plan(READ, *[grpc.StatusCode.UNAVAILABLE] * 20)
    with pytest.raises(NeighbourDown):
        claim(firestore)
    faults._planned.clear()
    claim(firestore)
    assert claims_of(found(firestore)) == 1
