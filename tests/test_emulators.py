"""What `subscriber.emulators` starts is real, is ours alone, and is gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from subscriber.emulators import EmulatorFailed, Emulators, EmulatorsMissing, emulators
from tests.world import World, fresh


def test_an_upload_is_notified_with_the_attributes_that_cloud_storage_sends(world: World) -> None:
    first = world.upload("calls/a b #1.wav", b"one", caller="ann")
    second = world.upload("calls/a b #1.wav", b"two")
    deliveries = world.queue.pull()
    while len(deliveries) < 2:
        deliveries += world.queue.pull()
    messages = sorted(
        (dict(found.message.attributes) for found in deliveries), key=lambda found: found["objectGeneration"]
    )
    for attributes, generation in zip(messages, (first, second), strict=True):
        documented = world.notification("calls/a b #1.wav", generation)
        assert attributes.keys() >= documented.keys() - {"notificationConfig"}  # the fake leaves this one out
        for name in ("eventType", "bucketId", "objectId", "objectGeneration"):
            assert attributes[name] == documented[name]
    assert messages[1]["overwroteGeneration"] == str(first)
    body = json.loads(deliveries[0].message.data)
    assert (body["size"], body["contentType"], body["bucket"]) == ("3", "audio/wav", world.bucket)


def test_only_the_watched_bucket_is_notified(world: World) -> None:
    world.storage.bucket(world.output_bucket).blob("quiet.json").upload_from_string(b"{}")
    generation = world.upload("loud.wav", b"one")
    (delivery,) = world.queue.pull()
    assert delivery.message.attributes["objectGeneration"] == str(generation)
    assert world.outputs() == {"quiet.json": b"{}"}


def test_a_notification_published_again_looks_like_the_first(world: World) -> None:
    world.publish_again(world.notification("x.wav", 7))
    (delivery,) = world.queue.pull()
    assert dict(delivery.message.attributes) == world.notification("x.wav", 7)


def test_a_world_names_everything_that_a_daemon_needs(world: World) -> None:
    world.database.collection(world.collection).document("d").set({"state": "done"})
    assert world.records() == {"d": {"state": "done"}}
    assert world.environ["SUBSCRIBER_OUTPUT"] == world.output == f"gs://{world.output_bucket}"
    assert world.environ["STORAGE_EMULATOR_HOST"] == world.emulators.storage_url


def test_an_address_in_the_environment_is_used_as_it_is() -> None:
    given = Emulators("p", "a:1", "b:2", "http://c:3")
    with emulators({**given.environ(), "PATH": ""}, project="p") as used:
        assert used == given


def test_without_gcloud_the_error_names_the_remedies() -> None:
    with pytest.raises(EmulatorsMissing, match=r"no gcloud(.|\n)*components install(.|\n)*google-cloud-cli-pubsub"):
        emulators({"PATH": ""}, project="p").__enter__()


def _fake_sdk(folder: Path, program: str) -> dict[str, str]:
    """An environment with a gcloud whose Pub/Sub emulator is the shell script `program`."""
    emulator = folder / "platform/pubsub-emulator/bin/cloud-pubsub-emulator"
    emulator.parent.mkdir(parents=True)
    for path, script in ((emulator, program), (folder / "gcloud", f"echo {folder}"), (folder / "java", "")):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return {"PATH": f"{folder}:{os.defpath}", "FIRESTORE_EMULATOR_HOST": "b:2", "STORAGE_EMULATOR_HOST": "http://c:3"}


def test_without_the_components_the_error_names_what_is_missing(tmp_path: Path) -> None:
    environ = _fake_sdk(tmp_path, "")
    (tmp_path / "platform/pubsub-emulator/bin/cloud-pubsub-emulator").unlink()
    with pytest.raises(EmulatorsMissing, match=r"cloud-pubsub-emulator does not exist"):
        emulators(environ, project="p").__enter__()


def test_an_emulator_that_dies_at_its_start_is_quoted(tmp_path: Path) -> None:
    environ = _fake_sdk(tmp_path, "echo 'this Java is too old' >&2; exit 1")
    with pytest.raises(EmulatorFailed, match="this Java is too old"):
        emulators(environ, project="p").__enter__()


def test_making_what_exists_is_refused_loudly(emulators: Emulators) -> None:
    topic = fresh("topic")
    emulators.make_topic(topic)
    with pytest.raises(EmulatorFailed, match="already exists"):
        emulators.make_topic(topic)


_HOLDER = """
import os, sys
from subscriber.emulators import emulators
with emulators(os.environ, project="p"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def _children(pid: int) -> set[int]:
    """Every living descendant of a process."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    found = {pid}
    for _ in range(4):
        found |= {int(child) for child, parent, _ in rows if int(parent) in found}
    return found - {pid}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("ending", [None, signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(ending: signal.Signals | None, emulators: Emulators) -> None:  # noqa: ARG001 - skips without them
    """After the block, after Ctrl-C, and after a SIGKILL that leaves us no time to tidy up."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    command = [sys.executable, "-c", _HOLDER]
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        started = _children(holder.pid)
        assert len(started) >= 3
        if ending:
            holder.send_signal(ending)
        holder.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while left := [pid for pid in started if _alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_the_storage_keeps_its_objects_in_the_folder_that_it_is_told(tmp_path: Path) -> None:
    elsewhere = {**os.environ, "PUBSUB_EMULATOR_HOST": "a:1", "FIRESTORE_EMULATOR_HOST": "b:2"}
    with emulators({**elsewhere, "STORAGE_EMULATOR_HOST": ""}, project="p", folder=tmp_path) as servers:
        servers.make_bucket("kept")
    assert (tmp_path / "kept").is_dir()
