"""A folder as a source: each file is a message that behaves as Pub/Sub's do, leases and redelivery included."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from subscriber.errors import Refused
from subscriber.model import Delivery, Message

__all__ = ["InboxSource"]

LOOK_EVERY_SECONDS = 1.0
SETTLED_SECONDS = 2.0
"""A file that changed later than this may still be being copied; while watching it is left for the next look."""


@dataclass(slots=True)
class _Waiting:
    message: Message
    due_at: float
    deliveries: int = 0
    acked: bool = False


class InboxSource:
    """Files of `inbox` and its folders, hidden ones apart, as messages about bucket `bucket`."""

    def __init__(self, inbox: Path, bucket: str, *, watch: bool) -> None:
        self._inbox = inbox
        self._bucket = bucket
        self._watch = watch
        self._messages: dict[str, _Waiting] = {}
        self._changed = threading.Condition()
        self._look()

    def pull(self, free: int) -> Sequence[Delivery]:
        """As the port says."""
        if self._watch:
            self._look()
        with self._changed:
            if not (due := self._due()):
                self._changed.wait(LOOK_EVERY_SECONDS)
            return [self._deliver(waiting) for waiting in due[:free]]

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:  # noqa: ARG002 - there is one
        """As the port says."""
        with self._changed:
            for waiting in self._known(ack_ids):
                waiting.due_at = time.monotonic() + seconds
            self._changed.notify_all()

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:  # noqa: ARG002 - there is one
        """As the port says."""
        with self._changed:
            for waiting in self._known(ack_ids):
                waiting.acked = True
            self._changed.notify_all()

    def finished(self) -> bool:
        """As the port says."""
        with self._changed:
            return not self._watch and all(waiting.acked for waiting in self._messages.values())

    def _known(self, ack_ids: Sequence[str]) -> list[_Waiting]:
        if unknown := [ack_id for ack_id in ack_ids if ack_id not in self._messages]:
            raise Refused(f"no message has the ack id {unknown[0]!r}")
        return [self._messages[ack_id] for ack_id in ack_ids]

    def _due(self) -> list[_Waiting]:
        now = time.monotonic()
        return [waiting for waiting in self._messages.values() if not waiting.acked and waiting.due_at <= now]

    def _deliver(self, waiting: _Waiting) -> Delivery:
        waiting.deliveries += 1
        waiting.due_at = time.monotonic() + LOOK_EVERY_SECONDS  # the keeper extends it in the same breath
        return Delivery(waiting.message, "inbox", waiting.message.id, waiting.deliveries)

    def _look(self) -> None:
        with self._changed:
            for name, generation in self._files():
                identity = f"{name}#{generation}"
                if identity not in self._messages:
                    self._messages[identity] = _Waiting(self._message(identity, name, generation), 0.0)

    def _files(self) -> Iterator[tuple[str, int]]:
        newest = time.time() - SETTLED_SECONDS if self._watch else float("inf")
        for path in sorted(self._inbox.rglob("*")):
            name = path.relative_to(self._inbox).as_posix()
            # A file may be moved away between two looks at it.
            with suppress(FileNotFoundError):
                if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
                    changed = path.stat()
                    if changed.st_mtime <= newest:
                        yield name, changed.st_mtime_ns

    def _message(self, identity: str, name: str, generation: int) -> Message:
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": self._bucket,
            "objectId": name,
            "objectGeneration": str(generation),
        }
        return Message(identity, attributes, b"", datetime.now(UTC))
