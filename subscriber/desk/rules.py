"""Which rule decides on an object that has no record. Pure; the same rules as the pipeline's, in its order."""

from __future__ import annotations

from datetime import datetime

from subscriber.desk.words import ago
from subscriber.errors import NotForUs
from subscriber.model import ObjectInfo
from subscriber.notification import MEDIA_ENDINGS, Selection, first_match
from subscriber.outputs import OutputLocation
from subscriber.transcript import NO_HINTS
from subscriber.wishes import Wishes, wishes_of

__all__ = ["require_admitted", "require_wanted", "rule"]


def rule(
    found: ObjectInfo, selection: Selection, location: OutputLocation, now: datetime, *, max_event_age_seconds: float
) -> str:
    """A sentence: whether the object's notification would make a job, and which rule says so."""
    if location.covers_whole_bucket and found.bucket == location.bucket:
        return "OUTPUT covers this whole bucket: the daemon pauses at its notifications. Give OUTPUT a prefix."
    try:
        require_wanted(found, selection, location)
    except NotForUs as refusal:
        return f"Ignored ({refusal.reason}): {refusal}."
    wanted = _admitted(found, selection)
    came = found.created_at
    if came and (now - came).total_seconds() > max_event_age_seconds:
        return (
            f"Wanted ({wanted}), but it came {ago(came, now)}, more than MAX_EVENT_AGE_SECONDS: were its notification "
            "delivered now, it would be recorded dead (expired)."
        )
    return f"Wanted ({wanted}). No notification of it has been claimed yet: still in Pub/Sub, or it never came."


def require_wanted(found: ObjectInfo, selection: Selection, location: OutputLocation) -> None:
    """Raise NotForUs where the daemon would ignore the object's notification."""
    require_admitted(found.bucket, found.name, found.content_type, selection, location)
    wishes_of(found.metadata, Wishes(NO_HINTS, ()))


def require_admitted(
    bucket: str, name: str, content_type: str | None, selection: Selection, location: OutputLocation
) -> None:
    """Raise NotForUs where the name alone, or with the content type if that is known, has the daemon ignore it."""
    if location.holds(bucket, name):
        raise NotForUs("own_output", f"it lies under our own OUTPUT, {location.text}")
    selection.admits(name, content_type)


def _admitted(found: ObjectInfo, selection: Selection) -> str:
    if selection.include:
        return f"it matches {first_match(found.name, selection.include)!r} in INCLUDE"
    if found.name.lower().endswith(MEDIA_ENDINGS):
        return "its name ends like audio or video"
    return f"its content type is {found.content_type}"
