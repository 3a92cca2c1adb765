"""What `check` asks Pub/Sub's administration. The daemon itself needs none of these rights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import Subscription

from subscriber.channels import open_channel
from subscriber.desk.facts import DeadLetterFacts, SubscriptionFacts, Unseen
from subscriber.errors import NeighbourDown

__all__ = ["PubSubFacts"]

CALL_SECONDS = 10.0
AGENT = re.compile(r"serviceAccount:service-\d+@gcp-sa-pubsub\.iam\.gserviceaccount\.com")
PUBLISHING = {"roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin"}
ACKNOWLEDGING = {"roles/pubsub.subscriber", "roles/pubsub.editor", "roles/pubsub.admin"}


class PubSubFacts:
    """Settings of subscriptions, as far as we may read them."""

    def __init__(self, emulator_host: str | None) -> None:
        """Connect nothing yet. Raises ConfigError when there are no credentials."""
        self._emulator = emulator_host is not None
        self._subscriber_channel = open_channel(SubscriberGrpcTransport, emulator_host)
        self._publisher_channel = open_channel(PublisherGrpcTransport, emulator_host)
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._subscriber_channel))
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._publisher_channel))

    def close(self) -> None:
        """Close the connections."""
        self._subscriber_channel.close()
        self._publisher_channel.close()

    def subscription(self, name: str) -> SubscriptionFacts:
        """Its settings. Raises Unseen, NeighbourDown."""
        grant = f"gcloud pubsub subscriptions add-iam-policy-binding {name} --member=MEMBER --role=roles/pubsub.viewer"
        with _edge(grant):
            found = self._subscriber.get_subscription(subscription=name, timeout=CALL_SECONDS)
        policy = found.expiration_policy
        told = "expiration_policy" in found
        return SubscriptionFacts(
            name=name,
            topic=found.topic,
            ack_deadline_seconds=found.ack_deadline_seconds,
            expires_after_seconds=(policy.ttl.total_seconds() if "ttl" in policy else 0.0) if told else None,
            retention_seconds=found.message_retention_duration.total_seconds(),
            backoff_seconds=found.retry_policy.minimum_backoff.total_seconds() if "retry_policy" in found else None,
            filter=found.filter,
            exactly_once=found.enable_exactly_once_delivery,
            push=bool(found.push_config.push_endpoint),
            dead_letter=self._dead_letter(found) if found.dead_letter_policy.dead_letter_topic else None,
        )

    def may_publish(self, topic: str) -> bool:
        """Whether the topic is there and takes our messages. The emulator knows no rights, but which topics there are.

        Raises NeighbourDown.
        """
        needed = "pubsub.topics.publish"
        request = {"resource": topic, "permissions": [needed]}
        try:
            with _edge(""):
                if self._emulator:
                    return bool(self._publisher.get_topic(topic=topic, timeout=CALL_SECONDS))
                return needed in self._publisher.test_iam_permissions(request, timeout=CALL_SECONDS).permissions
        except Unseen:
            return False

    def _dead_letter(self, found: Subscription) -> DeadLetterFacts:
        topic = found.dead_letter_policy.dead_letter_topic
        return DeadLetterFacts(
            topic=topic,
            max_attempts=found.dead_letter_policy.max_delivery_attempts or 5,  # Pub/Sub's default
            subscriptions=self._subscriptions_of(topic),
            agent_may_publish=self._agent_may(self._publisher, topic, PUBLISHING),
            agent_may_acknowledge=self._agent_may(self._subscriber, found.name, ACKNOWLEDGING),
        )

    def _subscriptions_of(self, topic: str) -> tuple[str, ...] | None:
        try:
            with _edge(""):
                return tuple(self._publisher.list_topic_subscriptions(topic=topic, timeout=CALL_SECONDS))
        except Unseen:
            return None

    def _agent_may(self, client: PublisherClient | SubscriberClient, resource: str, roles: set[str]) -> bool | None:
        """Whether the resource's own policy says so; the project's may as well, which we do not see."""
        if self._emulator:
            return None
        try:
            with _edge(""):
                policy = client.get_iam_policy(request={"resource": resource}, timeout=CALL_SECONDS)
        except Unseen:
            return None
        return any(AGENT.fullmatch(member) for one in policy.bindings if one.role in roles for member in one.members)


@contextmanager
def _edge(grant: str) -> Iterator[None]:
    try:
        yield
    except (exceptions.PermissionDenied, exceptions.NotFound) as error:
        raise Unseen(f"its settings cannot be read: {error.message}", grant) from error
    except (exceptions.MethodNotImplemented, exceptions.Unknown) as error:
        raise Unseen(f"no answer to that: {error.message}") from error
    except exceptions.GoogleAPICallError as error:
        raise NeighbourDown("pubsub", "unavailable", str(error)) from error
