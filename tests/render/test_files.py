"""The JSON and the plain text of a transcript."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber import __version__
from subscriber.model import Claim, Job, ObjectInfo
from subscriber.render import render, render_json, render_txt
from subscriber.transcript import Segment, Transcript
from tests.render.samples import transcript

RECORDING = ObjectInfo("inbox", "calls/ü.wav", 2**60, 9, "audio/wav", "bWQ1")
CLAIM = Claim(Job("inbox", "calls/ü.wav", 2**60, "gs://outbox"), "nonce", 3, 1, 60.0)
SAID = transcript(Segment(0.0, 1.00049, "Grüße.", -0.1, 0.0, 1.2), loud=((0.0, 1.0),))


def document(said: Transcript) -> Any:
    return json.loads(render_json(said, RECORDING, CLAIM, {"calls/ü.wav.txt": 2**60}, provider="api.openai.com").data)


def text(*segments: Segment, loud: tuple[tuple[float, float], ...] = ()) -> str:
    return render_txt(transcript(*segments, loud=loud)).data.decode()


def test_the_json_is_a_superset_of_verbose_json() -> None:
    assert document(SAID) == {
        "schema_version": 1,
        "task": "transcribe",
        "language": "en",
        "duration": 60.0,
        "text": "Grüße.",
        "timing": "model",
        "segments": [
            {
                "id": 0,
                "start": 0.0,
                "end": 1.0,
                "text": "Grüße.",
                "avg_logprob": -0.1,
                "no_speech_prob": 0.0,
                "compression_ratio": 1.2,
            }
        ],
        "words": [{"word": "word", "start": 0.0, "end": 1.001}],
        "source": {
            "bucket": "inbox",
            "name": "calls/ü.wav",
            "generation": str(2**60),
            "size": 9,
            "content_type": "audio/wav",
            "md5": "bWQ1",
        },
        "audio": {"seconds": 60.0, "codec": "opus"},
        "engine": {
            "provider": "api.openai.com",
            "model": "whisper-1",
            "subscriber": __version__,
        },
        "chunks": [
            {
                "start": 0.0,
                "end": 60.0,
                "source": "paid",
                "key": None,
                "timing": "model",
                "language": "en",
                "billed_seconds": 60.0,
                "request_ids": ["req_1"],
            }
        ],
        "usage": {"billed_seconds": 60.0, "estimated_cost_usd": 0.006},
        "warnings": [{"kind": "loop", "start": 1.0, "end": 2.0, "message": "a phrase"}],
        "epoch": 3,
        "fingerprint": "abc",
        "outputs": {"calls/ü.wav.txt": str(2**60)},
    }


def test_unknown_is_null() -> None:
    unknown = replace(SAID, language=None, duration=None, timing=None, billed_seconds=None, cost_usd=None)
    found = document(unknown)
    assert [found[name] for name in ("language", "duration", "timing")] == [None] * 3
    assert found["usage"] == {"billed_seconds": None, "estimated_cost_usd": None}


def test_the_json_is_written_for_people_too() -> None:
    data = render_json(SAID, RECORDING, CLAIM, {}, provider="x").data
    assert data.endswith(b"}\n")
    assert "Grüße" in data.decode(), "not as escapes"
    assert data.count(b"\n") > 20


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert document(replace(SAID, text=text))["text"] == text


@pytest.mark.parametrize("text", ["", "  ", "\n", "word", "word\n\n", "\r\nword\r\n"])
def test_however_a_text_ends_its_file_ends_with_one_newline(text: str) -> None:
    assert render_txt(replace(transcript(), text=text)).data == text.strip().encode() + b"\n"


class TestParagraphs:
    def test_a_pause_begins_a_new_one(self) -> None:
        said = Segment(0.0, 4.0, "One."), Segment(5.9, 8.0, "Two."), Segment(10.0, 12.0, "Three.")
        assert text(*said) == "One. Two.\n\nThree.\n"

    def test_so_does_a_silence_that_a_whisper_lets_its_segments_touch_across(self) -> None:
        said = Segment(0.0, 6.0, "One."), Segment(6.0, 9.0, "Two.")
        assert text(*said, loud=((0.0, 3.5), (6.0, 9.0))) == "One.\n\nTwo.\n"
        assert text(*said, loud=((0.0, 3.5), (5.0, 9.0))) == "One. Two.\n"

    def test_a_silence_within_a_segment_does_not(self) -> None:
        said = Segment(0.0, 20.0, "One and two."), Segment(20.0, 22.0, "Three.")
        assert text(*said, loud=((0.0, 2.0), (6.0, 22.0))) == "One and two. Three.\n"
        said = Segment(0.0, 2.0, "One."), Segment(2.0, 20.0, "Two and three.")
        assert text(*said, loud=((0.0, 6.0), (9.0, 20.0))) == "One. Two and three.\n"

    def test_a_text_without_times_is_one(self) -> None:
        assert render_txt(replace(transcript(), text=" One\ntwo. ")).data == b"One two.\n"


@pytest.mark.parametrize(
    ("formats", "made"),
    [(["json"], []), (["json", "txt"], ["txt"]), (["vtt", "srt", "txt", "json"], ["txt", "srt", "vtt"])],
)
def test_the_json_is_rendered_apart_because_it_lists_the_others(formats: list[str], made: list[str]) -> None:
    assert [file.extension for file in render(SAID, formats)] == made
