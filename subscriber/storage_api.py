"""The calls of Cloud Storage's JSON API that a job makes: cloud.google.com/storage/docs/json_api/v1/objects.

Google's client has the same calls behind its objects for buckets and blobs, its media classes and `requests`, and a job
makes eight of them: they took a third of the daemon's time. Retries, errors and credentials are Google's here too.
The law of this file: no call is made that was not asked for, and each may be made twice (see `sessions.py`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from google.api_core.exceptions import from_http_status
from google.api_core.retry import Retry
from pydantic_core import from_json, to_json

from subscriber.sessions import Session

__all__ = ["StorageApi"]

_FIELDS = "bucket,name,generation,size,contentType,md5Hash,metadata,timeCreated"
"""What is asked for of an object's resource: the whole of it would be three times as long."""

_RAW = {"Accept-Encoding": "gzip"}
"""Who does not say so gets what was uploaded as gzip unpacked: without ranges, checksum, or bound on its size."""

_PLAIN: Mapping[str, str] = {}


class StorageApi:
    """Objects as the JSON API has them: their resources are dictionaries whose numbers are text.

    Each call is tried again as `retry` says, and each try bounded by `seconds` and the time that its bytes take at
    `slowest` bytes a second. What they raise: google.api_core's errors, google.auth's, and OSError where no answer came
    or one that is not Cloud Storage's.
    """

    def __init__(
        self, session: Session, endpoint: str, *, user_project: str | None, retry: Retry, seconds: float, slowest: int
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._billed = f"&userProject={quote(user_project, safe='')}" if user_project else ""
        self._seconds = seconds
        self._slowest = slowest
        self._patiently = retry(self._once)

    def describe(self, bucket: str, name: str) -> dict[str, Any]:
        """The resource of the live generation."""
        return _resource(self._call("GET", self._url("storage", bucket, name, f"fields={_FIELDS}")))

    def download(self, bucket: str, name: str, generation: int, size: int, start: int | None = None) -> bytes:
        """What is stored, as it is stored: all of its `size` bytes, or so many from `start` on."""
        url = self._url("download/storage", bucket, name, f"alt=media&generation={generation}")
        wanted = {} if start is None else {"Range": f"bytes={start}-{start + size - 1}"}
        data = self._call("GET", url, _RAW | wanted, expected=size)
        if len(data) != size:
            raise OSError(f"{len(data)} bytes of gs://{bucket}/{name} came, and not {size}")
        return data

    def upload(
        self,
        bucket: str,
        name: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        if_generation: int,
    ) -> dict[str, Any]:
        """Write it in one request, with a checksum that the server compares; returns the resource."""
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        about = {"name": name, "contentType": content_type, "metadata": dict(metadata)}
        about["md5Hash"] = base64.b64encode(digest).decode()
        boundary = digest.hex()  # nothing holds its own digest
        body = b"\r\n".join(
            (
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n".encode(),
                to_json(about),
                f"--{boundary}\r\nContent-Type: {content_type}\r\n".encode(),
                data,
                f"--{boundary}--".encode(),
            )
        )
        how = f"uploadType=multipart&ifGenerationMatch={if_generation}&fields={_FIELDS}"
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        return _resource(self._call("POST", self._url("upload/storage", bucket, "", how), headers, body))

    def delete(self, bucket: str, name: str, if_generation: int) -> None:
        """Delete that generation."""
        self._call("DELETE", self._url("storage", bucket, name, f"ifGenerationMatch={if_generation}"))

    def _url(self, service: str, bucket: str, name: str, query: str) -> str:
        place = f"{quote(bucket, safe='')}/o/{quote(name, safe='')}".removesuffix("/")
        return f"{self._endpoint}/{service}/v1/b/{place}?{query}{self._billed}"

    def _call(
        self, method: str, url: str, headers: Mapping[str, str] = _PLAIN, body: bytes | None = None, expected: int = 0
    ) -> bytes:
        seconds = self._seconds + max(expected, len(body or b"")) / self._slowest
        answer: bytes = self._patiently(method, url, headers, body, seconds)
        return answer

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float) -> bytes:
        answer = self._session.ask(method, url, headers, body, seconds=seconds)
        if not 200 <= answer.status < 300:
            told = f"{method} {url.partition('?')[0]}: {_said(answer.body)}"
            raise from_http_status(answer.status, told)  # type: ignore[no-untyped-call]
        return answer.body


def _resource(body: bytes) -> dict[str, Any]:
    try:
        resource = from_json(body)
        if isinstance(resource, dict):
            return resource
    except ValueError:
        pass
    raise OSError(f"the answer is not Cloud Storage's: {body[:100]!r}")


def _said(body: bytes) -> str:
    """Why it was refused: the message, and the reasons, which only tell a retention policy from a missing right."""
    try:
        error = from_json(body)["error"]
        return f"{error['message']} {[one['reason'] for one in error['errors']]}"
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")
