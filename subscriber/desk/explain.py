"""The whole story of one object, on one screen: gathered here, told in lines or as a document.

The law of this file: it changes nothing, and says of what it could not find out that it could not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from subscriber.desk.listing import as_document
from subscriber.desk.prospects import prospect
from subscriber.desk.rules import rule
from subscriber.desk.tools import Desk
from subscriber.desk.transcripts import fault, place_of
from subscriber.desk.words import Address, moment, shown, size
from subscriber.errors import Permanent
from subscriber.model import Attempt, Job, ObjectInfo, Record, State
from subscriber.outputs import output_version

__all__ = ["Story", "document", "gather", "tell"]

SCREENFUL = 3
"""Generations that are told in full; of older ones there is one line each, of which there are at most ten."""

LINES_OF_OLDER = 10
MATCHES = "matches"


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a transcript, and whether it is what the record says."""

    uri: str
    verdict: str

    @property
    def matches(self) -> bool:
        """Whether it is."""
        return self.verdict.startswith(MATCHES)


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one object. `known` says whether there is anything of it at all."""

    address: Address
    live: ObjectInfo | None
    live_is_known: bool
    records: tuple[Record, ...]
    outputs: dict[Job, tuple[Output, ...]]
    rule: str | None

    @property
    def known(self) -> bool:
        """Whether the ledger or the bucket has it."""
        return bool(self.records or self.live)


def gather(desk: Desk, addresses: tuple[Address, ...]) -> Story:
    """The story of the first reading of an address that means something, or of the first one."""
    stories = (_story(desk, address) for address in addresses)
    first = next(stories)
    return first if first.known else next((story for story in stories if story.known), first)


def tell(story: Story, desk: Desk, now: datetime) -> Iterator[str]:
    """The screen, line by line."""
    yield shown(str(story.address))
    yield f"  {_live(story, now)}"
    if not story.known:
        yield "  no record: nobody has claimed it"
    for number, record in enumerate(story.records[:SCREENFUL]):
        yield ""
        yield from _generation(record, story, now, max_attempts=desk.max_attempts, brief=number > 0)
    older = story.records[SCREENFUL:]
    for record in older[:LINES_OF_OLDER]:
        yield f"  generation {record.generation}: {record.state}{_because(record)}"
    if len(older) > LINES_OF_OLDER:
        yield f"  and {len(older) - LINES_OF_OLDER} older generations"
    if story.rule:
        yield f"  no record{' of this generation' if story.records else ''}: {story.rule}"


def document(story: Story, desk: Desk, now: datetime) -> dict[str, Any]:
    """The same for programs; docs/desk.md has its fields, and a test compares them."""
    live = story.live
    return {
        "uri": f"gs://{story.address.bucket}/{story.address.name}",
        "generation": story.address.generation,
        "live": live
        and {
            "generation": live.generation,
            "size_bytes": live.size,
            "content_type": live.content_type,
            "created_at": live.created_at,
        },
        "live_is_known": story.live_is_known,
        "rule": story.rule,
        "records": [_record_document(record, story, desk, now) for record in story.records],
    }


def _record_document(record: Record, story: Story, desk: Desk, now: datetime) -> dict[str, Any]:
    files = story.outputs.get(record.job)
    return as_document(record, now) | {
        "files": None if files is None else [asdict(file) | {"matches": file.matches} for file in files],
        "next": _next(record, story, now, max_attempts=desk.max_attempts),
    }


def _next(record: Record, story: Story, now: datetime, *, max_attempts: int) -> str:
    return prospect(record, now, max_attempts=max_attempts, live=story.live.generation if story.live else None)


def _story(desk: Desk, address: Address) -> Story:
    bucket, name = address.bucket, address.name
    records = desk.records_of(bucket, name)
    if address.generation is not None:
        records = [record for record in records if record.generation == address.generation]
    live = desk.live(bucket, name)
    concerned = live if live and address.generation in {None, live.generation} else None
    unrecorded = concerned if concerned and all(one.generation != concerned.generation for one in records) else None
    return Story(
        address=address,
        live=live,
        live_is_known=bucket != desk.source_bucket,
        records=tuple(records),
        outputs={record.job: _outputs(desk, record) for record in records[:SCREENFUL]},
        rule=rule(
            unrecorded,
            desk.selection,
            desk.location,
            desk.clock(),
            max_event_age_seconds=desk.max_event_age_seconds,
        )
        if unrecorded
        else None,
    )


def _outputs(desk: Desk, record: Record) -> tuple[Output, ...]:
    uris = list(record.outputs)
    if record.state is State.DEAD and record.output == desk.location.text:
        with suppress(Permanent):  # a name that is too long has no error file either
            uris.append(f"gs://{desk.location.bucket}/{desk.location.name_for(record.job, 'error.json')}")
    return tuple(Output(uri, _verdict(desk, record, uri)) for uri in uris)


def _verdict(desk: Desk, record: Record, uri: str) -> str:
    found = desk.objects.stat(*place_of(uri))
    if found is None:
        return "missing"
    wrong, version = fault(found, record.job), output_version(found)
    if not wrong and version and version.epoch != record.epoch:
        wrong = f"of epoch {version.epoch}, the record's is {record.epoch}"
    return wrong or f"matches its source, {size(found.size)}"


def _live(story: Story, now: datetime) -> str:
    live = story.live
    if live is None:
        return "no live object" if story.live_is_known else "an inbox's file; only the ledger and the outbox are read"
    came = f", came {moment(live.created_at, now)}" if live.created_at else ""
    kind = shown(live.content_type) or "no content type"
    return f"live: generation {live.generation}, {size(live.size)}, {kind}{came}"


def _generation(record: Record, story: Story, now: datetime, *, max_attempts: int, brief: bool) -> Iterator[str]:
    live = story.live
    mark = " (live)" if live and live.generation == record.generation else ""
    yield f"  generation {record.generation}{mark}: {record.state}{_because(record)}"
    yield f"    first claimed  {moment(record.created_at, now)}"
    if record.completed_at:
        yield f"    completed      {moment(record.completed_at, now)}"
    if record.state is State.CLAIMED:
        until = moment(record.claim_ends_at, now)
        yield f"    claim          {shown(record.owner)}, epoch {record.epoch}, until {until}"
    yield f"    attempts       {record.attempts} of {max_attempts} failed, {record.takeovers} takeovers"
    if record.state is State.DONE:
        yield f"    result         {_result(record)}"
    if not brief:
        yield from map(_attempt, record.history)
    for output in story.outputs[record.job]:
        yield f"    output         {shown(output.uri)}: {output.verdict}"
    yield f"    next           {_next(record, story, now, max_attempts=max_attempts)}"


def _because(record: Record) -> str:
    if record.reason is None or record.state is State.DONE:
        return ""
    kind = "" if record.reason.kind == record.state else f", {record.reason.kind}"
    return f"{kind}: {shown(record.reason.message)}"


def _attempt(line: Attempt) -> str:
    why = f", {line.reason}: {shown(line.message)}" if line.reason else ""
    return f"    {line.at:%m-%d %H:%M:%S} epoch {line.epoch} {line.outcome}{why}"


def _chunks(record: Record) -> str | None:
    counts = record.chunks
    return None if counts is None else f"chunks: {counts.paid} paid, {counts.cached} cached, {counts.silent} silent"


def _result(record: Record) -> str:
    told = [
        None if record.audio_seconds is None else f"{record.audio_seconds:.1f} s of audio",
        None if record.billed_seconds is None else f"{record.billed_seconds:.1f} s billed",
        "cost unknown" if record.cost_usd is None else f"${record.cost_usd:.5f}",
        _chunks(record),
        record.model,
        record.language,
        f"warnings: {', '.join(record.warnings)}" if record.warnings else None,
    ]
    return ", ".join(shown(one) for one in told if one)
