"""`forget`: erases what there is of an object, and says what that was."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from subscriber import config
from subscriber.compose_desk import desk
from subscriber.desk.forget import Erased, Traces, find, forget
from subscriber.desk.words import readings, shown

__all__ = ["forget_object"]


def forget_object(address: str, outbox: Path | None, *, dry_run: bool) -> int:
    """0 when all of it is erased, 1 when something resisted or there was nothing. Raises ConfigError."""
    with desk(config.environ(), outbox) as tools:
        traces = find(tools, readings(address, tools.source_bucket))
        name = shown(str(traces.address))
        if not traces:
            print(f"{name}: no record, no transcript, no chunk, no object", file=sys.stderr)
            return 1
        if dry_run:
            _print_traces(name, traces)
            return 0
        erased = forget(tools, traces, _wait)
    _print_erased(name, erased, traces)
    return 1 if erased.resisted else 0


def _wait(seconds: float) -> None:
    print(f"waiting {seconds:.0f} s: a worker had it, and may write until its claim's end", file=sys.stderr)
    time.sleep(seconds)


def _print_traces(name: str, traces: Traces) -> None:
    print(f"{name}: would erase")
    for file in traces.files:
        print(f"  {shown(f'gs://{file.bucket}/{file.name}')}")
    print(f"  {len(traces.chunks)} chunks")
    print(f"  {len(traces.jobs)} records, of generations {', '.join(str(job.generation) for job in traces.jobs)}")


def _print_erased(name: str, erased: Erased, traces: Traces) -> None:
    print(f"{name}: erased")
    for file in erased.files:
        print(f"  {shown(file)}")
    print(f"  {erased.chunks} chunks; another object with the same sound pays for them again if it is run again")
    print(f"  {erased.records} records; each left a tombstone without a name, so that redeliveries are acked")
    for failure in erased.resisted:
        print(f"  NOT erased: {shown(failure)}")
    for output in sorted(traces.others):
        print(f"  not touched: what is under the OUTPUT {shown(output)}; run this with its settings")
    print(
        "The source object is not touched. Cloud Storage keeps what was deleted as long as the bucket's soft delete and"
    )
    print("versioning say.")
