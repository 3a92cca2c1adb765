"""Erasing an object: its transcripts, its paid chunks, its records; what remains says only that it shall not come back.

The law of this file: first the claims, then the files (JSON first: where it is, its set is complete), then the chunks,
and only then the tombstones. A crash in between leaves the records, so that a second run finds everything again. Files
of another source are never touched. The source object itself belongs to whoever put it there.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from subscriber.desk.decisions import Taken, decide_take, decide_tombstone
from subscriber.desk.tools import Desk
from subscriber.desk.transcripts import place_of
from subscriber.desk.words import Address
from subscriber.errors import Gone, Permanent, PreconditionFailed, Transient
from subscriber.model import Job, ObjectInfo
from subscriber.outputs import output_version
from subscriber.transcribe.cache import key_in

__all__ = ["Erased", "Traces", "find", "forget"]

EXTENSIONS = ("json", "txt", "srt", "vtt", "error.json")
"""JSON first."""

ROUNDS = 3
"""How often a file may change under our eyes; after the wait nobody of ours changes it."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What there is of one object: its generations, the files of its transcripts, the names of its chunks."""

    address: Address
    jobs: tuple[Job, ...]
    others: frozenset[str]
    files: tuple[ObjectInfo, ...]
    chunks: tuple[ObjectInfo, ...]

    def __bool__(self) -> bool:
        return bool(self.jobs or self.files or self.chunks)


@dataclass(slots=True)
class Erased:
    """What was erased, and what resisted and why."""

    files: list[str] = field(default_factory=list)
    chunks: int = 0
    records: int = 0
    resisted: list[str] = field(default_factory=list)


def find(desk: Desk, addresses: Iterable[Address]) -> Traces:
    """What there is of the first reading of an address of which there is anything, or of the last."""
    traces = None
    for address in addresses:
        traces = _traces(desk, address)
        if traces:
            break
    if traces is None:
        raise ValueError("an address has at least one reading")
    return traces


def forget(desk: Desk, traces: Traces, wait: Callable[[float], None]) -> Erased:
    """Erase it all. `wait` is told for how many seconds former owners may still write.

    Raises ClaimLost when somebody took a claim from us, NeighbourDown, Transient: then a second run finds the rest.
    """
    taken = [desk.ledger.transact(job, partial(decide_take, job=job, nonce=uuid.uuid4().hex)) for job in traces.jobs]
    if seconds := max((one.wait_seconds for one in taken), default=0.0):
        wait(seconds)
        # They may have written until now.
        traces = _traces(desk, traces.address)
    erased = Erased()
    files = {(file.bucket, file.name): file for file in (*traces.files, *_recorded_files(desk, taken))}
    for file in files.values():
        if _delete(desk, file, erased):
            erased.files.append(f"gs://{file.bucket}/{file.name}")
    for chunk in traces.chunks:
        erased.chunks += _delete(desk, chunk, erased)
    for one in taken:
        desk.ledger.transact(one.claim.job, partial(decide_tombstone, claim=one.claim))
        erased.records += 1
    return erased


def _traces(desk: Desk, address: Address) -> Traces:
    bucket, name = address.bucket, address.name
    records = [record for record in desk.records_of(bucket, name) if address.generation in {None, record.generation}]
    ours = {record.generation for record in records if record.output == desk.location.text}
    live = desk.live(bucket, name)
    if live and address.generation in {None, live.generation}:
        ours.add(live.generation)
    files = [file for generation in (ours or {address.generation or 0}) for file in _files(desk, address, generation)]
    files = list({file.name: file for file in files}.values())
    versions = [version for file in files if (version := output_version(file))]
    ours |= {version.generation for version in versions}
    chunks = _chunks(desk, address, files)
    return Traces(
        address=address,
        jobs=tuple(desk.job(bucket, name, generation) for generation in sorted(ours)),
        others=frozenset(record.output for record in records) - {desk.location.text},
        files=tuple(files),
        chunks=chunks,
    )


def _files(desk: Desk, address: Address, generation: int) -> Iterator[ObjectInfo]:
    """The files that stand where a generation's transcript goes, and are of our object."""
    job = desk.job(address.bucket, address.name, generation)
    for extension in EXTENSIONS:
        try:
            found = desk.objects.stat(desk.location.bucket, desk.location.name_for(job, extension))
        except Permanent:  # a name that is too long has no files
            continue
        if found and _is_of(found, address):
            yield found


def _recorded_files(desk: Desk, taken: Iterable[Taken]) -> Iterator[ObjectInfo]:
    """What a record names and does not stand where OUTPUT says today."""
    for one in taken:
        job = one.claim.job
        for uri in sorted(one.outputs, key=lambda uri: not uri.endswith(".json")):
            found = desk.objects.stat(*place_of(uri))
            if found and _is_of(found, Address(job.bucket, job.name, job.generation)):
                yield found


def _is_of(found: ObjectInfo, address: Address) -> bool:
    version = output_version(found)
    return (
        version is not None
        and (version.bucket, version.name) == (address.bucket, address.name)
        and address.generation in {None, version.generation}
    )


def _chunks(desk: Desk, address: Address, files: Iterable[ObjectInfo]) -> tuple[ObjectInfo, ...]:
    """What was paid for this object, also without ever becoming a transcript; and what its transcripts are made of."""
    source_id = Job(address.bucket, address.name, 0, "").source_id
    named = {key for file in files for key in _keys(desk, file)}
    kept = desk.objects.below(desk.location.bucket, desk.chunk_prefix)
    return tuple(found for found in kept if found.metadata.get("source-id") == source_id or key_in(found.name) in named)


def _keys(desk: Desk, file: ObjectInfo) -> list[str]:
    """The chunks that a transcript's JSON names; none of any other file, or of one that cannot be read."""
    if not file.name.endswith(".json") or file.name.endswith(".error.json"):
        return []
    try:
        document: Any = json.loads(desk.objects.read(file))
        return [key for chunk in document["chunks"] if isinstance(key := chunk.get("key"), str)]
    except (AttributeError, Gone, KeyError, TypeError, ValueError):
        return []


def _delete(desk: Desk, found: ObjectInfo, erased: Erased) -> bool:
    """Delete a file, also if it has changed meanwhile; note why it cannot be."""
    live: ObjectInfo | None = found
    for _ in range(ROUNDS):
        try:
            if live:
                desk.objects.delete(live.bucket, live.name, if_generation=live.generation)
        except PreconditionFailed:
            live = desk.objects.stat(found.bucket, found.name)
        except (Permanent, Transient) as error:
            erased.resisted.append(f"gs://{found.bucket}/{found.name}: {error}")
            return False
        else:
            return True
    erased.resisted.append(f"gs://{found.bucket}/{found.name}: it changed {ROUNDS} times")
    return False
