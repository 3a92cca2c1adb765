"""`python -m bench [NAME ...]`: measure all, or what is named, and print the figures. `make bench` calls it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial

from bench import again, ceiling, daemon, decode, memory, plot, pods, races, reach, scaling, words
from bench.table import Row, Table, table

MEASUREMENTS: Mapping[str, Callable[[], Iterable[Row | Table]]] = {
    "decode": decode.rows,
    "memory": memory.rows,
    "places": memory.places,
    "daemon": daemon.rows,
    "pods": pods.rows,
    "words": words.rows,
    "stub": ceiling.rows,
    **{f"race-{name}": partial(races.rows, name) for name in races.RACES},
    "light": reach.light,
    "idle": reach.idle,
    "start": reach.start,
    "calls": reach.calls,
    "acks": reach.acks,
    "duplicates": again.duplicates,
    "slow-answers": again.slow_answers,
    "slots": scaling.slots,
    "daemons": scaling.daemons,
    "lengths": scaling.lengths,
    "backlog": scaling.backlog,
}


def main(names: list[str]) -> None:
    """Measure one after the other, so that none disturbs another. Raises KeyError for an unknown name."""
    rows: list[Row] = []
    tables: list[Table] = []
    for measure in [MEASUREMENTS[name] for name in names or MEASUREMENTS]:
        for found in measure():
            if isinstance(found, Table):
                tables.append(found)
                continue
            print(f"{datetime.now(UTC):%H:%M:%S} {found.what}: {found.reached}", file=sys.stderr, flush=True)
            rows.append(found)
    print(*[table(rows)] * bool(rows), *tables, sep="\n\n", flush=True)
    plot.main()


if __name__ == "__main__":
    main(sys.argv[1:])
