"""The ledger of the embedded mode: one SQLite file.

The law of this file: a decision runs inside `BEGIN IMMEDIATE`, so between its read and its write nobody else writes,
neither a thread of ours nor another process on the same file. Its time is this machine's clock: whoever shares the file
shares the clock.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from subscriber.budget_decisions import Day, DecideDay
from subscriber.decisions import Decide
from subscriber.documents import day_from_document, day_to_document, from_document, to_document
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import Job, Record
from subscriber.verdict import Decision

__all__ = ["SqliteLedger"]

D = TypeVar("D")
T = TypeVar("T")

_BUSY_SECONDS = 15.0
# The wait for another process's lock: a transaction holds it for milliseconds, so after this long its owner hangs.

_OPENING = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""
# FULL, because with NORMAL a power cut may take back the last commits: a job that was done would be run and perhaps be
# paid for again. It costs one fsync a commit, of which a job has a handful. WAL lets readers in meanwhile.


@dataclass(frozen=True)
class _Kind(Generic[D]):
    """A kind of document, which has a table of its own: how one is found there, and how it is put."""

    find: str
    put: str
    to_document: Callable[[D], dict[str, Any]]
    from_document: Callable[[Mapping[str, Any]], D]


_RECORDS = _Kind[Record](
    "SELECT document FROM records WHERE id = ?",
    "INSERT OR REPLACE INTO records VALUES (?, ?)",
    to_document,
    from_document,
)
_BUDGET = _Kind[Day](
    "SELECT document FROM budget WHERE id = ?",
    "INSERT OR REPLACE INTO budget VALUES (?, ?)",
    day_to_document,
    day_from_document,
)


class SqliteLedger:
    """A `Ledger` and `BudgetLedger` in the file `path`, which `check` creates.

    Threads may share it; they take turns at one connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def check(self) -> None:
        """Open the file, creating it. Raises ConfigError."""
        try:
            with self._connection():
                pass
        except NeighbourDown as error:
            raise ConfigError("OUTBOX", str(error), "name a folder on a local disk that we may write to") from error

    def transact(self, job: Job, decide: Decide[T]) -> T:
        """Read, decide, write in one transaction; see `ports.Ledger`. Raises NeighbourDown and what `decide` raises."""
        return self._transact(_RECORDS, job.id, decide)

    def transact_budget(self, decide: DecideDay[T]) -> T:
        """The same with the day's budget."""
        return self._transact(_BUDGET, "day", decide)

    def read(self, job: Job) -> Record | None:
        """The job's record as it is. Raises NeighbourDown."""
        with self._connection() as connection:
            return _find(connection, _RECORDS, job.id)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._turn:
            connection, self._opened = self._opened, None
            if connection:
                connection.close()

    def _transact(self, kind: _Kind[D], document_id: str, decide: Callable[[D | None, datetime], Decision[T, D]]) -> T:
        with self._connection() as connection, _immediate(connection):
            decision = decide(_find(connection, kind, document_id), datetime.now(UTC))
            if decision.write:
                text = json.dumps(kind.to_document(decision.write), default=datetime.isoformat)
                connection.execute(kind.put, (document_id, text))
        return decision.answer

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The one connection, for one caller at a time; opened at its first use."""
        with self._turn:
            try:
                self._opened = self._opened or _open(self._path)
                yield self._opened
            except sqlite3.Error as error:
                # The port's users know the ledger by its name in production, and pause for it the same way.
                raise NeighbourDown("firestore", "unavailable", f"{self._path}: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the file ours. Of two that open a new one at once, SQLite refuses one without the wait that it was told."""
    ends_at = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.executescript(_OPENING)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start: a read lock that grows into one can fail half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _find(connection: sqlite3.Connection, kind: _Kind[D], document_id: str) -> D | None:
    row = connection.execute(kind.find, (document_id,)).fetchone()
    return kind.from_document(json.loads(row[0])) if row else None
