"""Whatever lies in the bucket: a transcript or one readable reason, and no harm to anything else."""

from __future__ import annotations

import json

import pytest

from tests.daemon import Daemon
from tests.process.endings import dies, told
from tests.process.scenes import Scene
from tests.sound import heard, said, wav

NAMES = [
    "calls/2026/november/one.wav",
    "two words, and a third.wav",
    "no. #3 & 50% off?.wav",
    "up/../and/./down//twice.wav",
    "..wav",
    "Gespräch mit 大阪 🎙️.wav",
    "SHOUTED.WAV",
    "no ending, but a type",
    "{stem}.wav",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_good_for_a_transcript(common_scene: Scene, common_daemon: Daemon, name: str) -> None:
    generation = common_scene.world.upload(name, wav(name))
    common_daemon.says("attempt", outcome="transcribed", generation=str(generation))
    outputs = common_scene.outputs(f"texts/{name}")
    assert outputs.keys() == {"json", "txt"}
    source = json.loads(outputs["json"].data)["source"]
    assert (source["name"], source["generation"]) == (name, str(generation))
    assert said(wav(name)) in outputs["txt"].data.decode()
    assert common_scene.record(name)["state"] == "done"


def test_a_name_without_room_for_an_ending_is_dead_and_nothing_is_paid(
    common_scene: Scene, common_daemon: Daemon
) -> None:
    name = "é" * 510 + ".wav"
    assert len(name.encode()) == 1024
    dies(common_scene, common_daemon, name, wav("long"), "output_name_too_long")


def test_an_empty_object_is_dead_and_nothing_is_paid(common_scene: Scene, common_daemon: Daemon) -> None:
    dies(common_scene, common_daemon, "empty.wav", b"", "empty")


def test_a_text_that_says_it_is_audio_is_dead_unpaid_until_the_recording_comes(
    common_scene: Scene, common_daemon: Daemon
) -> None:
    dies(common_scene, common_daemon, "talk.mp3", b"Dear all, see the recording", "undecodable")
    generation = common_scene.world.upload("talk.mp3", wav("talk"), content_type="audio/mpeg")
    common_daemon.says("attempt", outcome="transcribed", generation=str(generation))
    assert common_scene.outputs("texts/talk.mp3").keys() == {"json", "txt"}


def test_a_recording_that_always_fails_is_given_up_alone(common_scene: Scene, common_daemon: Daemon) -> None:
    common_scene.control.mode("server_error", sha256=heard(wav("cursed")))
    cursed = common_scene.world.upload("cursed.wav", wav("cursed"))
    common_daemon.says("attempt", outcome="failed", generation=str(cursed))
    healthy = common_scene.world.upload("healthy.wav", wav("healthy"))
    common_daemon.says("attempt", outcome="transcribed", generation=str(healthy))
    common_daemon.says("attempt", outcome="exhausted", generation=str(cursed))
    common_scene.control.mode(None)
    record = common_scene.record("cursed.wav")
    assert (record["state"], record["reason"]["kind"], record["attempts"]) == ("dead", "exhausted", 2)
    assert "provider_error" in told(common_scene, "cursed.wav")["message"]
    assert common_daemon.metrics("provider_paused") == 0
    assert not common_daemon.said("paused")


def test_what_asks_nothing_of_us_is_acked_and_nothing_else_is_affected(
    common_scene: Scene, common_daemon: Daemon
) -> None:
    world, queue = common_scene.world, common_scene.world.queue
    notification = world.notification("one.wav", 17)
    ignored, acked = (
        common_daemon.metrics("deliveries_total", outcome="ignored"),
        common_daemon.metrics("settlements_total", kind="ack", result="ok"),
    )
    records = world.records()
    messages = [
        queue.publish(b"\xff\x00 not even text"),
        queue.publish(b"[" * 100_000),
        queue.publish(b'{"specversion": "1.0"}'),
        queue.publish(b"", hello="world"),
        queue.publish(b"", **{**notification, "eventType": "OBJECT_DELETE"}),
        queue.publish(b"", **{**notification, "objectGeneration": "-1"}),
        queue.publish(b"", **{**notification, "objectId": "notes.txt"}),
        queue.publish(b"", **{**notification, "bucketId": world.output_bucket, "objectId": "texts/one.wav"}),
        queue.publish(b"", **{"ce-type": "google.cloud.storage.object.v1.finalized", "ce-subject": "objects/"}),
    ]
    for message in messages:
        assert common_daemon.says("attempt", message_id=message)["outcome"] == "ignored"
    common_daemon.counts(acked + len(messages), "settlements_total", kind="ack", result="ok")
    assert common_daemon.metrics("deliveries_total", outcome="ignored") == ignored + len(messages)
    assert world.records() == records
    generation = world.upload("after the garbage.wav", wav("after"))
    common_daemon.says("attempt", outcome="transcribed", generation=str(generation))


def test_two_recordings_that_want_one_name_do_not_share_it(scene: Scene) -> None:
    daemon = scene.start(output=f"{scene.world.output}/{{stem}}")
    daemon.ready()
    first = scene.world.upload("talk.wav", wav("first"))
    line = daemon.says("attempt", outcome="transcribed", generation=str(first))
    assert str(line["request_id"]).startswith("req_")  # what the provider's support asks for
    before = scene.outputs("talk")
    second = scene.world.upload("talk.flac", wav("second"))
    daemon.says("attempt", outcome="rejected", reason="output_collision", generation=str(second))
    assert scene.record("talk.flac")["reason"]["kind"] == "output_collision"
    assert scene.requests() == 1  # found out before it was paid
    after = scene.outputs("talk")
    assert {ending: after[ending] for ending in before} == before
    assert json.loads(after["error.json"].data)["source"]["name"] == "talk.flac"


def test_what_was_deleted_or_overwritten_before_its_turn_costs_nothing(scene: Scene) -> None:
    world = scene.world
    deleted = world.upload("deleted.wav", wav("deleted"))
    world.storage.bucket(world.bucket).delete_blob("deleted.wav")
    overwritten, newest = (world.upload("replaced.wav", wav(text)) for text in ("old", "new"))
    daemon = scene.start()
    daemon.says("attempt", outcome="gone", generation=str(deleted))
    daemon.says("attempt", outcome="superseded", generation=str(overwritten))
    daemon.says("attempt", outcome="transcribed", generation=str(newest))
    daemon.counts(3, "settlements_total", kind="ack", result="ok")
    assert scene.record("deleted.wav")["state"] == "gone"
    assert scene.record("replaced.wav", overwritten)["state"] == "superseded"
    assert scene.record("replaced.wav", newest)["state"] == "done"
    assert scene.requests() == scene.requests(wav("new")) == 1
    assert said(wav("new")) in scene.outputs("replaced.wav")["txt"].data.decode()
