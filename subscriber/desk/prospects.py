"""What will happen next, in words. Pure: a record and a time go in, a sentence comes out."""

from __future__ import annotations

from datetime import datetime, timedelta

from subscriber.desk.words import moment, shown
from subscriber.model import SCHEMA_VERSION, Record, State

__all__ = ["STALLED_AFTER", "is_stalled", "prospect"]

STALLED_AFTER = timedelta(minutes=15)
"""An unfinished job that is free for longer has lost its message: the longest backoff and lease are 10 minutes."""


def is_stalled(record: Record, now: datetime) -> bool:
    """Whether the job is unfinished and nobody has had it for too long."""
    return not record.state.final and now - free_since(record) > STALLED_AFTER


def free_since(record: Record) -> datetime:
    """From when on whoever gets an unfinished job's message may claim it."""
    return record.claim_ends_at if record.state is State.CLAIMED else record.next_attempt_at or record.created_at


def prospect(record: Record, now: datetime, *, max_attempts: int, live: int | None = None) -> str:
    """What will become of the job. `live` is the object's live generation, None where there is none or nobody knows."""
    if record.schema_version > SCHEMA_VERSION:
        return "Left alone: a newer version of subscriber wrote it, and only that one goes on with it."
    if is_stalled(record, now):
        return (
            f"Stalled: free since {moment(free_since(record), now)}, but its message has not come. It may have been "
            "dead-lettered, or no daemon runs. `subscriber replay --stalled` has it delivered again."
        )
    return {**_FINAL, State.CLAIMED: _claimed, State.WAITING: _waiting}[record.state](record, now, max_attempts, live)


def _claimed(record: Record, now: datetime, _: int, __: int | None) -> str:
    if now < record.claim_ends_at:
        done, total = record.progress.done, record.progress.total
        far = f", {done:.0f} of {total:.0f} s transcribed" if total else ""
        return (
            f"In work{far}. {shown(record.owner)} renews its claim while it lives; otherwise another takes over "
            f"from {moment(record.claim_ends_at, now)} on."
        )
    return f"Free: {shown(record.owner)} fell silent. Whoever gets the message next takes the job over."


def _waiting(record: Record, now: datetime, max_attempts: int, live: int | None) -> str:
    due = record.next_attempt_at if record.next_attempt_at and record.next_attempt_at > now else None
    when = f"At {moment(due, now)}" if due else "As soon as its message is delivered"
    if live and live > record.generation:
        return f"{when} it ends as superseded: generation {live} is live, and has a job of its own."
    if record.attempts >= max_attempts:
        return f"{when} it is recorded dead: {record.attempts} attempts of {max_attempts} have failed."
    return f"{when} it is tried again: attempt {record.attempts + 1} of {max_attempts}."


def _done(record: Record, _: datetime, __: int, live: int | None) -> str:
    newer = f" Generation {live} is newer, and has a job of its own." if live and live > record.generation else ""
    return f"Nothing: it is done; a redelivery is acked as a duplicate.{newer}"


def _dead(_: Record, __: datetime, ___: int, ____: int | None) -> str:
    return "Nothing by itself: redeliveries are acked. `subscriber replay`, or a new upload, has it tried anew."


def _gone(_: Record, __: datetime, ___: int, live: int | None) -> str:
    back = f" Generation {live} is live now, and has a job of its own." if live else ""
    return f"Nothing: the generation was deleted before its turn.{back}"


def _superseded(_: Record, __: datetime, ___: int, ____: int | None) -> str:
    return "Nothing: a newer generation came before its turn, and has a job of its own."


def _skipped(_: Record, __: datetime, ___: int, ____: int | None) -> str:
    return "Nothing: its own metadata said transcribe=skip. A new upload without it would be a new job."


def _forgotten(_: Record, __: datetime, ___: int, ____: int | None) -> str:
    return "Nothing: it was forgotten, and redeliveries are acked. A new upload would be a new job."


_FINAL = {
    State.DONE: _done,
    State.DEAD: _dead,
    State.GONE: _gone,
    State.SUPERSEDED: _superseded,
    State.SKIPPED: _skipped,
    State.FORGOTTEN: _forgotten,
}
