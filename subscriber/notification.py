"""From a message to a job, or the reason why it asks nothing of us.

The law of this file: whatever bytes arrive, the answer is a Notice or NotForUs, never another exception. The attributes
of a Cloud Storage notification suffice; its body (which `payloadFormat: NONE` leaves out) is only a hint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from subscriber.errors import NotForUs
from subscriber.model import Job, Message, ObjectInfo

__all__ = ["MEDIA_ENDINGS", "Notice", "Selection", "first_match", "parse", "written"]

MEDIA_ENDINGS = (
    *(".aac", ".aif", ".aiff", ".amr", ".flac", ".m4a", ".m4b", ".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus"),
    *(".wav", ".wma", ".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"),
)
"""Name endings that say audio or video."""

FINALIZED = {"OBJECT_FINALIZE", "google.cloud.storage.object.v1.finalized"}
STRUCTURED = "application/cloudevents+json"

HIGHEST_NUMBER = 2**63 - 1
"""What Cloud Storage and both ledgers can hold. A forged generation beyond it would fail at every ledger call."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notification says. `content_type` and `size`, in bytes, are None where only the object can tell."""

    bucket: str
    name: str
    generation: int
    content_type: str | None
    size: int | None = None

    @classmethod
    def of(cls, found: ObjectInfo) -> Self:
        """What Cloud Storage tells when this generation has come."""
        return cls(found.bucket, found.name, found.generation, found.content_type, found.size)

    def job(self, output: str) -> Job:
        """The job that this notice asks for."""
        return Job(self.bucket, self.name, self.generation, output)


@dataclass(frozen=True, slots=True)
class Selection:
    """INCLUDE and EXCLUDE: globs on the object name, case ignored, `*` also matches `/`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def admits(self, name: str, content_type: str | None) -> bool | None:
        """Whether the object is wanted; None when only its content type, unknown as yet, can tell. Raises NotForUs."""
        if glob := first_match(name, self.exclude):
            raise NotForUs("excluded", f"{name!r} matches {glob!r} in EXCLUDE")
        if self.include:
            return _wanted(bool(first_match(name, self.include)), f"{name!r} matches nothing in INCLUDE")
        if name.lower().endswith(MEDIA_ENDINGS):
            return True
        if content_type is None:
            return None
        said = content_type.lower().startswith(("audio/", "video/"))
        return _wanted(said, f"{name!r} is {content_type or 'of no type'}")


def parse(message: Message) -> Notice:
    """Understand GCS attributes, binary CloudEvents (`ce-*`) and structured ones (JSON body). Raises NotForUs."""
    attributes = message.attributes
    if "eventType" in attributes and "objectId" in attributes:
        return _from_attributes(attributes, _json(message.data))
    if "ce-type" in attributes:
        return _from_event(attributes["ce-type"], attributes.get("ce-subject", ""), _json(message.data))
    event = _json(message.data)
    if "specversion" in event or attributes.get("content-type", "").startswith(STRUCTURED):
        data = event.get("data")
        return _from_event(event.get("type"), event.get("subject"), data if isinstance(data, dict) else {})
    raise NotForUs("not_a_notification", "neither eventType and objectId, nor ce-type, nor a CloudEvent in the body")


def written(notice: Notice) -> tuple[dict[str, str], bytes]:
    """Attributes and body, as Cloud Storage itself would send them of this upload; `parse` reads them back."""
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": notice.bucket,
        "objectId": notice.name,
        "objectGeneration": str(notice.generation),
    }
    hints = {"contentType": notice.content_type, "size": None if notice.size is None else str(notice.size)}
    body = {"bucket": notice.bucket, "name": notice.name, "generation": str(notice.generation)} | {
        name: hint for name, hint in hints.items() if hint is not None
    }
    return attributes, json.dumps(body, ensure_ascii=False).encode()


def _from_attributes(attributes: Mapping[str, str], body: Mapping[str, Any]) -> Notice:
    _require_finalized(attributes["eventType"])
    return _notice(attributes.get("bucketId"), attributes["objectId"], attributes.get("objectGeneration"), body)


def _from_event(kind: object, subject: object, data: Mapping[str, Any]) -> Notice:
    _require_finalized(kind)
    name = data.get("name") or (subject.removeprefix("objects/") if isinstance(subject, str) else None)
    return _notice(data.get("bucket"), name, data.get("generation"), data)


def _notice(bucket: object, name: object, generation: object, hints: Mapping[str, Any]) -> Notice:
    if not (isinstance(bucket, str) and bucket and isinstance(name, str) and name and _encodes(bucket + name)):
        raise NotForUs("not_a_notification", f"no usable bucket and name: {_shown(bucket)}, {_shown(name)}")
    number = _number(generation)
    if number is None:
        raise NotForUs("not_a_notification", f"no usable generation: {_shown(generation)}")
    content_type = hints.get("contentType")
    return Notice(
        bucket, name, number, content_type if isinstance(content_type, str) else None, _number(hints.get("size"))
    )


def _number(value: object) -> int | None:
    """A whole number of 63 bits, which JSON may carry as text; None for anything else."""
    digits = str(value) if isinstance(value, str | int) else ""
    whole = digits.isascii() and digits.isdigit() and len(digits) < 20
    return int(digits) if whole and int(digits) <= HIGHEST_NUMBER else None


def _require_finalized(kind: object) -> None:
    if not (isinstance(kind, str) and kind in FINALIZED):
        raise NotForUs("event_type", f"the event is {_shown(kind)}")


def _shown(value: object) -> str:
    """A word of the message, for people. Of what is no text only the type: it may be a list of 10 MB."""
    return repr(value[:80]) if isinstance(value, str) else type(value).__name__


def _json(data: bytes) -> dict[str, Any]:
    """The body as a JSON object, or an empty one: a hint that cannot be read is no hint."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # a hostile body nests 100,000 brackets
        return {}
    return body if isinstance(body, dict) else {}


def _encodes(text: str) -> bool:
    """JSON may carry half a surrogate pair, which no store takes as a name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_match(name: str, globs: tuple[str, ...]) -> str | None:
    """The first of the globs that the name matches, case ignored; `*` also matches `/`."""
    return next((glob for glob in globs if fnmatchcase(name.lower(), glob.lower())), None)


def _wanted(wanted: bool, otherwise: str) -> bool:
    if not wanted:
        raise NotForUs("not_included", otherwise)
    return True
