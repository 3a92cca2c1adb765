"""One suite for both ledgers, and what only each of them can suffer."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run
import pytest
from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from subscriber.adapters.firestore import FirestoreLedger
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.decisions import Refusal, Verdict
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ClaimLost, ConfigError, NeighbourDown
from subscriber.model import SCHEMA_VERSION, Claim, Job, Outcome, Record, State
from tests.claims import BY_OWNER, CLAIMED, JOB, RESULT, claiming
from tests.test_documents import FULL
from tests.world import fresh

AnyLedger = FirestoreLedger | SqliteLedger

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
READ, WRITE = "BatchGetDocuments", "Commit"


@pytest.fixture(params=["sqlite", "firestore"])
def ledger(request: pytest.FixtureRequest) -> AnyLedger:
    """An empty ledger; the test runs once on each."""
    made: AnyLedger = request.getfixturevalue(request.param)
    made.check()
    return made


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as made:
        yield made


@pytest.fixture
def firestore(emulators: Emulators) -> Iterator[FirestoreLedger]:
    host = emulators.firestore_host
    with closing(FirestoreLedger(emulators.project, "(default)", fresh("ledger"), emulator_host=host)) as made:
        yield made


def claim(ledger: AnyLedger, job: Job = JOB) -> Claim:
    answer = ledger.transact(job, claiming(job))
    assert isinstance(answer, Claim)
    return answer


def found(ledger: AnyLedger, job: Job = JOB) -> Record:
    record = ledger.read(job)
    assert record
    return record


def put(ledger: AnyLedger, record: Record, job: Job = JOB) -> None:
    ledger.transact(job, lambda _, __: Verdict(None, record))


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    """The answers of `count` threads that start together."""
    start = threading.Barrier(count)

    def run() -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]


def test_a_job_that_nobody_has_seen_has_no_record(ledger: AnyLedger) -> None:
    assert ledger.read(JOB) is None


def test_a_claim_is_granted_renewed_and_completed(ledger: AnyLedger) -> None:
    ours = claim(ledger)
    assert found(ledger).nonce == ours.nonce
    before = found(ledger).renewed_at
    ledger.transact(JOB, BY_OWNER["renew"](ours))
    assert found(ledger).renewed_at > before
    done = ledger.transact(JOB, BY_OWNER["complete"](ours))
    assert found(ledger) == done
    assert (done.state, done.outputs, done.progress.done) == (State.DONE, RESULT.outputs, 30.0)
    duplicate = ledger.transact(JOB, claiming())
    assert isinstance(duplicate, Refusal)
    assert duplicate.outcome is Outcome.DUPLICATE


def test_a_live_claim_makes_others_busy(ledger: AnyLedger) -> None:
    claim(ledger)
    busy = ledger.transact(JOB, claiming())
    assert isinstance(busy, Refusal)
    assert busy.outcome is Outcome.BUSY
    assert 80 < busy.retry_after_seconds < 90


def test_a_claim_whose_owner_is_silent_is_taken_over_and_its_owner_fenced(ledger: AnyLedger) -> None:
    theirs = claim(ledger)
    put(ledger, replace(found(ledger), renewed_at=found(ledger).renewed_at - timedelta(seconds=90)))
    ours = claim(ledger)
    assert (ours.epoch, ours.taken_over) == (2, True)
    for deed in BY_OWNER.values():
        with pytest.raises(ClaimLost):
            ledger.transact(JOB, deed(theirs))
    assert found(ledger).nonce == ours.nonce


def test_a_claim_expires_by_the_ledgers_own_clock(ledger: AnyLedger) -> None:
    ledger.transact(JOB, claiming(claim_seconds=0.3))
    asked, ends_at = 0, time.monotonic() + 10
    while not isinstance(ledger.transact(JOB, claiming()), Claim):
        asked += 1
        assert time.monotonic() < ends_at
    assert asked
    assert found(ledger).epoch == 2


def test_a_failed_job_waits_and_a_released_one_is_due_at_once(ledger: AnyLedger) -> None:
    ledger.transact(JOB, BY_OWNER["release"](claim(ledger)))
    ledger.transact(JOB, BY_OWNER["retry"](claim(ledger)))
    early = ledger.transact(JOB, claiming())
    assert isinstance(early, Refusal)
    assert early.outcome is Outcome.EARLY
    assert (found(ledger).attempts, found(ledger).epoch) == (1, 2)


def test_one_of_eight_claimers_wins_and_the_others_are_busy(ledger: AnyLedger) -> None:
    answers = at_once(8, lambda: ledger.transact(JOB, claiming()))
    claims = [answer for answer in answers if isinstance(answer, Claim)]
    assert [answer.outcome for answer in answers if answer not in claims] == [Outcome.BUSY] * 7
    assert [claim.nonce for claim in claims] == [found(ledger).nonce]
    assert found(ledger).epoch == 1


def test_no_update_is_lost_among_eight_writers(ledger: AnyLedger) -> None:
    put(ledger, CLAIMED)

    def grow(record: Record | None, _: datetime) -> Verdict[None]:
        assert record
        return Verdict(None, replace(record, takeovers=record.takeovers + 1))

    at_once(8, lambda: [ledger.transact(JOB, grow) for _ in range(3)])
    assert found(ledger).takeovers == 24


@pytest.mark.parametrize("before", [None, CLAIMED])
def test_a_decision_that_raises_writes_nothing_and_stops_nobody(ledger: AnyLedger, before: Record | None) -> None:
    if before:
        put(ledger, before)

    def refuse(_: Record | None, __: datetime) -> Verdict[None]:
        raise ClaimLost("no")

    with pytest.raises(ClaimLost, match="no"):
        ledger.transact(JOB, refuse)
    assert ledger.read(JOB) == before
    put(ledger, FULL)
    assert ledger.read(JOB) == FULL


def test_a_decision_without_a_record_writes_nothing(ledger: AnyLedger) -> None:
    assert ledger.transact(JOB, lambda record, _: Verdict(record)) is None
    assert ledger.read(JOB) is None


def test_a_newer_versions_record_is_left_alone(ledger: AnyLedger) -> None:
    newer = replace(CLAIMED, schema_version=SCHEMA_VERSION + 1, renewed_at=datetime(2020, 1, 1, tzinfo=UTC))
    put(ledger, newer)
    early = ledger.transact(JOB, claiming())
    assert isinstance(early, Refusal)
    assert early.outcome is Outcome.EARLY
    assert ledger.read(JOB) == newer


def test_every_field_survives_with_its_microseconds(ledger: AnyLedger) -> None:
    put(ledger, FULL)
    assert ledger.read(JOB) == FULL
    assert found(ledger).created_at.microsecond == 123456


@pytest.mark.parametrize("name", ["..", ".", "a/b//c", "#1", "__x__", "\N{GRINNING FACE}" * 256, " ", "a\nb", "ü%2F?"])
def test_any_object_name_has_a_record_of_its_own(ledger: AnyLedger, name: str) -> None:
    odd = replace(JOB, name=name)
    claim(ledger)
    assert claim(ledger, odd).epoch == 1
    assert found(ledger, odd).name == name
    assert claim(ledger, replace(odd, generation=odd.generation + 1)).epoch == 1


@pytest.mark.parametrize("record", [None, CLAIMED])
def test_the_ledgers_time_is_fresh_at_every_read(ledger: AnyLedger, record: Record | None) -> None:
    if record:
        put(ledger, record)
    first, second = (ledger.transact(JOB, lambda _, now: Verdict(now)) for _ in range(2))
    assert first < second
    assert abs(datetime.now(UTC) - second) < timedelta(seconds=5)


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

    intercept_unary_stream = intercept_unary_unary


@pytest.fixture
def faults(firestore: FirestoreLedger) -> Faults:
    """Faults on the wire of the Firestore ledger, behind Google's real client."""
    made = Faults()
    channel = grpc.intercept_channel(firestore._channel, made)
    firestore._client = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
    return made


