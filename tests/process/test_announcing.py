"""Whatever ends is announced before its message is acked, also when the daemon dies between record and event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from tests.daemon import until
from tests.process.scenes import Scene
from tests.sound import wav
from tests.world import Queue

SHORT = {"claim_seconds": 3, "ack_lease_seconds": 10, "retry_min_seconds": 0.1}


def heard(queue: Queue, number: int) -> list[pubsub_v1.types.PubsubMessage]:
    """So many events, acked."""
    found: list[pubsub_v1.types.PubsubMessage] = []

    def more() -> bool:
        received = queue.pull(seconds=5)
        if received:
            queue.subscriber.acknowledge(subscription=queue.subscription, ack_ids=[one.ack_id for one in received])
        found.extend(one.message for one in received)
        return len(found) >= number

    until(more, f"{number} events", seconds=150)  # the emulator may have handed a message to a dead process's pull
    return found


def test_every_end_has_its_event_with_its_reason(scene: Scene, pubsub: Callable[..., Queue]) -> None:
    events = pubsub()
    world = scene.world
    world.upload("done.wav", wav("done"))
    world.upload("empty.wav", b"")
    world.upload("private.wav", wav("private"), transcribe="skip")
    world.upload("deleted.wav", wav("deleted"))
    world.storage.bucket(world.bucket).delete_blob("deleted.wav")
    world.upload("replaced.wav", wav("old"))
    world.upload("replaced.wav", wav("new"))
    daemon = scene.start(**SHORT, result_topic=events.topic)
    told: list[dict[str, Any]] = [json.loads(event.data) for event in heard(events, 6)]
    assert sorted((one["name"], one["state"], one["reason"] and one["reason"]["kind"]) for one in told) == [
        ("deleted.wav", "gone", "gone"),
        ("done.wav", "done", None),
        ("empty.wav", "dead", "empty"),
        ("private.wav", "skipped", "skipped"),
        ("replaced.wav", "done", None),
        ("replaced.wav", "superseded", "superseded"),
    ]
    daemon.counts(6, "settlements_total", kind="ack", result="ok")
    assert all(record["announced_at"] for record in world.records().values())


def test_without_its_topic_it_waits_with_its_work_recorded_and_then_tells_of_it(
    scene: Scene, pubsub: Callable[..., Queue]
) -> None:
    """A topic that is deleted, or refused, under a daemon is an outage: nothing fails, and no message comes again."""
    events = pubsub()
    daemon = scene.start(**SHORT, result_topic=events.topic)
    daemon.ready()
    events.publisher.delete_topic(topic=events.topic)
    scene.world.upload("one.wav", wav("one"))
    scene.world.upload("two.wav", wav("two"))
    daemon.says("paused", neighbour="pubsub", reason="forbidden")
    assert events.topic in daemon.ready("paused")["why"]["pubsub"]
    assert daemon.metrics("provider_paused", reason="forbidden") == 1
    until(lambda: "done" in {one["state"] for one in scene.world.records().values()}, "one is recorded")
    assert daemon.metrics("settlements_total", kind="ack") == 0
    again = anew(events)
    told: list[dict[str, Any]] = [json.loads(event.data) for event in heard(again, 2)]
    assert {(one["name"], one["state"]) for one in told} == {("one.wav", "done"), ("two.wav", "done")}
    daemon.counts(2, "settlements_total", kind="ack", result="ok")
    assert [len(daemon.said(line, neighbour="pubsub")) for line in ("paused", "resumed")] == [1, 1]
    assert len(daemon.said("attempt")) == len(daemon.said("attempt", outcome="transcribed", attempt=1)) == 2
    assert {one["attempts"] for one in scene.world.records().values()} == {0}
    assert (scene.requests(wav("one")), scene.requests(wav("two"))) == (1, 1)


def anew(events: Queue) -> Queue:
    """The topic again, and a subscription of it: the old one stays without a topic."""
    project, topic = events.topic.split("/")[1::2]
    events.publisher.create_topic(name=events.topic)
    again = Queue(events.topic, f"projects/{project}/subscriptions/{topic}-again", events.publisher, events.subscriber)
    events.subscriber.create_subscription(name=again.subscription, topic=again.topic)
    return again


def test_a_death_between_record_and_event_loses_neither(scene: Scene, pubsub: Callable[..., Queue]) -> None:
    """The topic is gone when the job ends, so that the event cannot be published; then the daemon is killed."""
    events = pubsub()
    first = scene.start(**SHORT, max_jobs=1, result_topic=events.topic)
    first.ready()
    events.publisher.delete_topic(topic=events.topic)
    scene.world.upload("empty.wav", b"")
    until(lambda: any(record["state"] == "dead" for record in scene.world.records().values()), "the job is dead")
    first.says("paused", neighbour="pubsub")
    assert first.metrics("settlements_total", kind="ack") == 0
    assert scene.record("empty.wav")["announced_at"] is None
    first.kill()
    again = anew(events)
    second = scene.start(**SHORT, result_topic=events.topic)
    (event,) = heard(again, 1)
    assert json.loads(event.data)["reason"]["kind"] == "empty"
    second.ready()
    second.counts(1, "settlements_total", kind="ack", result="ok")
    assert scene.record("empty.wav")["announced_at"]
    assert second.metrics("claims_total", result="granted") == 0, "nothing is done again"
