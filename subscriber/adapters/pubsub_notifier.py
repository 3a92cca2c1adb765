"""Notifications on REPLAY_TOPIC, as Cloud Storage would publish them.

The law of this file: a call returns when Pub/Sub has everything, and holds one batch meanwhile. A batch whose answer
was lost is sent again: a second notification meets the job's record and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from subscriber.channels import open_channel
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.notification import Notice, written

__all__ = ["PubSubNotifier"]

BATCH_MESSAGES = 500
"""Pub/Sub takes 1,000 messages and 10 MB a request; one with the longest name takes 5 kB."""

CALL_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""All tries of one batch together: somebody waits at a terminal."""

PASSING = if_exception_type(
    exceptions.Aborted,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ServiceUnavailable,
    exceptions.TooManyRequests,
)
# InvalidArgument: config has seen to the topic's name, but Pub/Sub has more rules for it.
MISCONFIGURED = (
    exceptions.InvalidArgument,
    exceptions.NotFound,
    exceptions.PermissionDenied,
    exceptions.Unauthenticated,
)


class PubSubNotifier:
    """`ports.Notifier` on one topic; `emulator_host` (HOST:PORT) replaces Google's endpoint."""

    def __init__(
        self, topic: str, *, emulator_host: str | None = None, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Connect nothing yet. Raises ConfigError when there are no credentials."""
        self._topic = topic
        self._channel = open_channel(PublisherGrpcTransport, emulator_host)
        self._client = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._patiently = Retry(PASSING, initial=0.2, maximum=5.0, timeout=patience_seconds)

    def notify(self, notices: Sequence[Notice]) -> None:
        """As the port says."""
        for start in range(0, len(notices), BATCH_MESSAGES):
            messages = [_message(notice) for notice in notices[start : start + BATCH_MESSAGES]]
            with self._translated():
                self._client.publish(topic=self._topic, messages=messages, retry=self._patiently, timeout=CALL_SECONDS)

    def close(self) -> None:
        """Close the connection; no call may follow."""
        self._channel.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MISCONFIGURED as error:
            why = f"{self._topic} does not exist or we must not publish to it: {error.message}"
            remedy = (
                f"gcloud pubsub topics create {self._topic}, or\n    gcloud pubsub topics add-iam-policy-binding "
                f"{self._topic} --member=MEMBER --role=roles/pubsub.publisher"
            )
            raise ConfigError("SUBSCRIBER_REPLAY_TOPIC", why, remedy) from error
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise NeighbourDown("pubsub", "unavailable", str(error)) from error


def _message(notice: Notice) -> PubsubMessage:
    attributes, data = written(notice)
    return PubsubMessage(attributes=attributes, data=data)
