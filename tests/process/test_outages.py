"""Neighbours that are away, refuse or are misconfigured cost time: no message, no attempt, no restart."""

from __future__ import annotations

from subscriber.emulators import free_port
from tests.process.scenes import Scene
from tests.sound import wav


def test_a_daemon_that_starts_without_its_provider_waits_for_it(scene: Scene) -> None:
    scene.control.mode("down")
    scene.world.upload("one.wav", wav())
    daemon = scene.start()
    why = daemon.ready("paused")["why"]
    assert "500" in why["whisper"]
    assert daemon.get("/readyz")[0] == 200, "a pause must not block the rollout that mends it"
    assert daemon.metrics("provider_paused", reason="unavailable") == 1
    assert scene.world.records() == {}, "nothing is taken that could not be worked on"
    scene.control.mode(None)
    daemon.says("attempt", outcome="transcribed")
    assert daemon.ready() == {"ok": True, "state": "pulling"}
    assert daemon.metrics("provider_paused") == 0


def test_a_daemon_that_starts_without_its_ledger_waits_for_it_and_can_be_stopped(scene: Scene) -> None:
    daemon = scene.start(firestore_emulator_host=f"127.0.0.1:{free_port()}")
    assert daemon.ready("paused")["why"].keys() == {"firestore"}
    assert daemon.get("/readyz")[0] == daemon.get("/livez")[0] == 200
    daemon.term()
    assert daemon.exit_code() == 0


def test_a_used_up_quota_is_waited_out_and_costs_no_attempt(scene: Scene) -> None:
    daemon = scene.start()
    daemon.ready()
    scene.control.mode("quota")
    scene.world.upload("one.wav", wav())
    daemon.says("paused", reason="billing")
    assert daemon.ready("paused")["why"]["whisper"].startswith("billing: ")
    assert daemon.metrics("provider_paused", reason="billing") == 1
    assert scene.record("one.wav")["state"] == "claimed", "kept, so that nobody else runs into the same wall"
    scene.control.mode(None)
    assert daemon.says("attempt", outcome="transcribed")["attempt"] == 1
    assert scene.record("one.wav")["attempts"] == 0
    assert daemon.metrics("provider_paused") == 0
    assert daemon.metrics("deliveries_total") == 1


def test_an_output_that_covers_the_watched_bucket_pauses_and_acks_nothing(scene: Scene) -> None:
    daemon = scene.start(output=f"gs://{scene.world.bucket}", retry_min_seconds=0.1)
    daemon.ready()
    scene.world.upload("one.wav", wav())
    daemon.says("paused", reason="configuration")
    assert "give it a prefix" in daemon.ready("paused")["why"]["configuration"]
    assert daemon.metrics("settlements_total", kind="ack") == 0
    (message,) = scene.world.queue.pull(seconds=10)
    assert message.message.attributes["objectId"] == "one.wav"
    assert scene.world.records() == {}
    assert scene.requests() == 0
    daemon.term()
    assert daemon.exit_code() == 0
