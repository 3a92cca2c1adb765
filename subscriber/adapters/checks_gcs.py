"""What `check` asks about buckets. The daemon itself needs none of these rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage import Client

from subscriber.desk.facts import BucketFacts, LifecycleRule, Notification, Unseen
from subscriber.errors import ConfigError, NeighbourDown

__all__ = ["GcsFacts"]

CALL_SECONDS = 10.0
NO_ANSWER = "the emulator has no answer to that"
READING = ("storage.objects.get", "storage.objects.list")
"""Without `list` Cloud Storage answers 403 instead of 404 for an object that is absent: a pause instead of `gone`."""


class GcsFacts:
    """Settings of buckets, as far as we may read them. An emulator is asked for nothing that it would invent."""

    def __init__(self, *, user_project: str | None, endpoint: str | None) -> None:
        """Connect nothing yet. Raises ConfigError when there are no credentials."""
        self._emulator = endpoint is not None
        self._user_project = user_project
        try:
            credentials = AnonymousCredentials() if endpoint else None  # type: ignore[no-untyped-call]
            self._client = Client(project=None, credentials=credentials, client_options={"api_endpoint": endpoint})
        except DefaultCredentialsError as error:
            remedy = "gcloud auth application-default login"
            raise ConfigError("GOOGLE_APPLICATION_CREDENTIALS", str(error), remedy) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def missing_rights(self, bucket: str) -> set[str]:
        """Which of the rights that reading recordings takes we lack. Raises Unseen, NeighbourDown."""
        self._require_real("rights")
        with _edge(bucket):
            granted = self._bucket(bucket).test_iam_permissions(READING, timeout=CALL_SECONDS)
        return set(READING) - set(granted)

    def bucket(self, bucket: str) -> BucketFacts:
        """Its settings. Raises Unseen, NeighbourDown."""
        self._require_real("requester pays, retention, holds, lifecycle")
        found = self._bucket(bucket)
        with _edge(bucket):
            found.reload(timeout=CALL_SECONDS)
        return BucketFacts(
            name=bucket,
            requester_pays=bool(found.requester_pays),
            retention_seconds=found.retention_period or 0,
            default_hold=bool(found.default_event_based_hold),
            lifecycle=tuple(_rule(rule) for rule in found.lifecycle_rules),
        )

    def notifications(self, bucket: str) -> tuple[Notification, ...]:
        """Its notification configs. Raises Unseen, NeighbourDown."""
        self._require_real("notification configs")
        with _edge(bucket):
            found = list(self._bucket(bucket).list_notifications(timeout=CALL_SECONDS))
        return tuple(
            Notification(
                id=one.notification_id,
                topic=f"projects/{one.topic_project}/topics/{one.topic_name}",
                event_types=tuple(one.event_types or ()),
                prefix=one.blob_name_prefix or "",
            )
            for one in found
        )

    def _require_real(self, what: str) -> None:
        if self._emulator:
            raise Unseen(f"{what}: {NO_ANSWER}")

    def _bucket(self, bucket: str) -> Any:
        return self._client.bucket(bucket, user_project=self._user_project)


def _rule(rule: Any) -> LifecycleRule:
    condition = rule["condition"]
    return LifecycleRule(rule["action"]["type"], condition.get("age"), tuple(condition.get("matchesPrefix", ())))


@contextmanager
def _edge(bucket: str) -> Iterator[None]:
    grant = (
        f"gcloud storage buckets add-iam-policy-binding gs://{bucket}"
        " --member=MEMBER --role=roles/storage.legacyBucketReader"
    )
    try:
        yield
    except exceptions.Forbidden as error:
        raise Unseen(f"the settings of gs://{bucket} cannot be read: {error.message}", grant) from error
    except exceptions.NotFound as error:
        raise NeighbourDown("gcs", "forbidden", f"bucket gs://{bucket} does not exist") from error
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise NeighbourDown("gcs", "unavailable", str(error)) from error
