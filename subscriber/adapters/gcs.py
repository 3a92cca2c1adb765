"""Objects in Cloud Storage: by the calls of `storage_api.py`, and beside a job's way by Google's own client.

The law of this file: every call ends by itself, every write and delete names the generation that it expects, and what
the client raises is translated here and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY

from subscriber.errors import (
    ConfigError,
    Gone,
    NeighbourDown,
    Permanent,
    PreconditionFailed,
    SubscriberError,
    Transient,
)
from subscriber.model import ObjectInfo
from subscriber.sessions import Session, find_credentials
from subscriber.storage_api import StorageApi

__all__ = ["GcsObjects"]

_TIMEOUT_SECONDS = 10.0
"""Of one try, beside what its bytes take: on a connection that is dead, too; the next try finds time below."""

_RETRY_SECONDS = 20.0
"""How long one call is tried again before the outage is ours to handle: longer than a blip, shorter than a lease."""

_SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""What is slower is an outage: a trickle would hold a job for hours."""

_NAME_BYTES = 1024
"""Longest object name, in bytes of UTF-8: cloud.google.com/storage/docs/objects#naming."""

_OUTPUT_RIGHTS = ("storage.objects.create", "storage.objects.get", "storage.objects.delete", "storage.objects.list")
"""What writing outputs takes. Without `list` Cloud Storage answers 403 instead of 404 for an object that is absent."""

_LOCKED = re.compile(
    r"retentionPolicyNotMet|objectUnderActiveHold|subject to (the )?bucket's retention policy|under active [\w-]+ hold"
)
"""A 403 that no right can mend: cloud.google.com/storage/docs/json_api/v1/status-codes."""

_NO_ANSWER = (OSError, api.RetryError, auth.TransportError)
"""OSError is all that happens on the way; RetryError a 408, 429 or 5xx that did not pass."""


