"""A world in which a daemon has met everything: several hundred records of every kind, made once for all tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from subscriber.emulators import Emulators
from subscriber.whisper_server import Control, Server, StubEngine
from tests.daemon import Daemon, command, command_environ, until
from tests.process.scenes import Scene
from tests.sound import heard, wav
from tests.world import World, new_world

PREFIX = "texts"
RECORDINGS = 20
COPIES = 8
FINAL = ("transcribed", "rejected", "exhausted", "gone", "superseded", "ignored")
QUICK = {"max_attempts": 2, "retry_min_seconds": 0.1, "retry_max_seconds": 1, "max_jobs": 16, "whisper_concurrency": 8}


@dataclass
class Operated:
    """The world, and how many records there are by state and reason."""

    world: World
    scene: Scene
    kinds: Counter[tuple[str, str]]
    environ: dict[str, str]


@pytest.fixture(scope="package")
def operated(emulators: Emulators) -> Iterator[Operated]:
    """For as long as this folder's tests run: the world takes this process's environment."""
    with (
        Server(StubEngine(), control=True) as provider,
        new_world(emulators) as world,
        Scene(world, provider.url, Control(provider.url)) as scene,
    ):
        _operate(scene)
        environ = command_environ(world, provider.url, output=f"{world.output}/{PREFIX}")
        yield Operated(world, scene, Counter(map(_kind, world.records().values())), environ)


def _kind(record: dict[str, Any]) -> tuple[str, str]:
    return record["state"], record["reason"]["kind"] if record["reason"] else ""


def _operate(scene: Scene) -> None:
    """Nothing here writes a record: daemons do, to which everything happens."""
    settle(scene)
    forget_one(scene)
    fail_for_now(scene)
    die(scene, "held", 5, claim_seconds=3600)
    die(scene, "silent", 5, claim_seconds=3)


def settle(scene: Scene) -> None:
    """Done, dead for four reasons, gone, superseded: all that is settled."""
    world = scene.world
    bucket = world.storage.bucket(world.bucket)
    for number in range(15):
        world.upload(f"gone/{number}.wav", wav("gone"))
        bucket.delete_blob(f"gone/{number}.wav")
        world.upload(f"replaced/{number}.wav", wav("old"))
        world.upload(f"replaced/{number}.wav", wav("new"))
    for number in range(RECORDINGS):
        sound = wav(f"call {number}")
        for copy in range(COPIES):
            world.upload(f"calls/{copy}/{number:02}.wav", sound)
    for number in range(30):
        world.upload(f"empty/{number}.wav", b"")
        world.upload(f"letters/{number}.mp3", b"Dear all, see the recording", content_type="audio/mpeg")
    world.upload("é" * 505 + ".wav", wav("long"))
    for number in range(3):
        world.upload(f"private/{number}.wav", wav("private"), transcribe="skip")
    world.upload("anna.wav", wav("anna"))
    world.upload("done/1.wav", wav("done"))
    world.upload("odd/#3 & <b>50%</b>\x1b[31m.wav", wav("odd"))
    scene.control.mode("server_error", sha256=heard(wav("cursed")))
    for number in range(5):
        world.upload(f"cursed/{number}.wav", wav("cursed"))
    daemon = started(scene, **QUICK)
    expected = 15 * 3 + RECORDINGS * COPIES + 30 * 2 + 1 + 3 + 1 + 1 + 1 + 5
    until(lambda: ended(daemon, *FINAL) >= expected, f"{expected} jobs are settled", 240)
    drained(daemon)


def forget_one(scene: Scene) -> None:
    """A tombstone, which an operator's command leaves."""
    environ = command_environ(scene.world, scene.whisper_url, output=f"{scene.world.output}/{PREFIX}")
    done = command(environ, "forget", f"gs://{scene.world.bucket}/anna.wav")
    assert done.returncode == 0, done.stderr


def fail_for_now(scene: Scene) -> None:
    """Waiting: failed once, and the next attempt is minutes away."""
    daemon = started(scene, max_attempts=10, retry_min_seconds=600, retry_max_seconds=600)
    for number in range(5):
        scene.world.upload(f"waiting/{number}.wav", wav("cursed"))
    until(lambda: ended(daemon, "failed") >= 5, "five attempts have failed")
    drained(daemon)
    scene.control.mode(None)


def die(scene: Scene, name: str, count: int, **settings: object) -> None:
    """Claimed by a daemon that was killed in the middle of it."""
    scene.control.hold()
    before = scene.requests()
    # As many places as recordings: with none free it does not pull, and a dead process's pull would swallow a message.
    daemon = started(scene, max_jobs=count, whisper_concurrency=count, **settings)
    for number in range(count):
        scene.world.upload(f"{name}/{number}.wav", wav(f"{name} {number}"))
    scene.control.wait_for_requests(before + count)
    daemon.kill()
    scene.control.release()


def ended(daemon: Daemon, *outcomes: str) -> int:
    """How many deliveries have ended so. From the log: so many questions for /metrics would slow the daemon down."""
    return sum(line.get("message") == "attempt" and line.get("outcome") in outcomes for line in daemon.log)


def started(scene: Scene, **settings: object) -> Daemon:
    daemon = scene.start(output=f"{scene.world.output}/{PREFIX}", **settings)
    daemon.ready()
    return daemon


def drained(daemon: Daemon) -> None:
    daemon.term()
    assert daemon.exit_code() == 0
