"""A folder as a source: each file is a message that behaves as Pub/Sub's do, leases and redelivery included.

The law of this file: nothing that lies in the inbox is passed over in silence. What cannot become a job is `unusable`,
with a sentence that says why; hidden files and folders alone are none of our business.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from subscriber.errors import Refused
from subscriber.log import get_logger
from subscriber.model import Delivery, Message
from subscriber.notification import HIGHEST_NUMBER
from subscriber.text import printable

__all__ = ["Found", "InboxSource"]

LOOK_EVERY_SECONDS = 1.0
SETTLED_SECONDS = 2.0
"""A file that has changed since may still be being copied; while watching it is left for a later look."""


@dataclass(frozen=True, slots=True)
class Found:
    """One generation of one file that became a message; `settled` once that is acked."""

    name: str
    generation: int
    settled: bool


@dataclass(slots=True)
class _Waiting:
    message: Message
    name: str
    generation: int
    due_at: float = 0.0
    deliveries: int = 0


class _Unusable(Exception):
    """Why a file cannot become a job."""


class InboxSource:
    """Files of `inbox` and its folders, hidden ones apart, as messages about bucket `bucket`; or of one file `only`.

    `unusable` says by name why a file or folder is left out; of files, only those whose name is `wanted` are told.
    """

    def __init__(
        self,
        inbox: Path,
        bucket: str,
        *,
        watch: bool,
        only: str | None = None,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._inbox = inbox.resolve()
        self._bucket = bucket
        self._watch = watch
        self._only = only
        self._wanted = wanted
        self._seen: dict[str, _Waiting] = {}
        self._open: dict[str, _Waiting] = {}
        self._settling: dict[tuple[str, int, int], float] = {}
        self._changed = threading.Condition()
        self._log = get_logger()
        self.unusable: dict[str, str] = {}
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
                self._open.pop(waiting.message.id, None)
            self._changed.notify_all()

    def finished(self) -> bool:
        """As the port says."""
        with self._changed:
            return not self._watch and not self._open

    def found(self) -> list[Found]:
        """Every file that became a message, in the order of its first look."""
        with self._changed:
            return [Found(one.name, one.generation, key not in self._open) for key, one in self._seen.items()]

    def deferred(self) -> list[Found]:
        """Those that were delivered and shall not come again yet: in work, or waiting to be tried again."""
        now = time.monotonic()
        with self._changed:
            open_ones = [one for one in self._open.values() if one.deliveries and one.due_at > now]
        return [Found(one.name, one.generation, settled=False) for one in open_ones]

    def counts(self) -> tuple[int, int]:
        """How many messages are settled, and how many there are."""
        with self._changed:
            return len(self._seen) - len(self._open), len(self._seen)

    def _known(self, ack_ids: Sequence[str]) -> list[_Waiting]:
        if unknown := [ack_id for ack_id in ack_ids if ack_id not in self._seen]:
            raise Refused(f"no message has the ack id {unknown[0]!r}")
        return [self._seen[ack_id] for ack_id in ack_ids]

    def _due(self) -> list[_Waiting]:
        now = time.monotonic()
        return [waiting for waiting in self._open.values() if waiting.due_at <= now]

    def _deliver(self, waiting: _Waiting) -> Delivery:
        waiting.deliveries += 1
        waiting.due_at = time.monotonic() + LOOK_EVERY_SECONDS  # the keeper extends it in the same breath
        return Delivery(waiting.message, "inbox", waiting.message.id, waiting.deliveries)

    def _look(self) -> None:
        unusable: dict[str, str] = {}
        files = list(self._usable(unusable))
        for name in unusable.keys() - self.unusable.keys() if self._watch else ():  # else the account at the end tells
            self._log.warning("unusable", file=name, error=unusable[name])
        with self._changed:
            self.unusable = unusable
            for name, generation in files:
                identity = f"{name}#{generation}"
                if identity not in self._seen:
                    message = self._message(identity, name, generation)
                    self._seen[identity] = self._open[identity] = _Waiting(message, name, generation)

    def _usable(self, unusable: dict[str, str]) -> Iterator[tuple[str, int]]:
        """Name and generation of each file that can become a job; why the others cannot goes into `unusable`."""
        still_settling: dict[tuple[str, int, int], float] = {}
        for name in [self._only] if self._only else self._names(unusable):
            try:
                found = self._stat(name)
            except _Unusable as error:
                if self._wanted(name):
                    unusable[self._shown(self._inbox / name)] = str(error)
                continue
            if found and self._settled((name, found.st_mtime_ns, found.st_size), still_settling):
                yield name, found.st_mtime_ns
        self._settling = still_settling

    def _names(self, unusable: dict[str, str]) -> Iterator[str]:
        def closed(error: OSError) -> None:
            unusable[self._shown(Path(error.filename))] = f"cannot be looked into: {error.strerror}"

        for folder, folders, files in os.walk(self._inbox, onerror=closed):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(folder, name) for name in folders):
                if path.is_symlink() and not self._is_looked_into(Path(os.path.realpath(path))):
                    unusable[self._shown(path)] = "a link to a folder that is hidden or outside, and not looked into"
            for name in sorted(files):
                if not name.startswith("."):
                    yield str(Path(folder, name).relative_to(self._inbox))

    def _is_looked_into(self, folder: Path) -> bool:
        """Whether the folder is met under its own name, too."""
        inside = folder.is_relative_to(self._inbox)
        return inside and not any(part.startswith(".") for part in folder.relative_to(self._inbox).parts)

    def _stat(self, name: str) -> os.stat_result | None:
        """What the file system says; None for a file that was taken away meanwhile. Raises _Unusable."""
        path = self._inbox / name
        try:
            found = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                raise _Unusable("a link that leads nowhere") from None
            return None
        except OSError as error:
            raise _Unusable(f"cannot be looked at: {error.strerror}") from error
        self._require_usable(path, found)
        return found

    def _require_usable(self, path: Path, found: os.stat_result) -> None:
        if not Path(os.path.realpath(path)).is_relative_to(self._inbox):
            raise _Unusable("a link that leads out of the inbox")
        if not S_ISREG(found.st_mode):
            raise _Unusable("neither a file nor a folder")
        try:
            str(path.relative_to(self._inbox)).encode()
        except UnicodeEncodeError:
            raise _Unusable("its name is not UTF-8: rename it") from None
        if found.st_mtime_ns < 0:
            raise _Unusable("it is dated before 1970: touch it")
        if found.st_mtime_ns > HIGHEST_NUMBER:
            raise _Unusable("it is dated after 2262: touch it")
        if not os.access(path, os.R_OK):
            raise _Unusable("it may not be read: permission denied")

    def _shown(self, path: Path) -> str:
        """Its name below the inbox as it can be logged and shown: bytes that are no UTF-8 in hexadecimal."""
        return printable(os.fsencode(path.relative_to(self._inbox)).decode(errors="backslashreplace"))

    def _settled(self, state: tuple[str, int, int], still_settling: dict[tuple[str, int, int], float]) -> bool:
        """Whether nobody is writing to the file. Also one that is dated to the future settles, by our own clock."""
        _, changed_ns, _ = state
        if not self._watch or changed_ns <= (time.time() - SETTLED_SECONDS) * 1e9:
            return True
        still_settling[state] = first_seen = self._settling.get(state, time.monotonic())
        return time.monotonic() - first_seen >= SETTLED_SECONDS

    def _message(self, identity: str, name: str, generation: int) -> Message:
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": self._bucket,
            "objectId": name,
            "objectGeneration": str(generation),
        }
        return Message(identity, attributes, b"", datetime.now(UTC))
