"""Forgetting while daemons run: what is erased stays erased, and a worker lets go."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.daemon import command, command_environ, jobs
from tests.process.scenes import Scene
from tests.sound import wav


def test_what_was_forgotten_stays_forgotten(scene: Scene) -> None:
    world = scene.world
    environ = command_environ(world, scene.whisper_url)
    generation = world.upload("anna.wav", wav("anna"))
    daemon = scene.start()
    daemon.says("attempt", outcome="transcribed", generation=str(generation))
    uri = f"gs://{world.bucket}/anna.wav"
    told = command(environ, "forget", uri, "--dry-run")
    assert told.returncode == 0
    assert scene.outputs("anna.wav").keys() == {"json", "txt"}
    done = command(environ, "forget", uri)
    assert done.returncode == 0, done.stderr
    assert "anna.wav.json" in done.stdout
    assert "1 chunks" in done.stdout
    assert world.outputs() == {}
    (tombstone,) = world.records().values()
    assert tombstone["state"] == "forgotten"
    assert "anna" not in json.dumps(tombstone, default=str)
    message = world.publish_again(world.notification("anna.wav", generation))
    assert daemon.says("attempt", message_id=message)["reason"] == "forgotten"
    daemon.counts(2, "settlements_total", kind="ack", result="ok")
    assert scene.requests() == 1
    assert world.outputs() == {}
    assert command(environ, "forget", f"gs://{world.bucket}/berta.wav").returncode == 1


def test_a_job_in_work_is_taken_from_its_worker(scene: Scene) -> None:
    world = scene.world
    scene.control.hold()
    daemon = scene.start(claim_seconds=6)
    world.upload("anna.wav", wav("anna"))
    scene.control.wait_for_requests(1)
    done = command(command_environ(world, scene.whisper_url), "forget", f"gs://{world.bucket}/anna.wav")
    assert done.returncode == 0, done.stderr
    assert "a worker had it" in done.stderr
    scene.control.release()
    daemon.says("attempt", outcome="lost")
    assert scene.outputs("anna.wav") == {}
    assert [record["state"] for record in world.records().values()] == ["forgotten"]


def test_the_embedded_ledger_is_asked_with_outbox(tmp_path: Path, scene: Scene) -> None:
    inbox, outbox = tmp_path / "inbox", tmp_path / "outbox"
    inbox.mkdir()
    (inbox / "anna.wav").write_bytes(wav("anna"))
    (inbox / "letter.mp3").write_bytes(b"Dear all")
    environ = {"OPENAI_BASE_URL": f"{scene.whisper_url}/v1", "PATH": os.environ["PATH"]}
    assert command(environ, "local", str(inbox), str(outbox)).returncode == 1
    found = jobs(environ, "--outbox", str(outbox))
    assert sorted((one["state"], one["name"]) for one in found) == [("dead", "letter.mp3"), ("done", "anna.wav")]
    told = command(environ, "explain", "anna.wav", "--outbox", str(outbox))
    assert told.stdout.count("matches its source") == 2
    assert command(environ, "forget", "anna.wav", "--outbox", str(outbox)).returncode == 0
    assert not list(outbox.rglob("anna*"))
    assert command(environ, "jobs", "--outbox", str(tmp_path / "absent")).returncode == 2
