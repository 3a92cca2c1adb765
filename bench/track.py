"""Where contenders race: Google's emulators, a stub Whisper, objects that all of them get, and a lane for each run.

A lane is what one run has to itself: topic, subscription, output bucket, ledger. Notifications are published by hand,
with the attributes that Cloud Storage sends, so that the same objects serve every run and publishing is one call.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from bench.family import Family
from bench.stub import Stub
from subscriber.channels import open_channel
from subscriber.emulators import Emulators, emulators
from tests.world import fresh

__all__ = ["Lane", "Sound", "Track", "track"]

BATCH = 500
"""Messages of one publish call: of 1,000 that it may hold, so that the first are there a little sooner."""

UPLOADERS = 4

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder that no disk slows down
"""Where the storage keeps its objects: a write among 4,000 takes it 0.6 ms there, and 6 ms in its own memory, which it
goes through for each call from end to end."""


class Notification(NamedTuple):
    """As it stands in a message."""

    attributes: dict[str, str]
    data: bytes


@dataclass(frozen=True)
class Sound:
    """An object of the inbox."""

    name: str
    generation: int
    size: int


@dataclass(frozen=True)
class Lane:
    """Topic and subscription by full names; a contender finds `servers`, and `extra` in its environment."""

    servers: Emulators
    whisper_url: str
    slots: int
    topic: str
    subscription: str
    inbox: str
    outbox: str
    collection: str
    publisher: PublisherClient
    subscriber: SubscriberClient
    storage: storage.Client
    extra: Mapping[str, str]

    def environ(self) -> dict[str, str]:
        """What every contender is told, and what of it is the daemon's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SUBSCRIBER_")}
        return {
            **inherited,
            **self.servers.environ(),
            "OPENAI_BASE_URL": f"{self.whisper_url}/v1",
            "OPENAI_API_KEY": "sk-of-no-account",
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }

    def subscribe(self, ack_deadline_seconds: int, push_url: str = "") -> None:
        """Make the subscription; with a URL Pub/Sub pushes to it."""
        asked: dict[str, Any] = {
            "name": self.subscription,
            "topic": self.topic,
            "ack_deadline_seconds": ack_deadline_seconds,
        }
        if push_url:
            asked["push_config"] = {"push_endpoint": push_url}
        self.subscriber.create_subscription(request=asked)

    def messages(
        self, sounds: Sequence[Sound], message: Callable[[Notification], dict[str, Any]]
    ) -> list[PubsubMessage]:
        """One an object, as `message` makes it of the notification. Thousands take a second: not while time runs."""
        return [PubsubMessage(message(self._notification(sound))) for sound in sounds]

    def publish(self, messages: Sequence[PubsubMessage]) -> None:
        """All of them, in their order."""
        for start in range(0, len(messages), BATCH):
            self.publisher.publish(topic=self.topic, messages=list(messages[start : start + BATCH]))

    def _notification(self, sound: Sound) -> Notification:
        """What Cloud Storage sends for it, in its usual format."""
        about = {"bucket": self.inbox, "name": sound.name, "generation": str(sound.generation), "size": str(sound.size)}
        attributes = {
            "notificationConfig": f"projects/_/buckets/{self.inbox}/notificationConfigs/1",
            "eventType": "OBJECT_FINALIZE",
            "payloadFormat": "JSON_API_V1",
            "bucketId": self.inbox,
            "objectId": sound.name,
            "objectGeneration": str(sound.generation),
            "eventTime": "2026-11-01T12:00:00.000000Z",
        }
        return Notification(attributes, json.dumps({"kind": "storage#object", **about}).encode())

    def written(self, sounds: Sequence[Sound], ending: str) -> dict[str, datetime]:
        """When the transcript of each of them was written, by the storage's clock, which is ours."""
        transcripts = {f"{sound.name}{ending}": sound.name for sound in sounds}
        # With the delimiter the daemon's chunks, thousands of a long recording, are one line of the answer.
        found = self.storage.list_blobs(self.outbox, delimiter="/")
        return {transcripts[blob.name]: blob.updated for blob in found if blob.name in transcripts}


@dataclass
class Track:
    """The servers, and the clients that everything here shares. `families`: the servers' processes."""

    servers: Emulators
    stub: Stub
    families: Mapping[str, Family]
    publisher: PublisherClient
    subscriber: SubscriberClient
    storage: storage.Client

    def upload(self, recordings: Iterator[bytes] | Sequence[bytes], ending: str = ".wav") -> tuple[str, list[Sound]]:
        """Put recordings into a bucket of their own; returns its name and the objects."""
        bucket = fresh("inbox")
        self.servers.make_bucket(bucket)

        def put(numbered: tuple[int, bytes]) -> Sound:
            blob = self.storage.bucket(bucket).blob(f"{numbered[0]:06}{ending}")
            blob.upload_from_string(numbered[1], content_type="audio/wav")
            return Sound(str(blob.name), int(blob.generation), len(numbered[1]))

        with ThreadPoolExecutor(UPLOADERS) as pool:
            return bucket, list(pool.map(put, enumerate(recordings)))

    @contextmanager
    def lane(
        self, inbox: str, slots: int, servers: Emulators | None = None, extra: Mapping[str, str] | None = None
    ) -> Iterator[Lane]:
        """For one run; afterwards its messages and transcripts are gone."""
        prefix = f"projects/{self.servers.project}"
        lane = Lane(
            servers=servers or self.servers,
            whisper_url=self.stub.url,
            slots=slots,
            topic=f"{prefix}/topics/{fresh('topic')}",
            subscription=f"{prefix}/subscriptions/{fresh('subscription')}",
            inbox=inbox,
            outbox=fresh("outbox"),
            collection=fresh("ledger"),
            publisher=self.publisher,
            subscriber=self.subscriber,
            storage=self.storage,
            extra=extra or {},
        )
        self.servers.make_bucket(lane.outbox)
        self.publisher.create_topic(name=lane.topic)
        try:
            yield lane
        finally:
            with suppress(GoogleAPICallError):
                self.subscriber.delete_subscription(subscription=lane.subscription)
            self.publisher.delete_topic(topic=lane.topic)


@contextmanager
def track() -> Iterator[Track]:
    """Servers of its own. Raises EmulatorsMissing."""
    before = set(psutil.Process().children(recursive=True))
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        emulators(os.environ, project=fresh("bench"), folder=Path(folder)) as servers,
        Stub() as stub,
    ):
        started = set(psutil.Process().children(recursive=True)) - before
        publisher = open_channel(PublisherGrpcTransport, servers.pubsub_host)
        subscriber = open_channel(SubscriberGrpcTransport, servers.pubsub_host)
        yield Track(
            servers=servers,
            stub=stub,
            families=_families(started),
            publisher=PublisherClient(transport=PublisherGrpcTransport(channel=publisher)),
            subscriber=SubscriberClient(transport=SubscriberGrpcTransport(channel=subscriber)),
            storage=storage.Client(
                project=servers.project,
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": servers.storage_url},
            ),
        )


def _families(started: Iterable[psutil.Process]) -> dict[str, Family]:
    """By what their command lines name."""
    marks = {"Pub/Sub": "pubsub", "Firestore": "firestore", "Storage": "fake-gcs", "Whisper": "bench.stub"}
    lines = {process.pid: " ".join(process.cmdline()) for process in started}
    return {name: Family(pid for pid, line in lines.items() if mark in line) for name, mark in marks.items()}
