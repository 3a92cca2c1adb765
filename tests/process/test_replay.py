"""Replays while daemons run: what is reopened arrives on the second subscription, and what was paid for stays paid."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.daemon import Daemon, command, command_environ, until
from tests.process.scenes import Scene
from tests.sound import chunks, heard, said, wav
from tests.world import Queue

QUICK = {"max_attempts": 1, "claim_seconds": 3, "ack_lease_seconds": 10}
CJK = "今天天气很好"


class Street:
    """A scene whose daemons pull a second subscription, and whose operator replays to its topic."""

    def __init__(self, scene: Scene, replays: Queue) -> None:
        self.scene = scene
        self.world = scene.world
        self.replays = replays
        told = {"replay_topic": replays.topic, "price_usd_per_minute": 0.006}
        self.environ = command_environ(scene.world, scene.whisper_url, **told)

    def start(self, **settings: object) -> Daemon:
        both = f"{self.world.queue.subscription},{self.replays.subscription}"
        return self.scene.start(subscription=both, **QUICK, **settings)

    def uri(self, name: str) -> str:
        return f"gs://{self.world.bucket}/{name}"

    def replay(self, *options: str, code: int = 0) -> str:
        """What `subscriber replay` prints."""
        done = command(self.environ, "replay", *options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dies(self, daemon: Daemon, name: str) -> int:
        """Have a recording refused for good; its generation."""
        daemon.ready()
        self.scene.control.mode("server_error", sha256=heard(wav(name)))
        generation = self.world.upload(name, wav(name))
        daemon.says("attempt", outcome="exhausted", generation=str(generation))
        self.scene.control.mode(None)
        return generation


@pytest.fixture
def street(scene: Scene, pubsub: Callable[..., Queue]) -> Street:
    return Street(scene, pubsub())


def test_a_dead_job_is_tried_anew_from_the_second_subscription(street: Street) -> None:
    daemon = street.start()
    generation = street.dies(daemon, "one.wav")
    dead = street.scene.record("one.wav")
    told = street.replay("--state", "dead", "--dry-run")
    assert f"{street.uri('one.wav')}#{generation}: would be reopened and notified" in told
    assert "would be delivered anew: 1; 0 left alone" in told
    assert street.scene.record("one.wav") == dead
    told = street.replay("--state", "dead", "--reason", "exhausted")
    assert "delivered anew: 1; 0 left alone" in told
    daemon.says("attempt", outcome="transcribed", generation=str(generation))
    record = street.scene.record("one.wav")
    assert (record["state"], record["attempts"]) == ("done", 0)
    assert [line["outcome"] for line in record["history"]] == ["dead", "replayed", "done"]
    assert street.scene.outputs("one.wav").keys() == {"json", "txt"}, "the error file is gone"
    assert street.replays.pull(seconds=1) == []
    assert "delivered anew: 0" in street.replay("--state", "dead")
    assert "done: nothing to do" in street.replay(street.uri("one.wav"), code=1)


def test_fresh_replaces_what_is_done_and_the_old_transcript_stands_until_then(street: Street) -> None:
    daemon = street.start()
    sound = wav("one")
    first = street.world.upload("one.wav", sound)
    daemon.says("attempt", outcome="transcribed", generation=str(first))
    before = street.scene.outputs("one.wav")
    assert before["txt"].data.decode().split() == said(sound).split()
    street.scene.control.mode("cjk")
    street.scene.control.hold()
    asked = f"{street.uri('one.wav')}#{first}"
    assert "to pay for: 1 s of audio, about $0.0001" in street.replay(asked, "--fresh", "--dry-run")
    name = re.findall(r"--run (\w+)", street.replay(asked, "--fresh"))[0]
    street.scene.control.wait_for_requests(2)
    assert street.scene.outputs("one.wav") == before
    assert "in work: its claim is live" in street.replay(asked, "--fresh", code=1)
    street.scene.control.release()
    until(lambda: street.scene.record("one.wav")["state"] == "done", "it is done again")
    after = street.scene.outputs("one.wav")
    assert CJK in after["txt"].data.decode()
    assert {output.metadata["epoch"] for output in after.values()} == {str(street.scene.record("one.wav")["epoch"])}
    assert "this run has had it made anew" in street.replay(asked, "--fresh", "--run", name, code=1)
    assert street.scene.requests() == 2


def test_a_death_in_the_middle_of_a_fresh_run_pays_only_for_what_was_on_the_wire(street: Street) -> None:
    settings = {"chunk_seconds": 10, "whisper_concurrency": 1, "language": "en"}
    sound = wav("long", 45)
    expected = chunks(sound, 10)
    first = street.start(**settings)
    street.world.upload("long.wav", sound)
    first.says("attempt", outcome="transcribed")
    paid_before = street.scene.stored()
    assert street.scene.requests() == len(expected) > 3
    street.scene.control.fault("hang", sha256=expected[2])
    street.replay(street.uri("long.wav"), "--fresh")
    street.scene.control.wait_for_requests(len(expected) + 3)
    until(lambda: len(street.scene.stored() - paid_before) == 2, "what came before is stored")
    first.kill()
    second = street.start(**settings)
    second.says("attempt", outcome="transcribed")
    bodies = street.scene.control.status()["bodies"]
    assert bodies == {body: 3 if body == expected[2] else 2 for body in expected}
    assert len(street.scene.stored() - paid_before) == len(expected)


def test_outputs_whose_record_was_deleted_do_not_keep_a_job_out(street: Street) -> None:
    """Firestore's TTL, or a hand: the epochs of the new record are above those of the outputs."""
    daemon = street.start()
    generation = street.world.upload("one.wav", wav())
    daemon.says("attempt", outcome="transcribed")
    for number in range(2):
        street.replay(street.uri("one.wav"), "--fresh")
        daemon.counts(number + 2, "deliveries_total", outcome="transcribed")
    (document,) = street.world.database.collection(street.world.collection).list_documents()
    document.delete()
    assert "its record has expired, but its transcript is there" in street.replay(street.uri("one.wav"), code=1)
    street.world.publish_again(street.world.notification("one.wav", generation))
    daemon.counts(4, "deliveries_total", outcome="transcribed")
    document.delete()
    street.replay(street.uri("one.wav"), "--fresh")
    daemon.counts(5, "deliveries_total", outcome="transcribed")
    assert daemon.metrics("deliveries_total", outcome="lost") == 0
    record = street.scene.record("one.wav")
    epochs = {output.metadata["epoch"] for output in street.scene.outputs("one.wav").values()}
    assert epochs == {str(record["epoch"])}


