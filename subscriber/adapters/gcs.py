"""Objects in Cloud Storage, by Google's own client.

The law of this file: every call ends by itself, every write and delete names the generation that it expects, and what
the client raises is translated here and nowhere else.
"""

from __future__ import annotations

import http.client
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import urllib3.exceptions
from google.api_core import exceptions as api
from google.auth import exceptions as auth
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
from subscriber.sessions import open_session

__all__ = ["GcsObjects"]

_TIMEOUT_SECONDS = (5.0, 10.0)
"""To connect, and of silence from the server: on a connection that is dead, too; the next try finds time below."""

_RETRY_SECONDS = 20.0
"""How long one call is tried again before the outage is ours to handle: longer than a blip, shorter than a lease."""

_SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""A download below this is an outage: the timeouts above only see silence, and a trickle would hold a job for hours."""

_NAME_BYTES = 1024
"""Longest object name, in bytes of UTF-8: cloud.google.com/storage/docs/objects#naming."""

_OUTPUT_RIGHTS = ("storage.objects.create", "storage.objects.get", "storage.objects.delete", "storage.objects.list")
"""What writing outputs takes. Without `list` Cloud Storage answers 403 instead of 404 for an object that is absent."""

_LOCKED = re.compile(
    r"retentionPolicyNotMet|objectUnderActiveHold|subject to (the )?bucket's retention policy|under active [\w-]+ hold"
)
"""A 403 that no right can mend: cloud.google.com/storage/docs/json_api/v1/status-codes."""

_NO_ANSWER = (OSError, api.RetryError, auth.TransportError, http.client.HTTPException, urllib3.exceptions.HTTPError)
"""OSError covers all of `requests`, sockets and our own deadline; RetryError a 408, 429 or 5xx that did not pass."""


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
        # Only listing and making buckets needs a project, and neither is done here.
        session = open_session(Client.SCOPE, connections, emulator=emulator)
        self._client = Client(None, session.credentials, _http=session, client_options={"api_endpoint": endpoint})
        # For traces that nobody asked for, the client would start threads that ask for the bucket itself: for each new
        # bucket, and after every 404, which for us is an ordinary answer. They need a right that we do not have.
        self._client._bucket_metadata_cache = None  # noqa: SLF001 - its switch is an environment variable
        self._user_project = user_project
        self._emulator = emulator
        # Safe for all that we do: reads, and writes that name a generation. A write whose first answer was lost is
        # repeated by the client and answered by 412, so PreconditionFailed may mean that our own write has succeeded.
        retry = DEFAULT_RETRY.with_delay(initial=0.2, multiplier=2.0, maximum=5.0).with_timeout(retry_seconds)
        self._bounds: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS, "retry": retry}

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
        blob = self._bucket(bucket).blob(name)
        with self._edge(bucket, "storage.objects.get"):
            try:
                blob.reload(**self._bounds)
            except api.NotFound:
                return None
        return _info(blob)

    def read(self, info: ObjectInfo) -> bytes:
        """The stored bytes of exactly this generation. Raises Gone, NeighbourDown, Transient.

        Raw: what was uploaded as `Content-Encoding: gzip` stays compressed. The server's unpacking would ignore ranges
        (a broken download could not go on), skip the checksum and have no bound on its size.
        """
        blob = self._bucket(info.bucket).blob(info.name, generation=info.generation)
        sink = _Sink(_RETRY_SECONDS + info.size / _SLOWEST_BYTES_PER_SECOND)
        with self._edge(info.bucket, "storage.objects.get"):
            try:
                blob.download_to_file(sink, raw_download=True, **self._bounds)
            except api.NotFound as error:
                raise Gone(f"generation {info.generation} of gs://{info.bucket}/{info.name} is gone") from error
        return sink.getvalue()

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """As `read`, of `size` bytes from `offset`; fewer at the object's end. Raises as `read` does."""
        blob = self._bucket(info.bucket).blob(info.name, generation=info.generation)
        sink = _Sink(_RETRY_SECONDS + size / _SLOWEST_BYTES_PER_SECOND)
        with self._edge(info.bucket, "storage.objects.get"):
            try:
                # No checksum comes with a range; TLS and the pinned generation are what a range has.
                blob.download_to_file(
                    sink, start=offset, end=offset + size - 1, raw_download=True, checksum=None, **self._bounds
                )
            except api.NotFound as error:
                raise Gone(f"generation {info.generation} of gs://{info.bucket}/{info.name} is gone") from error
        return sink.getvalue()

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
        blob = self._bucket(bucket).blob(name)
        blob.metadata = metadata
        with self._edge(bucket, "storage.objects.delete" if if_generation else "storage.objects.create"):
            blob.upload_from_string(data, content_type, if_generation_match=if_generation, **self._bounds)
        return _info(blob)

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
                self._bucket(bucket).blob(name).delete(if_generation_match=if_generation, **self._bounds)
            except api.NotFound:
                return

    def below(self, bucket: str, prefix: str, start: str = "") -> Iterator[ObjectInfo]:
        """As `ports.Listing` says. Raises NeighbourDown, Transient, at any step."""
        place = {"prefix": prefix, "start_offset": start or None}
        with self._edge(bucket, "storage.objects.list"):
            yield from map(_info, self._client.list_blobs(self._bucket(bucket), **place, **self._bounds))

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


class _Sink(io.BytesIO):
    """Memory that takes bytes for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._deadline = time.monotonic() + seconds

    def write(self, data: Any) -> int:
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"the download is slower than {_SLOWEST_BYTES_PER_SECOND} bytes a second")
        return super().write(data)


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(
        bucket=blob.bucket.name,
        name=blob.name,
        generation=blob.generation,
        size=blob.size,
        content_type=blob.content_type or "",
        md5=blob.md5_hash or "",  # composite objects have none
        metadata=blob.metadata or {},
        created_at=blob.time_created,
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