class GcsObjects:
    """`ports.Objects` on Cloud Storage, or on an emulator: at `endpoint`, else where STORAGE_EMULATOR_HOST says.

    One instance serves all threads: the client keeps no state between calls, and Google's `transfer_manager` shares it
    in the same way.
    """

    def __init__(
        self,
        *,
        connections: int,
        user_project: str | None = None,
        emulator: bool = False,
        endpoint: str | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """Connect nothing yet. `connections` is the number of threads that call; `user_project` pays for requests.

        `endpoint` is a URL; by itself the client would look for one only in its process's environment.
        Raises ConfigError where no credentials are found.
        """
        credentials = find_credentials(Client.SCOPE, emulator=emulator)
        self._user_project = user_project
        self._emulator = emulator
        # Safe for all that we do: reads, and writes that name a generation. A write whose first answer was lost is
        # repeated and answered by 412, so PreconditionFailed may mean that our own write has succeeded.
        retry = DEFAULT_RETRY.with_delay(initial=0.2, multiplier=2.0, maximum=5.0).with_timeout(retry_seconds)
        self._bounds: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS, "retry": retry}
        # Only listing and making buckets needs a project, and neither is done here.
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        self._client = Client(None, credentials, _http=session, client_options={"api_endpoint": endpoint})
        # For traces that nobody asked for, the client would start threads that ask for the bucket itself: for each new
        # bucket, and after every 404, which for us is an ordinary answer. They need a right that we do not have.
        self._client._bucket_metadata_cache = None  # noqa: SLF001 - its switch is an environment variable
        self._api = StorageApi(
            Session(credentials, connections),
            self._client.api_endpoint,
            user_project=user_project,
            retry=retry,
            seconds=_TIMEOUT_SECONDS,
            slowest=_SLOWEST_BYTES_PER_SECOND,
        )

    def check_output(self, bucket: str) -> None:
        """Ask for the rights that outputs take. Raises ConfigError with the command that mends it, or NeighbourDown."""
        try:
            with self._edge(bucket):
                missing = set(_OUTPUT_RIGHTS) - self._granted(bucket, _OUTPUT_RIGHTS)
        except _BucketMissing as error:
            raise ConfigError(
                "SUBSCRIBER_OUTPUT", str(error), f"gcloud storage buckets create gs://{bucket}"
            ) from error
        if missing:
            raise ConfigError(
                "SUBSCRIBER_OUTPUT",
                f"we lack {', '.join(sorted(missing))} on gs://{bucket}",
                f"gcloud storage buckets add-iam-policy-binding gs://{bucket}"
                " --member=serviceAccount:OURS --role=roles/storage.objectUser",
            )

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """The live generation, or None. Raises NeighbourDown, Transient."""
        with self._edge(bucket, "storage.objects.get"):
            try:
                return _info(self._api.describe(bucket, name))
            except api.NotFound:
                return None

    def read(self, info: ObjectInfo) -> bytes:
        """The stored bytes of exactly this generation. Raises Gone, NeighbourDown, Transient.

        Raw: what was uploaded as `Content-Encoding: gzip` stays compressed. The server's unpacking would ignore ranges
        (a broken download could not go on), skip the checksum and have no bound on its size.
        """
        data = self._download(info, info.size)
        if info.md5 and info.md5 != base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode():
            raise Transient("storage_error", f"what came of gs://{info.bucket}/{info.name} does not have its checksum")
        return data

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """As `read`, of `size` bytes from `offset`; fewer at the object's end. Raises as `read` does."""
        # No checksum comes with a range; TLS, its length and the pinned generation are what it has.
        there = min(size, info.size - offset)
        return self._download(info, there, offset) if there > 0 else b""

    def write(
        self,
        bucket: str,
        name: str,
        data: bytes,
        *,
        content_type: str,
        metadata: dict[str, str],
        if_generation: int,
    ) -> ObjectInfo:
        """Write if the live generation is `if_generation`.

        Raises PreconditionFailed, Permanent, NeighbourDown, Transient.
        """
        if len(name.encode()) > _NAME_BYTES:
            raise Permanent("output_name_too_long", f"gs://{bucket}/{name} is longer than {_NAME_BYTES} bytes")
        with self._edge(bucket, "storage.objects.delete" if if_generation else "storage.objects.create"):
            return _info(
                self._api.upload(
                    bucket, name, data, content_type=content_type, metadata=metadata, if_generation=if_generation
                )
            )

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        """Delete that generation; an absent object is fine. Raises PreconditionFailed and as `write` does."""
        # The condition on the delete itself is what holds. We look first because a condition on an absent object is
        # answered by 404 or 412, and because fake-gcs-server deletes without looking at the condition.
        found = self.stat(bucket, name)
        if found is None:
            return
        if found.generation != if_generation:
            raise PreconditionFailed(f"gs://{bucket}/{name} is at {found.generation}, not at {if_generation}")
        with self._edge(bucket, "storage.objects.delete"):
            try:
                self._api.delete(bucket, name, if_generation)
            except api.NotFound:
                return

    def below(self, bucket: str, prefix: str, start: str = "") -> Iterator[ObjectInfo]:
        """As `ports.Listing` says. Raises NeighbourDown, Transient, at any step."""
        place = {"prefix": prefix, "start_offset": start or None}
        with self._edge(bucket, "storage.objects.list"):
            for blob in self._client.list_blobs(self._bucket(bucket), **place, **self._bounds):
                yield _info(blob._properties)  # noqa: SLF001 - the resource, as the other calls give it

    def _download(self, info: ObjectInfo, size: int, start: int | None = None) -> bytes:
        with self._edge(info.bucket, "storage.objects.get"):
            try:
                return self._api.download(info.bucket, info.name, info.generation, size, start)
            except api.NotFound as error:
                raise Gone(f"generation {info.generation} of gs://{info.bucket}/{info.name} is gone") from error

    def _bucket(self, bucket: str) -> Any:
        return self._client.bucket(bucket, user_project=self._user_project)

    def _granted(self, bucket: str, rights: tuple[str, ...]) -> set[str]:
        """Which of these rights we have on the whole bucket."""
        try:
            return set(self._bucket(bucket).test_iam_permissions(rights, **self._bounds))
        except api.NotFound:
            # fake-gcs-server knows no rights: whoever reaches a bucket of its may do everything.
            if self._emulator and self._bucket(bucket).exists(**self._bounds):
                return set(rights)
            raise

    @contextmanager
    def _edge(self, bucket: str, right: str = "") -> Iterator[None]:
        """Translate what the client raises; `right` is the one that the call needs."""
        try:
            yield
        except SubscriberError:
            raise
        except api.Forbidden as error:
            raise self._refused(error, bucket, right) from error
        except Exception as error:
            raise _translated(error, bucket) from error

    def _refused(self, error: Exception, bucket: str, right: str) -> SubscriberError:
        """One locked or forbidden object must not stop the others; a forbidden bucket must not kill a thousand."""
        if _LOCKED.search(str(error)):
            return Permanent("output_locked", _told(error))
        # Billing, VPC and organisation rules are refused without naming a right, and concern more than one object.
        if not (right and right in str(error)):
            return NeighbourDown("gcs", "forbidden", _told(error))
        try:
            self._require(bucket, right)
        except SubscriberError as down:
            return down
        return Transient("forbidden_object", _told(error))

    def _require(self, bucket: str, right: str) -> None:
        """Raise NeighbourDown while we lack the right on the whole bucket: the pause's own probe, and no other's."""
        with self._edge(bucket):
            if right not in self._granted(bucket, (right,)):
                again = partial(self._require, bucket, right)
                raise NeighbourDown("gcs", "forbidden", f"we lack {right} on gs://{bucket}", probe=again)


class _BucketMissing(NeighbourDown):
    """Only an operator can bring a bucket back, so it is a pause like a refused one."""


def _info(resource: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        bucket=resource["bucket"],
        name=resource["name"],
        generation=int(resource["generation"]),
        size=int(resource["size"]),
        content_type=resource.get("contentType") or "",
        md5=resource.get("md5Hash") or "",  # composite objects have none
        metadata=resource.get("metadata") or {},
        created_at=datetime.fromisoformat(resource["timeCreated"]),
    )


def _translated(error: Exception, bucket: str) -> SubscriberError:
    code = int(error.code or 0) if isinstance(error, api.GoogleAPICallError) else 0
    passing = isinstance(error, auth.GoogleAuthError) and error.retryable
    if isinstance(error, _NO_ANSWER) or passing or code >= 500:
        return NeighbourDown("gcs", "unavailable", _told(error))
    if isinstance(error, auth.GoogleAuthError) or code == 401 or "requester pays" in str(error):
        return NeighbourDown("gcs", "forbidden", _told(error))
    if code == 404:
        return _BucketMissing("gcs", "forbidden", f"bucket gs://{bucket} does not exist")
    if code == 412:
        return PreconditionFailed(_told(error))
    return Transient("storage_error", _told(error))


def _told(error: Exception) -> str:
    """The error on one line of a length that a ledger record can hold."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
