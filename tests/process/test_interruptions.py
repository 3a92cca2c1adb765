"""SIGTERM at the worst moments: nothing is lost, nothing is paid twice, and Cloud Run's ten seconds suffice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from bench.recordings import OPUS, long_recording
from subscriber.emulators import Emulators
from subscriber.whisper_server import Control, Server, StubEngine
from tests.daemon import Daemon, until
from tests.front import Front, Refusal
from tests.process.scenes import Scene
from tests.relay import Fault, Relay
from tests.sound import wav
from tests.valve import Valve
from tests.world import World, new_world

GRACE_SECONDS = 8
"""The default."""

KILLED_AFTER_SECONDS = 10.0
"""Cloud Run's patience: whoever is not gone by then has no say in how."""

HELD_BACK_SECONDS = 3.0

HANDED_OVER_SECONDS = 10.0
"""Usually one or two; whoever waits for a lease or claim to end waits for 60."""

WORDS = 20
"""As many as nobody doubts in ten seconds of speech, nor in thirty."""


@dataclass
class Street:
    """A world whose ledger and storage can be held back."""

    scene: Scene
    firestore: Relay
    gcs: Front

    def start(self) -> Daemon:
        world, control = self.scene.world, self.scene.control
        settings = {"firestore_emulator_host": self.firestore.address, "storage_emulator_host": self.gcs.url}
        control.reset()
        return self.scene.start(shutdown_grace_seconds=GRACE_SECONDS, output=world.output, **settings)


@pytest.fixture
def street(scene: Scene) -> Iterator[Street]:
    servers = scene.world.emulators
    with Relay(servers.firestore_host) as firestore, Front(servers.storage_url) as gcs:
        yield Street(scene, firestore, gcs)


def stops_in_time(daemon: Daemon) -> None:
    """By one SIGTERM, with exit code 0."""
    began = time.monotonic()
    daemon.term()
    assert daemon.exit_code() == 0
    assert time.monotonic() - began < KILLED_AFTER_SECONDS


def is_done_once(scene: Scene, name: str, claims: int) -> None:
    record = scene.record(name)
    assert (record["state"], scene.claims(name), record["attempts"], record["takeovers"]) == ("done", claims, 0, 0)
    assert scene.outputs(name).keys() == {"json", "txt"}
    assert scene.requests() == 1


def test_a_drain_while_the_claim_is_being_committed_leaves_no_claim_behind(street: Street) -> None:
    """Its answer comes: the job is done, or free for the next process at once."""
    first = street.start()
    first.ready()
    street.firestore.spoil(Fault("Commit", late_seconds=HELD_BACK_SECONDS))
    street.scene.world.upload("one.wav", wav())
    until(street.firestore.spoiled, "the claim's commit is on the wire")
    stops_in_time(first)
    record = street.scene.record("one.wav")
    assert (record["state"] in {"done", "waiting"}, record["attempts"]) == (True, 0)
    if record["state"] == "waiting":
        street.start().says("attempt", outcome="transcribed")
    is_done_once(street.scene, "one.wav", street.scene.claims("one.wav"))


def test_a_drain_while_the_result_is_being_recorded_waits_for_the_record_and_acks(street: Street) -> None:
    first = street.start()
    first.ready()
    street.scene.control.hold()
    street.scene.world.upload("one.wav", wav())
    street.scene.control.wait_for_requests(1)
    street.firestore.spoil(Fault("Commit", late_seconds=HELD_BACK_SECONDS))
    street.scene.control.release()
    until(street.firestore.spoiled, "the result's commit is on the wire")
    stops_in_time(first)
    is_done_once(street.scene, "one.wav", claims=1)
    first.says("attempt", outcome="transcribed")
    assert not street.scene.world.queue.pull(seconds=2), "acked: nobody holds it, and it does not come again"


@pytest.mark.parametrize("what", [".chunks/", "one.wav.txt", "one.wav.json"])
def test_a_drain_while_something_is_written_waits_for_it_and_finishes(street: Street, what: str) -> None:
    first = street.start()
    first.ready()
    street.gcs.refuse(Refusal("POST", what, None, late_seconds=HELD_BACK_SECONDS))
    street.scene.world.upload("one.wav", wav())
    until(street.gcs.refused, "the write is on the wire")
    stops_in_time(first)
    is_done_once(street.scene, "one.wav", claims=1)


def test_a_drain_in_the_middle_of_the_start_ends_it(scene: Scene) -> None:
    """A neighbour whose answer is awaited says nothing, not even that it is away."""
    with Valve(scene.world.emulators.firestore_host) as valve:
        valve.swallow()
        starting = scene.start(shutdown_grace_seconds=GRACE_SECONDS, firestore_emulator_host=valve.address)
        starting.ready("starting")
        stops_in_time(starting)


class Talker(StubEngine):
    """Takes a second, as a real one does, and says as much as half a minute holds, so that nobody doubts it."""

    def transcribe(self, data: bytes, filename: str, **how: Any) -> dict[str, Any]:
        answer = super().transcribe(data, filename, **how)
        text = " ".join(hashlib.sha256(data + bytes([n])).hexdigest()[:6] for n in range(WORDS))
        (segment,) = answer["segments"]
        return {**answer, "text": text, "segments": [{**segment, "text": text}]}


@pytest.fixture
def slow_scene(emulators: Emulators) -> Iterator[Scene]:
    with ExitStack() as stack:
        server = stack.enter_context(Server(Talker(latency=1.0), control=True))
        world: World = stack.enter_context(new_world(emulators))
        yield stack.enter_context(Scene(world, server.url, Control(server.url)))


def test_of_three_hours_nothing_is_lost_or_paid_twice_when_the_grace_is_eight_seconds(slow_scene: Scene) -> None:
    """What was paid is stored, the claim is free at no cost, and the next process goes on at once."""
    scene, slots = slow_scene, 4
    settings = {"whisper_concurrency": slots, "language": "en"}
    first = scene.start(**settings, shutdown_grace_seconds=GRACE_SECONDS)
    first.ready()
    scene.world.upload("long.opus", long_recording(OPUS, 3 * 3600), content_type="audio/ogg")
    scene.control.wait_for_requests(2 * slots)
    second = scene.start(**settings)
    second.ready()
    stops_in_time(first)
    released = scene.record("long.opus")["history"][0]
    assert (released["outcome"], scene.record("long.opus")["attempts"]) == ("interrupted", 0)
    until(lambda: scene.claims("long.opus") == 2, "the other process has the claim")
    claimed: datetime = scene.record("long.opus")["renewed_at"]
    assert (claimed - released["at"]).total_seconds() < HANDED_OVER_SECONDS
    print(f"handed over within {(claimed - released['at']).total_seconds():.2f} s")
    sent = scene.control.status()["received"]
    status = scene.control.wait_for_requests(sent + 2 * slots)
    assert set(status["bodies"].values()) == {1}, "whatever the first one sent was answered, and is in the cache"
    assert first.said("released_unfinished") or first.said("attempt", outcome="interrupted")
    assert not second.said("attempt", outcome="failed")
