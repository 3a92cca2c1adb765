"""Pub/Sub by unary pull: exact flow control, visible results, leases that are ours to renew.

The law of this file: a pull is never cancelled. The server answers an empty one shortly before its deadline; a
cancelled one may leave messages leased to nobody until the subscription's ack deadline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PubsubMessage,
    PullRequest,
    PullResponse,
)

from subscriber.channels import open_channel, rpc
from subscriber.errors import ConfigError, NeighbourDown, Refused, Transient
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Job, Message, Record

__all__ = ["PubSubAnnouncer", "PubSubSource"]

CALL_SECONDS = 5.0
"""Limit of one call. A lease keeper's turn of 1,000 renewals takes some 50 ms; a server that needs 5 s is away."""

SILENCE_SECONDS = 60.0
"""Pulls may run into their deadlines; so long without any answer is asked about: a network may swallow all calls."""

MAX_ATTRIBUTE_BYTES = 1024
"""Longer values of attributes are refused, and bytes are counted, not characters."""

_SERVICE = "/google.pubsub.v1.Subscriber"

FORBIDDEN = (exceptions.PermissionDenied, exceptions.Unauthenticated, exceptions.NotFound)
"""NotFound: the subscription or topic was deleted under us, or is hidden from us."""


class PubSubSource:
    """Several subscriptions in order of priority. `poll_seconds` bounds how long an empty pull blocks."""

    def __init__(
        self, subscriptions: Sequence[str], emulator_host: str | None, poll_seconds: float, metrics: Metrics
    ) -> None:
        self._subscriptions = list(subscriptions)
        self._emulator = emulator_host is not None
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._answered_at = time.monotonic()
        channel = open_channel(SubscriberGrpcTransport, emulator_host)
        self._client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        made = partial(rpc, channel, routed_by="subscription")
        self._pull_once = made(f"{_SERVICE}/Pull", PullRequest.pb(), PullResponse.pb())
        self._modify_ack_deadline = made(f"{_SERVICE}/ModifyAckDeadline", ModifyAckDeadlineRequest.pb())
        self._acknowledge = made(f"{_SERVICE}/Acknowledge", AcknowledgeRequest.pb())

    def check(self) -> None:
        """Prove with the least right that we may pull. Raises ConfigError or NeighbourDown."""
        for subscription in self._subscriptions:
            self._check(subscription)

    def pull(self, free: int) -> Sequence[Delivery]:
        """As the port says. Of several subscriptions each is looked at; if all are empty, the first is awaited."""
        if len(self._subscriptions) > 1:
            for subscription in self._subscriptions:
                if found := self._pull(subscription, free, at_once=True):
                    return found
        return self._pull(self._subscriptions[0], free, at_once=False)

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        """As the port says."""
        with _translated(self._metrics):
            self._modify_ack_deadline(
                CALL_SECONDS, subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=seconds
            )

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """As the port says."""
        with _translated(self._metrics):
            self._acknowledge(CALL_SECONDS, subscription=subscription, ack_ids=ack_ids)

    def finished(self) -> bool:
        """A subscription never ends."""
        return False

    def close(self) -> None:
        """Close the connection; calls after this fail."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _pull(self, subscription: str, free: int, *, at_once: bool) -> list[Delivery]:
        timeout = CALL_SECONDS if at_once else self._poll_seconds
        with _translated(self._metrics):
            try:
                answer = self._pull_once(
                    timeout, subscription=subscription, max_messages=free, return_immediately=at_once
                )
            except exceptions.DeadlineExceeded:  # an empty pull, on a server that does not say so in time
                self._doubt()
                return []
        self._answered_at = time.monotonic()
        return [_delivery(subscription, received) for received in answer.received_messages]

    def _doubt(self) -> None:
        """Have a long silence probed. Raises NeighbourDown."""
        if (silent_seconds := time.monotonic() - self._answered_at) > SILENCE_SECONDS:
            self._answered_at = time.monotonic()
            raise NeighbourDown("pubsub", "unavailable", f"no pull was answered for {silent_seconds:.0f} s")

    def _check(self, subscription: str) -> None:
        needed = "pubsub.subscriptions.consume"
        request = {"resource": subscription, "permissions": [needed]}
        missing = ConfigError(
            "SUBSCRIBER_SUBSCRIPTION",
            f"{subscription} does not exist or must not be consumed by us",
            f"gcloud pubsub subscriptions create {subscription} --topic=TOPIC --ack-deadline=60, or\n"
            f"    gcloud pubsub subscriptions add-iam-policy-binding {subscription} "
            "--member=serviceAccount:ACCOUNT --role=roles/pubsub.subscriber",
        )
        # The emulator knows no rights, but which subscriptions there are.
        _prove(
            lambda: (
                bool(self._client.get_subscription(subscription=subscription, retry=None, timeout=CALL_SECONDS))
                if self._emulator
                else needed in self._client.test_iam_permissions(request, retry=None, timeout=CALL_SECONDS).permissions
            ),
            missing,
            self._metrics,
        )


class PubSubAnnouncer:
    """Publishes completion events as CloudEvents (binary binding) to RESULT_TOPIC."""

    def __init__(self, topic: str, emulator_host: str | None, metrics: Metrics) -> None:
        self._topic = topic
        self._emulator = emulator_host is not None
        self._metrics = metrics
        channel = open_channel(PublisherGrpcTransport, emulator_host)
        self._client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))

    def check(self) -> None:
        """Prove with the least right that we may publish. Raises ConfigError or NeighbourDown."""
        needed = "pubsub.topics.publish"
        request = {"resource": self._topic, "permissions": [needed]}
        missing = ConfigError(
            "SUBSCRIBER_RESULT_TOPIC",
            f"{self._topic} does not exist or we must not publish to it",
            f"gcloud pubsub topics create {self._topic}, or\n    gcloud pubsub topics add-iam-policy-binding "
            f"{self._topic} --member=serviceAccount:ACCOUNT --role=roles/pubsub.publisher",
        )
        _prove(
            lambda: (
                bool(self._client.get_topic(topic=self._topic, retry=None, timeout=CALL_SECONDS))
                if self._emulator
                else needed in self._client.test_iam_permissions(request, retry=None, timeout=CALL_SECONDS).permissions
            ),
            missing,
            self._metrics,
        )

    def announce(self, record: Record) -> None:
        """As the port says. Listeners may see an event twice; its id is the same then."""
        try:
            with _translated(self._metrics, probe=self.check):
                self._client.publish(topic=self._topic, messages=[_event(record)], retry=None, timeout=CALL_SECONDS)
        except Refused as error:
            raise Transient("unexpected", f"the event is refused: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.transport.close()  # type: ignore[no-untyped-call]


def _delivery(subscription: str, received: Any) -> Delivery:
    message = Message(
        id=received.message.message_id,
        attributes=dict(received.message.attributes),
        data=received.message.data,
        published_at=received.message.publish_time.ToDatetime(tzinfo=UTC),
    )
    return Delivery(message, subscription, received.ack_id, received.delivery_attempt)


def _event(record: Record) -> PubsubMessage:
    """The CloudEvent of a settled job; its id is made of what makes the job, so a second one is known as such."""
    took = record.completed_at and record.completed_at - record.created_at
    data = {
        "bucket": record.bucket,
        "name": record.name,
        "generation": str(record.generation),
        "state": str(record.state),
        "reason": {"kind": record.reason.kind, "message": record.reason.message} if record.reason else None,
        "outputs": list(record.outputs),
        "warnings": list(record.warnings),
        "audio_seconds": record.audio_seconds,
        "took_seconds": took.total_seconds() if took else None,
        "cost_usd": record.cost_usd,
        "model": record.model,
        "language": record.language,
    }
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": f"{Job(record.bucket, record.name, record.generation, record.output).id}/{record.epoch}",
        "ce-type": f"subscriber.transcription.{record.state}",
        "ce-source": f"//storage.googleapis.com/projects/_/buckets/{record.bucket}",
        "ce-subject": f"objects/{record.name}".encode()[:MAX_ATTRIBUTE_BYTES].decode(errors="ignore"),
        "ce-time": (record.completed_at or datetime.now(UTC)).isoformat(),
        "content-type": "application/json",
    }
    return PubsubMessage(data=json.dumps(data, ensure_ascii=False).encode(), attributes=attributes)


def _prove(allowed: Callable[[], bool], missing: ConfigError, metrics: Metrics) -> None:
    """Raise `missing` unless we are allowed. Pub/Sub answers alike where a thing is absent and where it is hidden."""
    try:
        with _translated(metrics):
            if allowed():
                return
    except NeighbourDown as error:
        if error.reason != "forbidden":
            raise
    except Refused as error:  # a name that nothing can have
        raise missing from error
    raise missing


@contextmanager
def _translated(metrics: Metrics, probe: Callable[[], None] | None = None) -> Iterator[None]:
    """SDK errors become ours, here and nowhere else; `probe` tells of an outage that our subscriptions do not share."""
    try:
        yield
    except exceptions.InvalidArgument as error:
        raise Refused(str(error)) from error
    except (exceptions.GoogleAPICallError, GoogleAuthError) as error:
        code = getattr(error, "grpc_status_code", None)
        metrics.rpc_errors.labels("pubsub", code.name.lower() if code else "unknown").inc()
        reason = "forbidden" if isinstance(error, FORBIDDEN) else "unavailable"
        raise NeighbourDown("pubsub", reason, str(error), probe=probe) from error
