"""Notifications of ours: the daemon reads them as it reads Cloud Storage's, and none is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest
from google.pubsub_v1.types import ReceivedMessage

from subscriber.adapters.pubsub_notifier import PubSubNotifier
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.model import Message
from subscriber.notification import Notice, parse
from tests.world import Queue, fresh

LONGEST = "é" * 512


def notices_of(queue: Queue, number: int) -> list[Notice]:
    found: list[ReceivedMessage] = []
    for _ in range(20):
        if len(found) < number:
            found += queue.pull(1000, seconds=5)
    messages = [received.message for received in found]
    now = datetime.now(UTC)
    return [parse(Message(one.message_id, dict(one.attributes), one.data, now)) for one in messages]


def test_what_is_published_is_read_back(pubsub: Callable[..., Queue], emulators: Emulators) -> None:
    """More than one batch, and the longest name that there is."""
    queue = pubsub()
    sent = [Notice("bucket", f"{number}.wav", number + 1, "audio/wav", number) for number in range(600)]
    sent.append(Notice("bucket", LONGEST, 2**63 - 1, None, None))
    with closing(PubSubNotifier(queue.topic, emulator_host=emulators.pubsub_host)) as notifier:
        notifier.notify(sent)
        notifier.notify([])
    assert sorted(notices_of(queue, len(sent)), key=lambda one: one.generation) == sent


@pytest.mark.parametrize("missing", [fresh("topic"), "!"])
def test_a_topic_that_is_not_there_is_told_with_the_command_that_makes_it(emulators: Emulators, missing: str) -> None:
    topic = f"projects/{emulators.project}/topics/{missing}"
    with (
        closing(PubSubNotifier(topic, emulator_host=emulators.pubsub_host)) as notifier,
        pytest.raises(ConfigError, match="SUBSCRIBER_REPLAY_TOPIC") as found,
    ):
        notifier.notify([Notice("bucket", "one.wav", 1, None)])
    assert f"gcloud pubsub topics create {topic}" in found.value.remedy


def test_where_nothing_listens_pubsub_is_away() -> None:
    host = f"127.0.0.1:{free_port()}"
    with (
        closing(PubSubNotifier("projects/p/topics/topic", emulator_host=host, patience_seconds=1)) as notifier,
        pytest.raises(NeighbourDown) as down,
    ):
        notifier.notify([Notice("bucket", "one.wav", 1, None)])
    assert (down.value.neighbour, down.value.reason) == ("pubsub", "unavailable")
