"""One suite for both ways of reading the ledger as an operator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from subscriber.adapters.firestore import FirestoreLedger
from subscriber.adapters.firestore_records import FirestoreRecords
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.adapters.sqlite_records import SqliteRecords
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import Record, State
from subscriber.ports import Records
from subscriber.queries import ALL, Place, Wanted
from tests.claims import CLAIMED, JOB, NOW, REASON, AnyLedger, put
from tests.world import fresh

BUCKET = CLAIMED.bucket
NAMES = ["a", "a/1", "a/2", "b", "é", "大阪", "\uffff", "\U0001f399"]
"""As UTF-8 sorts them; UTF-16 would put the last but one behind the last."""


@dataclass(frozen=True)
class Filed:
    """A ledger and the same as an operator reads it."""

    ledger: AnyLedger
    records: Records

    def put(self, name: str, age_minutes: float = 0, generation: int = 1, **changes: object) -> Record:
        created = NOW - timedelta(minutes=age_minutes)
        made = replace(CLAIMED, name=name, generation=generation, created_at=created, **changes)  # type: ignore[arg-type]
        put(self.ledger, made, made.job)
        return made

    def found(self, wanted: Wanted = ALL) -> list[str]:
        return [record.name for record in self.records.search(wanted)]


@pytest.fixture
def on_sqlite(sqlite: SqliteLedger, tmp_path: Path) -> Filed:
    sqlite.check()
    return Filed(sqlite, SqliteRecords(tmp_path / "ledger.sqlite"))


@pytest.fixture
def on_firestore(emulators: Emulators) -> Iterator[Filed]:
    """With pages of three records, so that every test of more than three turns one."""
    where, host = (emulators.project, "(default)", fresh("ledger")), emulators.firestore_host
    with (
        closing(FirestoreLedger(*where, emulator_host=host)) as ledger,
        closing(FirestoreRecords(*where, emulator_host=host, page_records=3)) as records,
    ):
        yield Filed(ledger, records)


@pytest.fixture(params=["on_sqlite", "on_firestore"])
def filed(request: pytest.FixtureRequest) -> Filed:
    made: Filed = request.getfixturevalue(request.param)
    return made


def test_an_empty_ledger_has_no_records(filed: Filed) -> None:
    assert filed.found() == []


def test_all_come_newest_first_and_whole(filed: Filed) -> None:
    made = [filed.put(name, age_minutes=age) for age, name in enumerate(NAMES)]
    assert list(filed.records.search(ALL)) == made


def test_a_multiple_of_a_page_ends_as_any_other(filed: Filed) -> None:
    for age in range(6):
        filed.put(str(age), age)
    assert filed.found() == ["0", "1", "2", "3", "4", "5"]


def test_records_of_one_moment_are_met_once_each(filed: Filed) -> None:
    for name in NAMES:
        filed.put(name)
    assert sorted(filed.found()) == sorted(NAMES)


def test_a_place_comes_by_name(filed: Filed) -> None:
    for age, name in enumerate(reversed(NAMES)):
        filed.put(name, age)
    filed.put("a/3", bucket="another")
    assert filed.found(Wanted(Place.below(BUCKET))) == NAMES
    assert filed.found(Wanted(Place.below(BUCKET, "a/"))) == ["a/1", "a/2"]
    assert filed.found(Wanted(Place.below(BUCKET, "\U0001f399"))) == ["\U0001f399"]
    assert filed.found(Wanted(Place.below("another"))) == ["a/3"]
    assert filed.found(Wanted(Place.below("nowhere"))) == []


def test_one_object_has_all_its_generations_and_nobody_elses(filed: Filed) -> None:
    for generation in range(4):
        filed.put("a", generation=generation)
    filed.put("a/1")
    filed.put("a", bucket="another")
    found = list(filed.records.search(Wanted(Place.of(BUCKET, "a"))))
    assert {(record.bucket, record.name) for record in found} == {(BUCKET, "a")}
    assert sorted(record.generation for record in found) == [0, 1, 2, 3]


def test_each_filter_and_all_together(filed: Filed) -> None:
    other = replace(REASON, kind="empty")
    filed.put("dead", 1, state=State.DEAD)
    filed.put("empty", 2, state=State.DEAD, reason=other)
    filed.put("waiting", 3, state=State.WAITING)
    filed.put("done", 4, state=State.DONE, reason=None)
    filed.put("long ago", 600, state=State.DEAD)
    hour = NOW - timedelta(hours=1)
    dead, unfinished = frozenset({State.DEAD}), frozenset({State.WAITING, State.CLAIMED})
    assert filed.found(Wanted(states=dead)) == ["dead", "empty", "long ago"]
    assert filed.found(Wanted(states=unfinished | dead)) == ["dead", "empty", "waiting", "long ago"]
    assert filed.found(Wanted(reason="empty")) == ["empty"]
    assert filed.found(Wanted(reason=REASON.kind)) == ["dead", "waiting", "long ago"]
    assert filed.found(Wanted(states=unfinished, reason=REASON.kind)) == ["waiting"]
    assert filed.found(Wanted(since=hour)) == ["dead", "empty", "waiting", "done"]
    assert filed.found(Wanted(states=dead, since=hour)) == ["dead", "empty"]
    assert filed.found(Wanted(Place.below(BUCKET, "d"), states=dead)) == ["dead"]
    everything = Wanted(Place.below(BUCKET, "d"), dead, REASON.kind, hour)
    assert filed.found(everything) == ["dead"]


def test_a_reader_may_change_what_it_meets(filed: Filed) -> None:
    """`replay` does: a record that is no longer dead must not be lost or met again for it."""
    for age in range(7):
        filed.put(str(age), age, state=State.DEAD)
    met = []
    for record in filed.records.search(Wanted(states=frozenset({State.DEAD}))):
        met.append(record.name)
        put(filed.ledger, replace(record, state=State.WAITING), record.job)
    assert met == ["0", "1", "2", "3", "4", "5", "6"]


def test_pages_are_read_as_they_are_taken(on_firestore: Filed) -> None:
    for age in range(5):
        on_firestore.put(str(age), age)
    records = on_firestore.records.search(ALL)
    assert next(records).name == "0"
    on_firestore.put("older", 60)
    assert [record.name for record in records] == ["1", "2", "3", "4", "older"]


def test_records_are_found_by_their_jobs(filed: Filed) -> None:
    made = [filed.put(name, generation=generation) for name in NAMES for generation in (1, 2)]
    filed.put("a", generation=1, output="gs://elsewhere")
    absent = replace(made[0].job, generation=3)
    assert filed.records.find([made[2].job, absent, made[5].job]) == {made[2].job: made[2], made[5].job: made[5]}
    assert filed.records.find([]) == {}
    assert filed.records.find([absent]) == {}


def test_several_hundred_are_found_at_once(filed: Filed) -> None:
    jobs = [replace(CLAIMED.job, name=f"{number}", generation=1) for number in range(300)]
    for job in jobs[::50]:
        filed.put(job.name)
    assert set(filed.records.find(jobs)) == set(jobs[::50])


def test_a_tombstone_is_found_by_the_job_that_it_no_longer_names(filed: Filed) -> None:
    forgotten = replace(CLAIMED, bucket="", name="", generation=0, state=State.FORGOTTEN)
    put(filed.ledger, forgotten, CLAIMED.job)
    assert filed.records.find([CLAIMED.job]) == {CLAIMED.job: forgotten}


def test_no_ledger_is_a_matter_of_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OUTBOX"):
        list(SqliteRecords(tmp_path / "absent.sqlite").search(ALL))


def test_a_file_that_is_no_ledger_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, but longer than the header of one would be: " * 10)
    with pytest.raises(NeighbourDown, match="not a database"):
        list(SqliteRecords(tmp_path / "file").search(ALL))


ASKING: list[Callable[[Records], object]] = [
    lambda records: list(records.search(ALL)),
    lambda records: records.find([JOB]),
]


@pytest.mark.parametrize("ask", ASKING, ids=["search", "find"])
def test_an_outage_is_reported(monkeypatch: pytest.MonkeyPatch, ask: Callable[[Records], object]) -> None:
    monkeypatch.setattr("subscriber.adapters.firestore_records.PATIENCE_SECONDS", 0.5)
    away = FirestoreRecords("project", "(default)", "ledger", emulator_host=f"127.0.0.1:{free_port()}")
    with closing(away), pytest.raises(NeighbourDown) as down:
        ask(away)
    assert (down.value.neighbour, down.value.reason) == ("firestore", "unavailable")
