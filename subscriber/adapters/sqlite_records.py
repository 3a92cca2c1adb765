"""The embedded ledger's records as an operator reads them.

The law of this file: it only reads, on a connection of its own, and one search sees one moment: the daemon that writes
meanwhile neither waits nor is seen. SQLite sorts on disk what does not fit into its cache.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from subscriber.documents import from_document
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import Job, Record
from subscriber.queries import Plan, Wanted

__all__ = ["SqliteRecords"]

DIRECTIONS = {"ascending": "ASC", "descending": "DESC"}


class SqliteRecords:
    """`ports.Records` in the ledger's file, which must be there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def search(self, wanted: Wanted) -> Iterator[Record]:
        """As the port says. Raises ConfigError where there is no ledger, NeighbourDown."""
        for _, record in self._rows(*_statement(wanted.plan())):
            if wanted.holds(record):
                yield record

    def find(self, jobs: Sequence[Job]) -> dict[Job, Record]:
        """As the port says."""
        asked = {job.id: job for job in jobs}
        rows = self._rows(f"SELECT id, document FROM records WHERE {_one_of('id', asked)}", list(asked))  # noqa: S608
        return {asked[key]: record for key, record in rows}

    def close(self) -> None:
        """Nothing stays open between two searches."""

    def _rows(self, statement: str, values: list[str]) -> Iterator[tuple[str, Record]]:
        if not self._path.is_file():
            raise ConfigError("OUTBOX", f"{self._path} does not exist", "name a folder that `local` wrote to")
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                for key, document in connection.execute(statement, values):
                    yield key, from_document(json.loads(document))
        except sqlite3.Error as error:
            raise NeighbourDown("firestore", "unavailable", f"{self._path}: {error}") from error


def _statement(plan: Plan) -> tuple[str, list[str]]:
    """The plan in SQL. Times are ISO texts in UTC, which sort as the times do."""
    clauses, values = [f"{_field(plan.ranged)} IS NOT NULL"], list[str]()
    for field, one_of in plan.fixed.items():
        clauses.append(_one_of(_field(field), one_of))
        values += one_of
    for bound, comparison in ((plan.first, ">="), (plan.end, "<")):
        if bound is not None:
            clauses.append(f"{_field(plan.ranged)} {comparison} ?")
            values.append(bound.isoformat() if isinstance(bound, datetime) else bound)
    direction = DIRECTIONS[plan.direction]
    order = f"{_field(plan.ranged)} {direction}, id {direction}"
    # The fields' names are those of our plans, none of anybody's input.
    return f"SELECT id, document FROM records WHERE {' AND '.join(clauses)} ORDER BY {order}", values  # noqa: S608


def _one_of(column: str, values: Collection[str]) -> str:
    return f"{column} IN ({', '.join('?' * len(values))})"


def _field(path: str) -> str:
    return f"json_extract(document, '$.{path}')"
