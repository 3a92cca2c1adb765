"""The net under lost notifications: what nobody told the daemon of is found, told of, and transcribed once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from subscriber.emulators import Emulators
from subscriber.whisper_server import Control, Server
from tests.daemon import Daemon, command, command_environ
from tests.process.scenes import Scene
from tests.sound import wav
from tests.world import Queue, World, fresh

ODD_NAMES = ("a\nb.wav", "#1.wav", "--after.wav", "大阪 'x'.wav", "$(reboot).wav", "é" * 509 + ".wav", "\x1b[31m.wav")
"""The longest has 1,022 bytes: no output of it can be named."""


@dataclass
class Shelf:
    """A bucket that notifies nobody, and the topic for replays."""

    scene: Scene
    bucket: str
    replay: Queue
    environ: dict[str, str]

    @property
    def world(self) -> World:
        return self.scene.world

    def put(self, name: str, data: bytes, content_type: str = "audio/wav", **metadata: str) -> None:
        blob = self.world.storage.bucket(self.bucket).blob(name)
        blob.metadata = metadata or None
        blob.upload_from_string(data, content_type=content_type)

    def backfill(self, *options: str, place: str = "") -> subprocess.CompletedProcess[str]:
        done = command(self.environ, "backfill", place or f"gs://{self.bucket}", "--rate", "6000", *options)
        assert done.returncode == 0, done.stderr
        return done

    def daemon(self) -> Daemon:
        started = self.scene.start(
            subscription=f"{self.world.queue.subscription},{self.replay.subscription}",
            replay_topic=self.replay.topic,
            max_jobs=8,
        )
        started.ready()
        return started


@pytest.fixture
def shelf(world: World, server: Server, control: Control, emulators: Emulators) -> Iterator[Shelf]:
    topic, subscription, bucket = fresh("replay"), fresh("replay"), fresh("shelf")
    emulators.make_topic(topic, subscription)
    world.emulators.make_bucket(bucket)
    prefix = f"projects/{emulators.project}"
    replay = Queue(
        f"{prefix}/topics/{topic}",
        f"{prefix}/subscriptions/{subscription}",
        world.queue.publisher,
        world.queue.subscriber,
    )
    with Scene(world, server.url, control) as scene:
        yield Shelf(scene, bucket, replay, command_environ(world, server.url, replay_topic=replay.topic))


def test_what_came_before_the_notification_is_transcribed_once_and_a_second_backfill_publishes_nothing(
    shelf: Shelf,
) -> None:
    for number in range(30):
        shelf.put(f"calls/{number:02}.wav", wav(f"call {number}"))
    shelf.put("notes.txt", b"notes", "text/plain")
    shelf.put("private.wav", wav("private"), transcribe="skip")
    assert "30  published: nobody has claimed it" in shelf.backfill().stdout
    daemon = shelf.daemon()
    daemon.counts(30, "deliveries_total", outcome="transcribed")
    again = shelf.backfill().stdout
    assert "published" not in again
    assert "30  left: done" in again
    assert "1  left: ignored (not_included)" in again
    assert "1  left: ignored (skipped)" in again
    assert shelf.scene.requests() == 30
    assert daemon.metrics("deliveries_total") == 30
