"""What must never be told: the key, whatever the provider repeats, and what was said in a recording."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.daemon import KEY
from tests.process.scenes import Scene
from tests.sound import said, wav

CONFIDENTIAL = "xylophone"

REFUSED = {"error": {"message": "The audio file could not be decoded. You sent {key}", "type": "x", "code": "{key}"}}
MISSHAPEN = {"text": CONFIDENTIAL, "segments": [{"start": "0", "end": CONFIDENTIAL, "text": [CONFIDENTIAL]}]}


class Indiscreet(BaseHTTPRequestHandler):
    """Answers every recording with the next of `answers`, and repeats the key that it was sent."""

    protocol_version = "HTTP/1.1"
    answers: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self._say(400 if "error" in answer else 200, answer)

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        key = self.headers["authorization"].removeprefix("Bearer ")
        assert key == KEY
        body = json.dumps(answer).replace("{key}", key).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def indiscreet(scene: Scene) -> Iterator[Scene]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Indiscreet) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        scene.whisper_url = f"http://127.0.0.1:{running.server_port}"
        yield scene
        running.shutdown()


def test_a_key_that_the_provider_repeats_is_in_no_line_record_or_file(
    indiscreet: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Indiscreet, "answers", [REFUSED], raising=False)
    daemon = indiscreet.start(log_level="debug")
    daemon.ready()
    indiscreet.world.upload("one.wav", wav())
    daemon.says("attempt", outcome="rejected", reason="audio_rejected")
    daemon.term()
    assert daemon.exit_code() == 0
    told = [daemon.output(), repr(indiscreet.world.records()), *map(repr, indiscreet.world.outputs().items())]
    assert "one.wav.error.json" in indiscreet.world.outputs()
    assert not [one for one in told if KEY in one]
    assert all("could not be decoded" in one for one in told), "the words are told, without the key"


def test_what_was_said_is_in_no_line_also_when_the_answer_cannot_be_read(
    indiscreet: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = {"text": CONFIDENTIAL, "segments": [{"start": 0.0, "end": 1.0, "text": CONFIDENTIAL}]}
    monkeypatch.setattr(Indiscreet, "answers", [MISSHAPEN, sentence, sentence], raising=False)
    daemon = indiscreet.start(log_level="debug", retry_min_seconds=0.1, retry_max_seconds=1, prompt="marimba")
    daemon.ready()
    indiscreet.world.upload("one.wav", wav())
    assert daemon.says("attempt")["reason"] == "bad_answer"
    daemon.says("attempt", outcome="transcribed")
    daemon.term()
    assert daemon.exit_code() == 0
    assert CONFIDENTIAL in indiscreet.outputs("one.wav")["txt"].data.decode()
    for word in (CONFIDENTIAL, "marimba"):
        assert word not in daemon.output()
        assert word not in repr(indiscreet.world.records())


def test_a_sound_transcript_is_in_no_line(scene: Scene) -> None:
    daemon = scene.start(log_level="debug", log_format="console")
    daemon.ready()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    daemon.counts(1, "jobs_total", result="done")
    daemon.term()
    assert daemon.exit_code() == 0
    assert said(wav()).split()[1] not in daemon.output()