def test_a_stalled_job_is_notified_anew(street: Street) -> None:
    """Its message is gone: here by an ack of ours, elsewhere by a dead-letter policy."""
    first = street.start()
    first.ready()
    street.scene.control.hold()
    street.world.upload("one.wav", wav())
    street.scene.control.wait_for_requests(1)
    first.kill()
    street.scene.control.release()
    queue = street.world.queue
    received = queue.pull(seconds=60)
    queue.subscriber.acknowledge(subscription=queue.subscription, ack_ids=[one.ack_id for one in received])
    (document,) = street.world.database.collection(street.world.collection).list_documents()
    assert "delivered anew: 0" in street.replay("--stalled")
    document.update({"renewed_at": datetime.now(UTC) - timedelta(hours=1)})
    assert f"{street.uri('one.wav')}#" in street.replay("--stalled")
    street.start().says("attempt", outcome="transcribed")
    record = street.scene.record("one.wav")
    assert (record["state"], record["takeovers"]) == ("done", 1)


def test_dead_letters_are_delivered_anew_and_strays_are_left(street: Street, pubsub: Callable[..., Queue]) -> None:
    daemon = street.start()
    generation = street.dies(daemon, "dead.wav")
    done = street.world.upload("done.wav", wav("done"))
    daemon.says("attempt", outcome="transcribed", generation=str(done))
    holding = pubsub(ack_deadline_seconds=10)
    holding.publish(**street.world.notification("dead.wav", generation))
    holding.publish(**street.world.notification("done.wav", done))
    stray = holding.publish(b"Dear all", subject="lunch")
    told = street.replay("--from-dead-letter", holding.subscription, "--dry-run", code=1)
    assert "would be reopened and notified" in told
    assert street.scene.record("dead.wav")["state"] == "dead"
    told = street.replay("--from-dead-letter", holding.subscription.rpartition("/")[2], code=1)
    assert f"message {stray}: left where it is" in told
    assert f"{street.uri('done.wav')}#{done}: done: nothing to do" in told
    daemon.says("attempt", outcome="transcribed", generation=str(generation))
    left = holding.pull(seconds=20)
    assert [one.message.message_id for one in left] == [stray]


def test_what_is_missing_is_told_before_anything_is_changed(street: Street) -> None:
    daemon = street.start()
    street.dies(daemon, "dead.wav")
    dead = street.scene.record("dead.wav")
    without_topic = {name: value for name, value in street.environ.items() if name != "SUBSCRIBER_REPLAY_TOPIC"}
    done = command(without_topic, "replay", "--state", "dead")
    assert (done.returncode, "SUBSCRIBER_REPLAY_TOPIC: is not set" in done.stderr) == (2, True)
    assert street.scene.record("dead.wav") == dead
    both = [street.world.queue.subscription, street.replays.subscription]
    for ours in (both[0], both[1].rpartition("/")[2]):
        environ = {**street.environ, "SUBSCRIBER_SUBSCRIPTION": ",".join(both)}
        done = command(environ, "replay", "--from-dead-letter", ours)
        assert (done.returncode, "is the daemon's own" in done.stderr) == (2, True)
    told = street.replay("--from-dead-letter", "no-such-subscription", code=2)
    assert "no-such-subscription does not exist" in told
    assert "takes one of" in street.replay("--state", "dead", "--stalled", code=2)
    assert "--fresh has them transcribed again" in street.replay("--state", "done", code=2)
    assert "no record, and no object" in street.replay(street.uri("nothing.wav"), code=1)


def test_a_topic_that_is_missing_costs_no_job(street: Street) -> None:
    """What was reopened by then is found by the same command; its outcome is as if nothing had happened."""
    daemon = street.start()
    generation = street.dies(daemon, "dead.wav")
    done = command({**street.environ, "SUBSCRIBER_REPLAY_TOPIC": "absent"}, "replay", "--state", "dead")
    assert (done.returncode, done.stdout) == (2, "")
    assert "SUBSCRIBER_REPLAY_TOPIC" in done.stderr
    assert "delivered anew: 1; 0 left alone" in street.replay("--state", "dead", "--reason", "exhausted")
    daemon.says("attempt", outcome="transcribed", generation=str(generation))
