"""What a message asks of this process: a job, and whether that is a large one.

The law of this file: it settles and claims nothing. A message that asks nothing of us is NotForUs, with the reason.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from subscriber.errors import Interrupted, NeighbourDown, NotForUs, Transient
from subscriber.model import Job, Message, ObjectInfo
from subscriber.notification import Notice, Selection, parse
from subscriber.outage import Outages
from subscriber.outputs import OutputLocation
from subscriber.ports import Objects

__all__ = ["LARGE_BYTES", "Arrival", "Arrivals"]

LARGE_BYTES = 10_000_000
"""From here on an object is a large one: ten minutes of MP3, or five of an uncompressed call."""


class Arrival(NamedTuple):
    """The job that a message asks for; a `large` one may not take the places that are kept for small ones."""

    job: Job
    large: bool


class Arrivals:
    """Thread-safe."""

    def __init__(self, objects: Objects, location: OutputLocation, selection: Selection, outages: Outages) -> None:
        self._objects = objects
        self._location = location
        self._selection = selection
        self._outages = outages

    def identify(self, message: Message) -> Arrival:
        """What the message asks for; the object itself is only looked at for what the notification does not tell.

        Raises NotForUs, Transient, Interrupted.
        """
        notice = parse(message)
        self._require_no_output(notice)
        size = notice.size
        if self._selection.admits(notice.name, notice.content_type) is None:
            live = self._objects.stat(notice.bucket, notice.name)
            self._selection.admits(notice.name, live.content_type if live else "")
            size = _size(live)
        elif size is None:
            # Why it cannot be looked at is found out under the claim, where it is recorded.
            with suppress(Transient):
                size = _size(self._objects.stat(notice.bucket, notice.name))
        return Arrival(notice.job(self._location.text), (size or 0) >= LARGE_BYTES)

    def _require_no_output(self, notice: Notice) -> None:
        location = self._location
        if location.covers_whole_bucket and notice.bucket == location.bucket:
            error = f"OUTPUT covers all of gs://{notice.bucket}, from which notifications come: give it a prefix"
            self._outages.pause(NeighbourDown("configuration", "configuration", error))
            raise Interrupted(error)
        if location.holds(notice.bucket, notice.name):
            raise NotForUs("own_output", f"gs://{notice.bucket}/{notice.name} is an output of ours")


def _size(live: ObjectInfo | None) -> int:
    """What is gone takes no time."""
    return live.size if live else 0
