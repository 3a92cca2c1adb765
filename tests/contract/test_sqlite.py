"""What only the ledger in a file can suffer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from subscriber.adapters.sqlite import SqliteLedger
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import Claim
from tests.claims import JOB, at_once, claim, claiming, put
from tests.test_documents import FULL


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
