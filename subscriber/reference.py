"""The names that operators meet, as one document: made from the tables that run, so that it cannot differ from them.

`make docs` writes it to docs/reference.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from subscriber.audio.facts import AUDIO_WARNINGS
from subscriber.errors import FAILURES, IGNORED, PAUSES, VERDICTS
from subscriber.metrics import catalogue
from subscriber.model import Outcome
from subscriber.settlement import SETTLEMENT, Settlement
from subscriber.transcript import WARNINGS

__all__ = ["reference"]

_MEANINGS = {
    Outcome.TRANSCRIBED: "the transcript is written and recorded",
    Outcome.DUPLICATE: "the job is done already, or was finished by the delivery that this one joined",
    Outcome.BUSY: "another worker has the job; the delivery waits for it",
    Outcome.IGNORED: "the message asks nothing of us",
    Outcome.GONE: "the object's generation was deleted before the work",
    Outcome.SUPERSEDED: "a newer generation of the object is live; its own message brings its own job",
    Outcome.REJECTED: "this file will never work: recorded dead",
    Outcome.EXHAUSTED: "MAX_ATTEMPTS attempts failed: recorded dead",
    Outcome.EXPIRED: "the message is older than MAX_EVENT_AGE_SECONDS: recorded dead",
    Outcome.FAILED: "the attempt failed and is counted; it comes again after the backoff",
    Outcome.EARLY: "the job's next attempt is not due yet; no attempt is counted",
    Outcome.INTERRUPTED: "we stop or pause, the job does not: released, no attempt is counted",
    Outcome.LOST: "another worker took the claim over: nothing is touched",
}

_SETTLEMENTS = {
    Settlement.ACK: "ack",
    Settlement.DEFER: "defer: delivered again after the wait",
    Settlement.PARK: "keep leased until the job is settled",
    Settlement.LEAVE: "leave: the lease ends by itself",
}


def reference() -> str:
    """Outcomes, reasons, warnings and metrics in Markdown."""
    outcomes = ((f"`{outcome}`", _MEANINGS[outcome], _SETTLEMENTS[SETTLEMENT[outcome]]) for outcome in Outcome)
    metrics = ((f"`{one.name}`", ", ".join(one.labels) or "none", one.help) for one in catalogue())
    return "\n".join(
        [
            "# Reference",
            "",
            "Made by `make docs` from the tables in the code; a test compares them.",
            "",
            *_table("Outcomes of a delivery", ("outcome", "meaning", "Pub/Sub is told"), outcomes),
            *_reasons("Why a job is dead", VERDICTS),
            *_reasons("Why an attempt failed", FAILURES),
            *_reasons("Why a message is ignored", IGNORED),
            *_reasons("Why the daemon pauses", PAUSES),
            *_reasons("Warnings of a transcript", AUDIO_WARNINGS | WARNINGS, "kind"),
            *_table("Metrics", ("name", "labels", "meaning"), metrics),
        ]
    )


def _reasons(title: str, table: Mapping[str, str], head: str = "reason") -> list[str]:
    return _table(title, (head, "meaning"), ((f"`{reason}`", meaning) for reason, meaning in sorted(table.items())))


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