def test_a_grant_takes_two_calls_and_a_refusal_or_a_read_one(firestore: FirestoreLedger, faults: Faults) -> None:
    claim(firestore)
    assert faults.calls == [READ, WRITE]
    firestore.transact(JOB, claiming())
    firestore.read(JOB)
    assert faults.calls == [READ, WRITE, READ, READ]


@pytest.mark.parametrize("method", [READ, WRITE])
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_call_that_failed_is_made_again(
    firestore: FirestoreLedger, faults: Faults, method: str, status: grpc.StatusCode
) -> None:
    faults.plan(method, status, status)
    assert claim(firestore).epoch == 1
    assert faults.calls.count(method) == 3


@pytest.mark.parametrize("status", TRANSIENT)
def test_a_claim_whose_answer_was_lost_is_ours_and_consumes_one_epoch(
    firestore: FirestoreLedger, faults: Faults, status: grpc.StatusCode
) -> None:
    faults.plan(WRITE, status, applied=True)
    ours = claim(firestore)
    assert (ours.epoch, ours.nonce) == (1, found(firestore).nonce)
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
    with pytest.raises(AlreadyExists):
        firestore._client.commit(request=faults.held[0])
    assert firestore.read(JOB) == done


def test_a_claimer_that_loses_between_its_read_and_its_write_is_busy(firestore: FirestoreLedger) -> None:
    rivals: list[Claim] = []
    ours = claiming()

    def decide(record: Record | None, now: datetime) -> Verdict[Claim | Refusal]:
        if not rivals:
            rivals.append(claim(firestore))
        return ours(record, now)

    answer = firestore.transact(JOB, decide)
    assert isinstance(answer, Refusal)
    assert answer.outcome is Outcome.BUSY
    assert found(firestore).nonce == rivals[0].nonce


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
    assert claim(firestore).epoch == 1


def test_two_connections_to_one_file_take_turns(sqlite: SqliteLedger) -> None:
    with closing(SqliteLedger(sqlite._path)) as other:
        turns = iter([sqlite, other] * 4)
        answers = at_once(8, lambda: next(turns).transact(JOB, claiming()))
    assert sum(isinstance(answer, Claim) for answer in answers) == 1


def test_a_record_outlives_the_process(sqlite: SqliteLedger) -> None:
    put(sqlite, FULL)
    sqlite.close()
    sqlite.close()
    assert sqlite.read(JOB) == FULL


def test_a_power_cut_takes_no_commit_back(sqlite: SqliteLedger) -> None:
    with sqlite._connection() as connection:
        pragmas = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_a_file_that_cannot_be_opened_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OUTBOX"):
        SqliteLedger(tmp_path / "absent" / "ledger.sqlite").check()


def test_a_file_that_fails_is_an_outage(sqlite: SqliteLedger) -> None:
    sqlite.check()
    with closing(sqlite3.connect(sqlite._path)) as vandal:
        vandal.execute("DROP TABLE records")
    with pytest.raises(NeighbourDown, match="no such table"):
        sqlite.read(JOB)
    with pytest.raises(NeighbourDown, match="no such table"):
        claim(sqlite)
