"""Completion events: CloudEvents that every Pub/Sub takes, and that say the same when they are said twice."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.pubsub_v1.types import ReceivedMessage

from subscriber.adapters.pubsub import PubSubAnnouncer, _event
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ConfigError, NeighbourDown, Transient
from subscriber.metrics import Metrics
from subscriber.model import Reason, Record, State
from tests.claims import CLAIMED, NOW, RESULT
from tests.world import Queue, fresh

DONE = replace(
    CLAIMED,
    state=State.DONE,
    created_at=NOW - timedelta(seconds=61),
    completed_at=NOW,
    warnings=("loop",),
    outputs=RESULT.outputs,
    audio_seconds=RESULT.audio_seconds,
    billed_seconds=RESULT.billed_seconds,
    cost_usd=RESULT.cost_usd,
    model=RESULT.model,
    language=RESULT.language,
    reason=None,
)
DEAD = replace(
    CLAIMED, state=State.DEAD, completed_at=NOW, reason=Reason("too_long", "1535 s are longer than 1400 s: Öztürk", NOW)
)
LONGEST_NAME = "🎧" * 256
"""1,024 bytes of UTF-8, the most that Cloud Storage takes, and only 256 characters."""

Pubsub = Callable[..., Queue]


@pytest.fixture
def queue(pubsub: Pubsub) -> Queue:
    return pubsub()


@pytest.fixture
def announcer(queue: Queue, emulators: Emulators) -> Iterator[PubSubAnnouncer]:
    with closing(PubSubAnnouncer(queue.topic, emulators.pubsub_host, Metrics())) as made:
        yield made


def heard(queue: Queue, number: int = 1) -> list[ReceivedMessage]:
    """What a listener is told: so many events and no more."""
    found: list[ReceivedMessage] = []
    for _ in range(10):
        if len(found) >= number:
            break
        found += queue.pull()
    assert len(found) == number
    return found


def event(queue: Queue) -> tuple[dict[str, str], dict[str, Any]]:
    """Attributes and data of the one event."""
    (received,) = heard(queue)
    return dict(received.message.attributes), json.loads(received.message.data)


def test_a_transcript_is_announced_as_a_cloudevent(announcer: PubSubAnnouncer, queue: Queue) -> None:
    announcer.announce(DONE)
    attributes, data = event(queue)
    assert attributes == {
        "ce-specversion": "1.0",
        "ce-id": attributes["ce-id"],
        "ce-type": "subscriber.transcription.done",
        "ce-source": "//storage.googleapis.com/projects/_/buckets/bucket",
        "ce-subject": "objects/calls/one.wav",
        "ce-time": "2026-11-01T12:00:00.123456+00:00",
        "content-type": "application/json",
    }
    assert data == {
        "bucket": "bucket",
        "name": "calls/one.wav",
        "generation": "1762000000000001",
        "state": "done",
        "reason": None,
        "outputs": ["gs://output/one.json", "gs://output/one.txt"],
        "warnings": ["loop"],
        "audio_seconds": 61.5,
        "took_seconds": 61.0,
        "cost_usd": 0.00615,
        "model": "whisper-1",
        "language": "en",
    }


def test_the_events_fields_are_documented() -> None:
    told = (Path(__file__).parents[2] / "docs" / "desk.md").read_text().partition("## Completion events")[2]
    rows = re.findall(r"^\| (`.*?) \|", told, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == json.loads(_event(DONE).data).keys()


def test_a_dead_job_is_announced_with_its_reason(announcer: PubSubAnnouncer, queue: Queue) -> None:
    announcer.announce(DEAD)
    attributes, data = event(queue)
    assert attributes["ce-type"] == "subscriber.transcription.dead"
    assert data["state"] == "dead"
    assert data["reason"] == {"kind": "too_long", "message": "1535 s are longer than 1400 s: Öztürk"}
    assert data["outputs"] == []
    assert (data["audio_seconds"], data["cost_usd"]) == (None, None), "unknown is null, never an invented 0"


@pytest.mark.parametrize("state", [State.GONE, State.SUPERSEDED, State.SKIPPED])
def test_every_other_end_has_its_own_type(announcer: PubSubAnnouncer, queue: Queue, state: State) -> None:
    announcer.announce(replace(DEAD, state=state))
    attributes, _ = event(queue)
    assert attributes["ce-type"] == f"subscriber.transcription.{state}"


def test_an_event_that_is_sent_twice_has_the_same_id(announcer: PubSubAnnouncer, queue: Queue) -> None:
    announcer.announce(DONE)
    announcer.announce(replace(DONE, announced_at=NOW, owner="another pod", nonce="another"))
    first, second = heard(queue, 2)
    assert first.message.attributes["ce-id"] == second.message.attributes["ce-id"]
    assert first.message.message_id != second.message.message_id


def test_events_of_different_jobs_and_replays_have_different_ids(announcer: PubSubAnnouncer, queue: Queue) -> None:
    """CloudEvents asks for it: a listener may drop what has an id that it knows."""
    records = [
        DONE,
        replace(DONE, bucket="other"),
        replace(DONE, name="calls/two.wav"),
        replace(DONE, generation=1),
        replace(DONE, output="gs://elsewhere"),
        replace(DONE, epoch=8),
        replace(DONE, name=LONGEST_NAME),
        replace(DONE, name=LONGEST_NAME, bucket="other"),
    ]
    for record in records:
        announcer.announce(record)
    assert len({received.message.attributes["ce-id"] for received in heard(queue, len(records))}) == len(records)


@pytest.mark.parametrize(
    "name", [LONGEST_NAME, "é" * 512, "a" * 1024, "a" + "é" * 511 + "b"], ids=["4", "2", "1", "mixed"]
)
def test_the_longest_names_fit_into_an_attribute_by_their_bytes(
    announcer: PubSubAnnouncer, queue: Queue, name: str
) -> None:
    """A value has at most 1,024 bytes; an event that is refused would keep its message from ever being acked."""
    announcer.announce(replace(DONE, name=name, bucket="b" * 63))
    attributes, data = event(queue)
    assert max(len(value.encode()) for value in attributes.values()) <= 1024
    assert f"objects/{name}".startswith(attributes["ce-subject"])
    assert len(attributes["ce-subject"].encode()) > 1020
    assert data["name"] == name, "the data has the name whole"


def test_a_job_without_a_time_of_its_own_is_announced_with_ours(announcer: PubSubAnnouncer, queue: Queue) -> None:
    announcer.announce(replace(DEAD, completed_at=None))
    attributes, _ = event(queue)
    assert datetime.fromisoformat(attributes["ce-time"]).tzinfo


def test_a_topic_that_is_there_passes_the_check(announcer: PubSubAnnouncer, queue: Queue) -> None:
    announcer.check()
    assert queue.pull(seconds=1) == [], "a check tells nobody anything"


@pytest.mark.parametrize("missing", [f"topic-{uuid.uuid4().hex}", "!"])
def test_a_topic_that_is_not_there_is_told_with_the_command_that_makes_it(emulators: Emulators, missing: str) -> None:
    topic = f"projects/{emulators.project}/topics/{missing}"
    with (
        closing(PubSubAnnouncer(topic, emulators.pubsub_host, Metrics())) as announcer,
        pytest.raises(ConfigError, match="SUBSCRIBER_RESULT_TOPIC") as found,
    ):
        announcer.check()
    assert f"gcloud pubsub topics create {topic}" in found.value.remedy


def test_a_topic_that_was_deleted_under_us_is_a_pause(emulators: Emulators) -> None:
    metrics = Metrics()
    topic = f"projects/{emulators.project}/topics/{fresh('topic')}"
    with (
        closing(PubSubAnnouncer(topic, emulators.pubsub_host, metrics)) as announcer,
        pytest.raises(NeighbourDown) as down,
    ):
        announcer.announce(DONE)
    assert (down.value.neighbour, down.value.reason) == ("pubsub", "forbidden")
    labels = {"adapter": "pubsub", "code": "not_found"}
    assert metrics.registry.get_sample_value("subscriber_rpc_errors_total", labels) == 1


def test_an_event_that_pubsub_refuses_is_a_failure_of_its_job(emulators: Emulators) -> None:
    topic = f"projects/{emulators.project}/topics/!"
    with (
        closing(PubSubAnnouncer(topic, emulators.pubsub_host, Metrics())) as announcer,
        pytest.raises(Transient, match="refused"),
    ):
        announcer.announce(DONE)


@pytest.mark.parametrize("call", ["announce", "check"])
def test_where_nothing_listens_pubsub_is_away(call: str) -> None:
    host = f"127.0.0.1:{free_port()}"
    with closing(PubSubAnnouncer("projects/p/topics/topic", host, Metrics())) as announcer:
        calls: dict[str, Callable[[], None]] = {"announce": lambda: announcer.announce(DONE), "check": announcer.check}
        with pytest.raises(NeighbourDown) as down:
            calls[call]()
    assert (down.value.neighbour, down.value.reason) == ("pubsub", "unavailable")


def test_a_record_tells_only_what_it_knows(announcer: PubSubAnnouncer, queue: Queue) -> None:
    known: Record = replace(DONE, audio_seconds=None, cost_usd=None, language=None)
    announcer.announce(known)
    _, data = event(queue)
    assert (data["audio_seconds"], data["cost_usd"], data["language"]) == (None, None, None)
