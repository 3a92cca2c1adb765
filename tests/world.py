"""What a test needs of the emulators: names of its own, and the few things it does with them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import firestore, pubsub_v1, storage  # type: ignore[attr-defined]

from subscriber import emulators as servers
from subscriber.emulators import Emulators, free_port


def fresh(prefix: str) -> str:
    """A name that no other test has: good for topics, subscriptions, buckets, collections and projects."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


@dataclass(frozen=True)
class Queue:
    """A topic and one subscription of it, by their full names."""

    topic: str
    subscription: str
    publisher: pubsub_v1.PublisherClient
    subscriber: pubsub_v1.SubscriberClient

    def publish(self, data: bytes = b"", /, **attributes: str) -> str:
        """Publish one message; returns its id."""
        return str(self.publisher.publish(self.topic, data, **attributes).result(timeout=30))

    def pull(self, max_messages: int = 10, seconds: float = 10.0) -> list[pubsub_v1.types.ReceivedMessage]:
        """What one pull brings; none after `seconds` of silence. Nothing is acked."""
        try:
            answer = self.subscriber.pull(
                subscription=self.subscription, max_messages=max_messages, timeout=seconds, retry=None
            )
        except DeadlineExceeded:
            return []
        return list(answer.received_messages)


@dataclass(frozen=True)
class World:
    """A watched bucket, its notifications, an output bucket and a ledger collection that only this test knows."""

    emulators: Emulators
    queue: Queue
    storage: storage.Client
    database: firestore.Client
    bucket: str
    output_bucket: str
    collection: str
    environ: dict[str, str] = field(init=False)
    """The whole environment for a daemon of this world, but for its Whisper; a test may add to it."""

    def __post_init__(self) -> None:
        """Build the environment from the names."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SUBSCRIBER_")}
        ours = {
            "SUBSCRIBER_SUBSCRIPTION": self.queue.subscription,
            "SUBSCRIBER_OUTPUT": self.output,
            "SUBSCRIBER_FIRESTORE_COLLECTION": self.collection,
            "PORT": str(free_port()),
        }
        object.__setattr__(self, "environ", {**inherited, **self.emulators.environ(), **ours})

    @property
    def output(self) -> str:
        """The OUTPUT setting."""
        return f"gs://{self.output_bucket}"

    def upload(
        self, name: str, data: bytes, *, content_type: str = "audio/wav", encoding: str | None = None, **metadata: str
    ) -> int:
        """Put an object into the watched bucket, which publishes its notification; returns the generation."""
        blob = self.storage.bucket(self.bucket).blob(name)
        blob.metadata = metadata or None
        blob.content_encoding = encoding
        blob.upload_from_string(data, content_type=content_type)
        return int(blob.generation)

    def notification(self, name: str, generation: int) -> dict[str, str]:
        """The attributes that Cloud Storage sends for an upload into the watched bucket."""
        return {
            "notificationConfig": f"projects/_/buckets/{self.bucket}/notificationConfigs/1",
            "eventType": "OBJECT_FINALIZE",
            "payloadFormat": "NONE",
            "bucketId": self.bucket,
            "objectId": name,
            "objectGeneration": str(generation),
            "eventTime": "2026-11-01T12:00:00.000000Z",
        }

    def publish_again(self, attributes: dict[str, str]) -> str:
        """Publish a notification by hand, as Cloud Storage may when it sends one twice; returns the message id."""
        return self.queue.publish(**attributes)

    def outputs(self) -> dict[str, bytes]:
        """Every object of the output bucket, by name."""
        return {blob.name: blob.download_as_bytes() for blob in self.storage.list_blobs(self.output_bucket)}

    def records(self) -> dict[str, dict[str, object]]:
        """Every document of the ledger's collection, by id."""
        return {found.id: found.to_dict() or {} for found in self.database.collection(self.collection).stream()}


@contextmanager
def new_world(emulators: Emulators, ack_deadline_seconds: int = 60) -> Iterator[World]:
    """A world that shares only Pub/Sub and Firestore: its storage server is its own, because one notifies one topic.

    In the block, this process's environment sends Google's clients to it.
    """
    topic, subscription, inbox, outbox = (fresh(kind) for kind in ("topic", "subscription", "inbox", "outbox"))
    emulators.make_topic(topic, subscription, ack_deadline_seconds=ack_deadline_seconds)
    prefix = f"projects/{emulators.project}"
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in emulators.environ().items():
            patch.setenv(name, value)
        patch.delenv("STORAGE_EMULATOR_HOST")
        own = stack.enter_context(servers.emulators(os.environ, project=emulators.project, notify=(topic, inbox)))
        patch.setenv("STORAGE_EMULATOR_HOST", own.storage_url)
        own.make_bucket(inbox, outbox)
        publisher, subscriber = pubsub_v1.PublisherClient(), stack.enter_context(pubsub_v1.SubscriberClient())
        stack.callback(publisher.stop)
        queue = Queue(f"{prefix}/topics/{topic}", f"{prefix}/subscriptions/{subscription}", publisher, subscriber)
        objects = stack.enter_context(closing(storage.Client()))
        database = stack.enter_context(closing(firestore.Client()))
        yield World(own, queue, objects, database, inbox, outbox, fresh("ledger"))
