"""What an object's metadata asks for reaches the provider and the outputs; what it may not ask for is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.process.scenes import Scene
from tests.sound import heard, said, wav


@pytest.fixture(scope="module")
def daemon(common_scene: Scene) -> Daemon:
    """One with settings of its own, over which an object's metadata goes."""
    started = common_scene.start(
        output=f"{common_scene.world.output}/texts", prompt="Calls.", keywords="Ada,Grace Hopper", formats="json,txt"
    )
    started.ready()
    return started


def asked(scene: Scene, data: bytes) -> list[dict[str, Any]]:
    """The form fields of each request for a recording of one chunk."""
    requests = scene.control.status()["requests"]
    return [one["fields"] for one in requests if one["sha256"] == heard(data)]


def done(scene: Scene, daemon: Daemon, name: str, data: bytes, **metadata: str) -> dict[str, Any]:
    """Upload it; the JSON of its transcript."""
    generation = scene.world.upload(name, data, **metadata)
    daemon.says("attempt", outcome="transcribed", generation=str(generation))
    found: dict[str, Any] = json.loads(scene.outputs(f"texts/{name}")["json"].data)
    return found


def test_language_prompt_and_formats_are_the_objects_own(common_scene: Scene, daemon: Daemon) -> None:
    data = wav("own wishes")
    wishes = {"transcribe-language": "German", "transcribe-prompt": "At the shop.", "transcribe-formats": "srt"}
    usual = done(common_scene, daemon, "usual.wav", data)
    own = done(common_scene, daemon, "own.wav", data, **wishes)
    plain, wished = asked(common_scene, data)
    assert ("language" in plain, plain["prompt"]) == (False, ["Calls. Ada, Grace Hopper"])
    assert (wished["language"], wished["prompt"]) == (["de"], ["At the shop. Ada, Grace Hopper"])
    assert common_scene.outputs("texts/usual.wav").keys() == {"json", "txt"}
    assert common_scene.outputs("texts/own.wav").keys() == {"json", "srt"}
    assert (own["language"], own["warnings"]) == ("de", [])
    assert own["fingerprint"] != usual["fingerprint"]


def test_a_wish_that_cannot_be_granted_costs_no_transcript_and_is_told(common_scene: Scene, daemon: Daemon) -> None:
    data = wav("impossible wishes")
    wishes = {"transcribe-language": "Klingon", "transcribe-formats": "pdf"}
    document = done(common_scene, daemon, "impossible.wav", data, **wishes)
    assert document["text"] == said(data)
    assert common_scene.outputs("texts/impossible.wav").keys() == {"json", "txt"}
    assert [warning["kind"] for warning in document["warnings"]] == ["option_ignored", "option_ignored"]
    assert "Klingon" in document["warnings"][1]["message"]
    line = daemon.says("options_ignored")
    assert line["severity"] == "WARNING"
    assert len(line["options"]) == 2


def test_an_object_that_says_skip_is_recorded_acked_and_not_paid(common_scene: Scene, daemon: Daemon) -> None:
    data = wav("skip me")
    acked = daemon.metrics("settlements_total", kind="ack", result="ok")
    generation = common_scene.world.upload("skip.wav", data, transcribe="skip")
    line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["reason"]) == ("ignored", "skipped")
    record = common_scene.record("skip.wav")
    assert (record["state"], record["reason"]["kind"], record["attempts"]) == ("skipped", "skipped", 0)
    daemon.counts(acked + 1, "settlements_total", kind="ack", result="ok")
    assert daemon.metrics("jobs_total", result="skipped", reason="skipped") == 1
    assert daemon.metrics("ignored_total", reason="skipped") == 1
    assert asked(common_scene, data) == []
    assert common_scene.outputs("texts/skip.wav") == {}
    message = common_scene.world.publish_again(common_scene.world.notification("skip.wav", generation))
    again = daemon.says("attempt", message_id=message)
    assert (again["outcome"], again["reason"]) == ("ignored", "skipped"), "the ledger explains it"
