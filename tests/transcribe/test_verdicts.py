"""What the chunk cache keeps can be read again, or is a miss."""

from __future__ import annotations

import json
from typing import Any

import pytest

from subscriber.transcribe.verdicts import VERDICT_VERSION, from_json, to_json
from subscriber.transcript import SILENCE, ChunkText, Segment, TimedWarning, Word

VERDICT = ChunkText(
    text="Grüße, 你好",
    language="de",
    timing="model",
    segments=(Segment(0.0, 1.5, "Grüße, 你好", -0.1, None, 1.25),),
    words=(Word("Grüße", 0.0, 0.5),),
    warnings=(TimedWarning("loop", 0.5, 1.5, "…"),),
    billed_seconds=None,
    request_ids=("req_1", "req_2"),
    model="whisper-1",
)


@pytest.mark.parametrize("verdict", [VERDICT, SILENCE])
def test_a_verdict_comes_back_as_it_was(verdict: ChunkText) -> None:
    assert from_json(to_json(verdict)) == verdict


def test_fields_of_a_later_writer_are_let_pass() -> None:
    document = json.loads(to_json(VERDICT)) | {"mood": "good"}
    assert from_json(json.dumps(document).encode()) == VERDICT


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": VERDICT_VERSION + 1},
        {"schema_version": None},
        {"text": None},
        {"timing": "guessed"},
        {"segments": [{"start": "NaN", "end": 1, "text": ""}]},
        {"segments": None},
        {"billed_seconds": float("inf")},
    ],
)
def test_a_document_of_another_shape_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_json(json.dumps(json.loads(to_json(VERDICT)) | change).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"<html>", b"[]", b"null", b"{}", b"[" * 100_000, b'{"a": 1e999}'])
def test_other_bytes_are_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_json(data)
