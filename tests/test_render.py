"""Transcripts as files: text for people, JSON for programs. What nobody told us is null, never an invented 0."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber import __version__
from subscriber.model import SCHEMA_VERSION, Claim, Job, ObjectInfo
from subscriber.render import render_json, render_txt
from subscriber.transcript import Answer, Segment, Transcript, Word

RECORDING = ObjectInfo("bucket", "rufe/für Öztürk 🎧.wav", 2**63 - 1, 3200, "audio/wav", "md5==", {"a": "b"})
CLAIM = Claim(Job("bucket", RECORDING.name, RECORDING.generation, "gs://out"), "nonce", 7, 1, 90.0)
SEGMENTS = (Segment(0.0, 1.25, " Grüße, 世界. ", -0.2, 0.01, 1.1), Segment(1.25, 2.0, " Ende."))
WORDS = (Word("Grüße,", 0.0, 0.5), Word("世界.", 0.5, 1.25))
ANSWER = Answer(" Grüße, 世界.  Ende. ", "german", 2.0, SEGMENTS, WORDS, "whisper-1", "req_1", 2.0)
TRANSCRIPT = Transcript(ANSWER, 2.0, 0.0002, "0123456789abcdef")
UNKNOWN = Transcript(Answer("hm", None, None, (), (), "gpt-transcribe", None, None), None, None, "0123456789abcdef")
OUTPUTS = {"one.wav.txt": 1762000000000001}


def document(transcript: Transcript = TRANSCRIPT) -> dict[str, Any]:
    file = render_json(transcript, RECORDING, CLAIM, OUTPUTS, provider="api.openai.com")
    assert (file.extension, file.content_type) == ("json", "application/json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(file.data.decode("utf-8"), parse_constant=refuse)
    return found


def test_the_text_is_utf_8_and_ends_with_one_newline() -> None:
    file = render_txt(TRANSCRIPT)
    assert (file.extension, file.content_type) == ("txt", "text/plain; charset=utf-8")
    assert file.data == "Grüße, 世界.  Ende.\n".encode()


@pytest.mark.parametrize("text", ["", "  ", "\n", "word", "word\n\n", "\r\nword\r\n", "two\nlines"])
def test_however_a_text_ends_its_file_ends_with_one_newline(text: str) -> None:
    data = render_txt(replace(TRANSCRIPT, answer=replace(ANSWER, text=text))).data
    assert data == text.strip().encode() + b"\n"


def test_the_json_is_a_superset_of_openais_verbose_json() -> None:
    found = document()
    assert (found["task"], found["language"], found["duration"]) == ("transcribe", "german", 2.0)
    assert found["text"] == ANSWER.text
    assert found["segments"] == [
        {
            "id": 0,
            "start": 0.0,
            "end": 1.25,
            "text": " Grüße, 世界. ",
            "avg_logprob": -0.2,
            "no_speech_prob": 0.01,
            "compression_ratio": 1.1,
        },
        {
            "id": 1,
            "start": 1.25,
            "end": 2.0,
            "text": " Ende.",
            "avg_logprob": None,
            "no_speech_prob": None,
            "compression_ratio": None,
        },
    ]
    assert found["words"][1] == {"word": "世界.", "start": 0.5, "end": 1.25}


def test_the_json_says_where_it_comes_from_and_what_it_cost() -> None:
    found = document()
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["source"] == {
        "bucket": "bucket",
        "name": RECORDING.name,
        "generation": "9223372036854775807",
        "size": 3200,
        "content_type": "audio/wav",
        "md5": "md5==",
    }
    assert found["engine"] == {"provider": "api.openai.com", "model": "whisper-1", "subscriber": __version__}
    assert found["audio"] == {"seconds": 2.0}
    assert found["usage"] == {"billed_seconds": 2.0, "estimated_cost_usd": 0.0002}
    assert found["chunks"] == [{"start": 0.0, "end": 2.0, "request_id": "req_1"}]
    assert (found["timing"], found["warnings"]) == ("model", [])
    assert (found["epoch"], found["fingerprint"]) == (7, "0123456789abcdef")
    assert found["outputs"] == {"one.wav.txt": "1762000000000001"}, "64 bits are more than a JavaScript number holds"


def test_what_nobody_told_us_is_null() -> None:
    found = document(UNKNOWN)
    assert (found["language"], found["duration"], found["timing"]) == (None, None, None)
    assert found["audio"] == {"seconds": None}
    assert found["usage"] == {"billed_seconds": None, "estimated_cost_usd": None}
    assert found["chunks"] == [{"start": 0.0, "end": None, "request_id": None}]
    assert (found["segments"], found["words"]) == ([], [])


def test_what_costs_nothing_is_0_and_not_null() -> None:
    usage = document(replace(TRANSCRIPT, billed_seconds=0.0, cost_usd=0.0))["usage"]
    assert usage == {"billed_seconds": 0.0, "estimated_cost_usd": 0.0}


def test_the_json_is_written_for_people_too() -> None:
    data = render_json(TRANSCRIPT, RECORDING, CLAIM, OUTPUTS, provider="x").data
    assert data.endswith(b"}\n")
    assert "Grüße, 世界." in data.decode(), "not as escapes"
    assert data.count(b"\n") > 20


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    found = document(replace(TRANSCRIPT, answer=replace(ANSWER, text=text)))
    assert found["text"] == text
    assert render_txt(replace(TRANSCRIPT, answer=replace(ANSWER, text=text))).data.decode() == text.strip() + "\n"
