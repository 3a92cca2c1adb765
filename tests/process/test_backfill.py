"""The net under lost notifications: what nobody told the daemon of is found, told of, and transcribed once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.daemon import PATIENCE_SECONDS, Daemon, command, command_environ, until
from tests.desk.test_samples import SAMPLES, require_sample
from tests.process.scenes import Scene
from tests.sound import heard, wav
from tests.world import Queue, fresh

FAST = ("--rate", "6000")
LONG = "é" * 509 + ".wav"
"""No output of it can be named."""

ODD = ["a\nb.wav", "#1.wav", "--after.wav", "大阪 'x'.wav", "$(exit 3).wav", "a\\b\t`.wav", "\x1b[31m.wav", LONG]


class Shelf:
    """A bucket that notifies nobody, and the topic for replays."""

    def __init__(self, scene: Scene, replays: Queue) -> None:
        self.scene = scene
        self.replays = replays
        self.bucket = fresh("shelf")
        scene.world.emulators.make_bucket(self.bucket)
        told = {"replay_topic": replays.topic, "price_usd_per_minute": 0.006}
        self.environ = command_environ(scene.world, scene.whisper_url, **told)

    @property
    def uri(self) -> str:
        return f"gs://{self.bucket}"

    def put(self, name: str, data: bytes, content_type: str = "audio/wav", **metadata: str) -> None:
        blob = self.scene.world.storage.bucket(self.bucket).blob(name)
        blob.metadata = metadata or None
        blob.upload_from_string(data, content_type=content_type)

    def backfill(self, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = command(self.environ, "backfill", self.uri, *FAST, *options)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def start(self, **settings: object) -> Daemon:
        both = f"{self.scene.world.queue.subscription},{self.replays.subscription}"
        daemon = self.scene.start(subscription=both, max_jobs=8, **settings)
        daemon.ready()
        return daemon

    def told(self, least: int) -> list[str]:
        """The names that were notified since this was asked last, as soon as there are so many different ones."""
        names: list[str] = []

        def enough() -> bool:
            if received := self.replays.pull(1000, seconds=2):
                self.replays.subscriber.acknowledge(
                    subscription=self.replays.subscription, ack_ids=[one.ack_id for one in received]
                )
            names.extend(one.message.attributes["objectId"] for one in received)
            return len(set(names)) >= least

        until(enough, f"{least} are notified")
        return names


@pytest.fixture
def shelf(scene: Scene, pubsub: Callable[..., Queue]) -> Shelf:
    return Shelf(scene, pubsub())


def go_on(shelf: Shelf, printed: str) -> subprocess.CompletedProcess[str]:
    """Type what was printed into a shell."""
    (line,) = re.findall(r"go on with\n  subscriber (.+)\n", printed)
    typed = f"{sys.executable} -m subscriber {line}"
    shell = shutil.which("bash")
    assert shell
    return subprocess.run(
        [shell, "-c", typed], env=shelf.environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_what_came_before_the_notification_is_transcribed_once_and_a_second_backfill_publishes_nothing(
    shelf: Shelf,
) -> None:
    for number in range(30):
        shelf.put(f"calls/{number:02}.wav", wav(f"call {number}"))
    shelf.put("notes.txt", b"notes", "text/plain")
    shelf.put("private.wav", wav("private"), transcribe="skip")
    assert "       30  published: nobody has claimed it\n" in shelf.backfill().stdout
    daemon = shelf.start()
    daemon.counts(30, "deliveries_total", outcome="transcribed")
    again = shelf.backfill().stdout
    assert again.splitlines() == [
        "       30  left: done",
        "        1  left: ignored (not_included)",
        "        1  left: ignored (skipped)",
        "       32  in all",
    ]
    assert shelf.scene.requests() == 30
    assert daemon.metrics("deliveries_total") == 30


def test_names_that_are_garbage_are_transcribed_like_any_other_and_shown_inert(shelf: Shelf) -> None:
    for name in ODD:
        shelf.put(name, wav(name))
    done = shelf.backfill()
    assert f"{len(ODD)}  published" in done.stdout
    daemon = shelf.start()
    daemon.counts(len(ODD) - 1, "deliveries_total", outcome="transcribed")
    daemon.counts(1, "jobs_total", reason="output_name_too_long")
    again = shelf.backfill()
    assert f"{len(ODD) - 1}  left: done" in again.stdout
    redo = f"subscriber replay --state dead --reason output_name_too_long --prefix {shelf.uri}/\n"
    assert f"to redo the 1 dead (output_name_too_long): {redo}" in again.stdout
    assert "published" not in again.stdout
    assert "\x1b" not in done.stdout + done.stderr + again.stdout + again.stderr


def test_whatever_a_name_holds_the_printed_command_goes_on_behind_it(shelf: Shelf) -> None:
    for name in ODD:
        shelf.put(name, wav("one"))
    done = shelf.backfill("--limit", "1", "--since", "1d")
    for _ in ODD:
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        if "published" not in done.stdout:
            break
        done = go_on(shelf, done.stdout)
    assert "0  in all" in done.stdout
    assert sorted(shelf.told(len(ODD))) == sorted(ODD)


def test_an_interrupted_backfill_goes_on_where_it_was_and_keeps_to_its_rate(shelf: Shelf) -> None:
    names = [f"{number:02}.wav" for number in range(40)]
    for name in names:
        shelf.put(name, wav("one"))
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "subscriber", "backfill", shelf.uri, "--rate", "240"],
        env=shelf.environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = shelf.told(4)
        process.terminate()
        _, complaint = process.communicate(timeout=PATIENCE_SECONDS)
        took = time.monotonic() - began
    assert process.returncode == 1
    assert "Traceback" not in complaint
    published = int(re.findall(r"stopped after (\d+) were published", complaint)[0])
    assert 3 <= published < 40, "of the fourth the answer may not have come yet"
    assert took >= (published - 1) * 60 / 240
    done = go_on(shelf, complaint.replace("--rate 240", "--rate 6000"))
    assert done.returncode == 0, done.stderr
    assert f"{40 - published}  published" in done.stdout
    assert {*told, *shelf.told(40 - len(told))} == set(names)


def test_outputs_that_are_missing_are_written_again_from_what_is_paid(shelf: Shelf) -> None:
    daemon = shelf.start()
    world = shelf.scene.world
    for name in ("whole.wav", "no-text.wav", "no-json.wav"):
        shelf.put(name, wav(name))
    shelf.backfill()
    daemon.counts(3, "deliveries_total", outcome="transcribed")
    outputs = world.storage.bucket(world.output_bucket)
    outputs.delete_blob("no-text.wav.txt")
    outputs.delete_blob("no-json.wav.json")
    assert "3  left: done" in shelf.backfill().stdout, "the ledger is believed"
    assert "2  published: done, but" in shelf.backfill("--verify-outputs", "--dry-run").stdout.replace("would be ", "")
    assert "2  published: done, but" in shelf.backfill("--verify-outputs").stdout
    daemon.counts(5, "deliveries_total", outcome="transcribed")
    assert shelf.scene.requests() == 3, "nothing is paid for again"
    assert {name for name in world.outputs() if not name.startswith(".chunks/")} == {
        f"{name}.{ending}" for name in ("whole.wav", "no-text.wav", "no-json.wav") for ending in ("json", "txt")
    }
    assert "3  left: done" in shelf.backfill("--verify-outputs").stdout


def test_a_record_that_has_expired_does_not_have_its_recording_paid_for_again(shelf: Shelf) -> None:
    daemon = shelf.start()
    shelf.put("old.wav", wav("old"))
    shelf.backfill()
    daemon.counts(1, "deliveries_total", outcome="transcribed")
    world = shelf.scene.world
    for document in world.records():
        world.database.collection(world.collection).document(document).delete()
    assert "1  left: done" in shelf.backfill().stdout


def test_what_is_dead_or_in_hand_is_left(shelf: Shelf) -> None:
    shelf.scene.control.mode("server_error", sha256=heard(wav("cursed")))
    daemon = shelf.start(max_attempts=1, retry_min_seconds=0.1, retry_max_seconds=1)
    shelf.put("cursed.wav", wav("cursed"))
    shelf.put("empty.wav", b"")
    shelf.backfill()
    daemon.counts(2, "jobs_total", result="dead")
    before = shelf.scene.requests()
    shelf.scene.control.hold()
    shelf.put("held.wav", wav("held"))
    shelf.backfill()
    shelf.scene.control.wait_for_requests(before + 1)
    told = shelf.backfill().stdout
    shelf.scene.control.release()
    assert "1  left: in work, or waiting" in told
    assert "subscriber replay --state dead --reason empty" in told
    assert "subscriber replay --state dead --reason exhausted" in told
    assert "published" not in told


def test_a_dry_run_says_what_it_takes_and_changes_nothing(shelf: Shelf) -> None:
    sounds = [wav(str(number), 2.0) for number in range(5)]
    for number in range(300):
        shelf.put(f"{number:03}.wav", sounds[number % 5])
    shelf.put("letter.mp3", b"Dear all", "audio/mpeg")
    told = shelf.backfill("--dry-run", "--rate", "60").stdout
    assert "301  would be published: nobody has claimed it" in told
    assert "sound      10 min; the headers of 200 objects were read, the other 101 are reckoned" in told
    assert "of those read would end dead: 1 undecodable" in told
    assert "cost       $0.0600, at $0.006 a minute (whisper-1)" in told
    assert "assumed: 8 slots" in told
    require_sample(SAMPLES["subscriber backfill gs://calls --dry-run"], told)
    assert not shelf.replays.pull(seconds=1)
    daemon = shelf.start()
    shelf.backfill("--limit", "3")
    daemon.counts(3, "deliveries_total", outcome="transcribed")
    told = shelf.backfill("--dry-run", "--limit", "10").stdout
    assert "10  would be published" in told
    assert "as the newest 3 jobs were done" in told
    assert shelf.scene.requests() == 3


def test_a_pipe_gets_lines_and_a_terminal_a_bar(shelf: Shelf) -> None:
    for number in range(100):
        shelf.put(f"{number:02}\x1b[2J.wav", b"RIFF")
    done = shelf.backfill()
    assert rf"published 100, up to {shelf.uri}/99\x1b[2J.wav" in done.stderr
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "subscriber", "backfill", shelf.uri, *FAST],
        env={**shelf.environ, "COLUMNS": "100", "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        seen = _read(ours)
        assert process.stdout
        assert "100  published" in process.stdout.read()
    os.close(ours)
    assert re.search(r"published .*\d+ of 100", seen)
    assert "\x1b[2J" not in seen


def _read(descriptor: int) -> str:
    seen = b""
    try:
        while data := os.read(descriptor, 65536):
            seen += data
    except OSError:  # Linux says so when the other side is closed
        pass
    return seen.decode()


@pytest.mark.parametrize("topic", ["", "absent"])
def test_without_a_topic_nothing_is_published_and_it_is_said_how_to_get_one(shelf: Shelf, topic: str) -> None:
    shelf.put("one.wav", wav("one"))
    done = command({**shelf.environ, "SUBSCRIBER_REPLAY_TOPIC": topic}, "backfill", shelf.uri)
    assert done.returncode == 2
    assert "SUBSCRIBER_REPLAY_TOPIC" in done.stderr
    assert ("go on with\n  subscriber backfill" in done.stderr) == bool(topic)
