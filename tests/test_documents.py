"""The ledger document: its names, its limits, and that no document stops a reader."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.decisions import decide_announced, decide_claim
from subscriber.documents import MESSAGE_LIMIT, from_document, to_document
from subscriber.model import SCHEMA_VERSION, Attempt, Outcome, Progress, Record, State
from tests.claims import ASK, CLAIMED, NOW, REASON, RESULT

FULL = replace(
    CLAIMED,
    state=State.DONE,
    message_id="17",
    next_attempt_at=NOW,
    completed_at=NOW,
    announced_at=NOW,
    expires_at=NOW + timedelta(days=93),
    progress=Progress(30.5, 61.5),
    silent_deaths=2,
    lone_deaths=1,
    alone=True,
    furthest_seconds=30.5,
    salt="afresh",
    **{name: getattr(RESULT, name) for name in RESULT.__slots__},
)

PROMISED = (
    "schema_version bucket name generation output state epoch nonce owner renewed_at claim_seconds attempts takeovers "
    "silent_deaths lone_deaths alone furthest_seconds "
    "next_attempt_at reason history message_id created_at completed_at announced_at outputs audio_seconds "
    "billed_seconds cost_usd chunks warnings model language fingerprint salt progress expires_at"
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes()
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


def test_the_document_has_the_promised_names() -> None:
    document = to_document(FULL)
    assert set(document) == set(PROMISED.split())
    assert set(document["reason"]) == {"kind", "message", "at"}
    assert set(document["history"][0]) == {"epoch", "outcome", "reason", "message", "at"}
    assert set(document["chunks"]) == {"paid", "cached", "silent"}
    assert set(document["progress"]) == {"done_seconds", "total_seconds"}


@pytest.mark.parametrize("record", [CLAIMED, FULL, replace(CLAIMED, reason=None, history=(), progress=Progress())])
def test_a_record_survives_the_way_there_and_back(record: Record) -> None:
    assert from_document(to_document(record)) == record
    text = json.dumps(to_document(record), default=datetime.isoformat)
    assert from_document(json.loads(text)) == record


def test_the_document_holds_plain_values_only() -> None:
    plain = {str, int, float, bool, type(None), datetime, list, dict}
    assert {type(value) for value in to_document(FULL).values()} <= plain


def test_messages_are_cut_so_that_a_document_stays_far_below_firestores_limit() -> None:
    wordy = replace(REASON, message="\N{GRINNING FACE}" * 100_000)
    history = tuple(Attempt(n, "failed", wordy.kind, wordy.message, NOW) for n in range(10))
    document = to_document(replace(FULL, reason=wordy, history=history))
    assert len(document["reason"]["message"]) == MESSAGE_LIMIT
    assert len(json.dumps(document, default=datetime.isoformat, ensure_ascii=False).encode()) < 100_000


def test_half_a_surrogate_pair_in_an_errors_text_is_made_writable() -> None:
    broken = replace(FULL, reason=replace(REASON, message="file \udc80 name"))
    assert to_document(broken)["reason"]["message"].encode() == b"file ? name"


def test_fields_that_we_do_not_know_are_dropped_and_those_with_defaults_may_be_missing() -> None:
    document = to_document(FULL) | {"mood": "good"}
    assert from_document(document) == FULL
    assert from_document({name: document[name] for name in document if name != "takeovers"}).takeovers == 0


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": SCHEMA_VERSION + 1, "state": "asleep"},
        {"schema_version": "two"},
        {"state": "asleep"},
        {"epoch": "many"},
        {"renewed_at": "yesterday"},
        {"renewed_at": "2026-11-01T12:00:00"},
        {"next_attempt_at": "2026-11-01T12:00:00"},
        {"claim_seconds": 1e300},
        {"history": {"not": "a list"}},
        {"progress": "half"},
    ],
)
def test_a_document_that_we_cannot_read_is_left_alone_like_a_newer_versions(change: dict[str, Any]) -> None:
    record = from_document(to_document(FULL) | change)
    assert record.schema_version > SCHEMA_VERSION
    assert (record.bucket, record.name, record.reason and record.reason.kind) == (FULL.bucket, FULL.name, "unreadable")
    assert decide_claim(record, NOW, ASK).write is None
    assert decide_announced(record, NOW, record.epoch).write is None


@given(st.dictionaries(st.sampled_from([field.name for field in fields(Record)]), ANYTHING), ANYTHING)
def test_no_document_stops_a_claimer(changes: dict[str, Any], extra: Any) -> None:
    for document in (changes, to_document(CLAIMED) | changes | {"extra": extra}):
        verdict = decide_claim(from_document(document), NOW, ASK)
        assert verdict.write or verdict.answer.outcome in Outcome  # type: ignore[union-attr]
