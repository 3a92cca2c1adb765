"""`python -m bench [NAME ...]`: measure all, or what is named, and print one table. `make bench` calls it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bench import daemon, decode, memory, pods, words
from bench.table import Row, table

MEASUREMENTS = {
    "decode": decode.rows,
    "memory": memory.rows,
    "places": memory.places,
    "daemon": daemon.rows,
    "pods": pods.rows,
    "words": words.rows,
}


def main(names: list[str]) -> None:
    """Measure one after the other, so that none disturbs another. Raises KeyError for an unknown name."""
    rows: list[Row] = []
    for measure in [MEASUREMENTS[name] for name in names or MEASUREMENTS]:
        for row in measure():
            print(f"{datetime.now(UTC):%H:%M:%S} {row.what}: {row.reached}", file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
