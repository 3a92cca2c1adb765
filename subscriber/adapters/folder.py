"""Objects in local folders: a bucket is a folder, an object a file, a generation the file's time of change in ns.

The law of this file: a file and what is known of it never disagree, whenever we die. What is known stands under
`.subscriber/`, filed by generation and written before the file itself; what is known of a generation that never came
to live, or of a file that somebody has edited since, is simply not found.

And: nothing outside of a bucket's folder is read or written, whatever names say and wherever links lead.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import mimetypes
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Any

from subscriber.beneath import folder, locked, move, opened, stamp, status, synced
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

__all__ = ["FolderObjects"]

_HIDDEN, _LOCK = ".subscriber", (".subscriber", "lock")
"""Our own corner of a bucket's folder, made by the first write; no object's name leads into it."""

LONGEST_NAME_BYTES = 255
"""Of one file or folder, on Linux and macOS."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Why a path is not that of a file. Anything else must not be taken for a deleted object."""


class FolderObjects:
    """`ports.Objects` on folders. Writers exclude each other, in all threads and processes, by a lock on a file."""

    def __init__(self, roots: Mapping[str, Path], *, outputs: Collection[str] = ()) -> None:
        """`roots` maps each bucket's name to its folder; nothing is touched yet.

        In the buckets `outputs` a name that can never be written is refused when `stat` is asked about it already:
        whoever asks is about to pay for what shall stand there.
        """
        self._roots = {bucket: Path(os.path.realpath(root)) for bucket, root in roots.items()}
        self._outputs = outputs

    def check_output(self, bucket: str) -> None:
        """Prove that the bucket's folder is there and takes files. Raises ConfigError."""
        root = self._roots[bucket]
        try:
            with locked(root, *_LOCK):
                synced(root / _HIDDEN / "new", b"")
        except OSError as error:
            raise ConfigError("OUTBOX", str(error), f"mkdir -p {root}") from error

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """The live generation, or None. Raises NeighbourDown, of an output Permanent."""
        if bucket in self._outputs:
            self._require_place(bucket, name)
        if not (place := self._place(bucket, name)):
            return None
        # A folder that we never wrote to has no lock, and shall stay as it is.
        lock = locked(place.root, *_LOCK) if (place.root / _HIDDEN).is_dir() else nullcontext()
        with _edge(), lock:
            return place.stat()

    def read(self, info: ObjectInfo) -> bytes:
        """The bytes of exactly this generation. Raises Gone, NeighbourDown, Transient."""
        return self.read_range(info, 0, -1)

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """As `read`, of `size` bytes from `offset`; fewer at the object's end. Raises as `read` does."""
        place = self._place(info.bucket, info.name)
        try:
            with _edge():
                data = place.read(info.generation, offset, size) if place else None
        except NeighbourDown as error:
            if error.reason == "forbidden":  # one private file in an inbox must not stop the others
                raise Transient("forbidden_object", str(error)) from error
            raise
        if data is None:
            raise Gone(f"generation {info.generation} of {info.bucket}/{info.name} is gone")
        return data

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
        """Write if the live generation is `if_generation`. Raises PreconditionFailed, Permanent, NeighbourDown."""
        place = self._require_place(bucket, name)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        known = {"content_type": content_type, "md5": md5, "metadata": metadata}
        with _edge(), locked(place.root, *_LOCK):
            place.require(if_generation)
            return place.replace(data, known, newer_than=if_generation)

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        """Delete that generation; an absent object is fine. Raises PreconditionFailed, NeighbourDown."""
        if place := self._place(bucket, name):
            with _edge(), locked(place.root, *_LOCK):
                if place.stat():
                    place.require(if_generation)
                    place.remove()

    def below(self, bucket: str, prefix: str, start: str = "") -> Iterator[ObjectInfo]:
        """As `ports.Listing` says; the names are read at once. Raises NeighbourDown."""
        root = self._roots[bucket]
        with _edge():
            files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        for name in sorted(path.as_posix() for path in files if path.parts[0] != _HIDDEN):
            if name.startswith(prefix) and name >= start and (found := self.stat(bucket, name)):
                yield found

    def _require_place(self, bucket: str, name: str) -> _Place:
        if not (place := self._place(bucket, name)):
            raise Permanent("output_collision", f"{bucket}/{name} leads out of the bucket's folder")
        if len(os.fsencode(place.parts[-1])) > LONGEST_NAME_BYTES:
            raise Permanent("output_name_too_long", f"{bucket}/{name}: more than {LONGEST_NAME_BYTES} bytes")
        return place

    def _place(self, bucket: str, name: str) -> _Place | None:
        """Where the object is kept; None for a name that leads out of its bucket, by `..` or through a link."""
        root = self._roots.get(bucket)
        if root is None or "\0" in name:
            return None
        path = Path(os.path.realpath(root / name))
        if path == root or not path.is_relative_to(root) or path.is_relative_to(root / _HIDDEN):
            return None
        return _Place(bucket, name, root, path)


class _Place:
    """One object's file and what is known of it. Whoever changes it holds the lock."""

    def __init__(self, bucket: str, name: str, root: Path, path: Path) -> None:
        self.bucket, self.name, self.root = bucket, name, root
        self.parts = path.relative_to(root).parts
        # Not the name: two names may lead to one file.
        key = hashlib.sha256(os.fsencode(path.relative_to(root))).hexdigest()
        self._known_parts = (_HIDDEN, f"{key}.json")

    def stat(self) -> ObjectInfo | None:
        with _Absence():
            found = status(self.root, *self.parts)
            if S_ISREG(found.st_mode):
                return self._info(found, self._known().get(str(found.st_mtime_ns)))
        return None

    def read(self, generation: int, offset: int, size: int) -> bytes | None:
        with _Absence(), opened(self.root, *self.parts) as file:
            file.seek(offset)
            data = file.read(size)
            # Looked at afterwards: a file that is still being written changes while it is read.
            if os.fstat(file.fileno()).st_mtime_ns == generation:
                return data
        return None

    def require(self, generation: int) -> None:
        found = self.stat()
        live = found.generation if found else 0
        if live != generation:
            raise PreconditionFailed(f"{self.bucket}/{self.name} is at {live}, not at {generation}")

    def replace(self, data: bytes, known: dict[str, Any], *, newer_than: int) -> ObjectInfo:
        new = synced(self.root / _HIDDEN / "new", data)
        generation = stamp(new, newer_than)
        kept = {live: what for live, what in self._known().items() if live == str(newer_than)}
        both = json.dumps({**kept, str(generation): known}).encode()
        move(synced(self.root / _HIDDEN / "new.json", both), self.root, *self._known_parts)
        move(new, self.root, *self.parts)
        return self._info(status(self.root, *self.parts), known)

    def remove(self) -> None:
        *folders, name = self.parts
        with folder(self.root, *folders) as descriptor:
            os.unlink(name, dir_fd=descriptor)
        self.root.joinpath(*self._known_parts).unlink(missing_ok=True)

    def _known(self) -> dict[str, Any]:
        """By generation: the live one and, after a crash between two moves, the one that should have followed."""
        with _Absence(), opened(self.root, *self._known_parts) as file:
            known: dict[str, Any] = json.load(file)
            return known
        return {}

    def _info(self, found: os.stat_result, known: dict[str, Any] | None) -> ObjectInfo:
        guess = {"content_type": mimetypes.guess_type(self.name)[0] or ""}
        created_at = datetime.fromtimestamp(found.st_mtime, UTC)
        return ObjectInfo(
            self.bucket, self.name, found.st_mtime_ns, found.st_size, created_at=created_at, **(known or guess)
        )


class _Absence:
    """Ends the block where there is no such file."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        return isinstance(error, OSError) and error.errno in _ABSENT


@contextmanager
def _edge() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> SubscriberError:
    match error.errno:
        case errno.ENAMETOOLONG:
            return Permanent("output_name_too_long", str(error))
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR | errno.ELOOP:
            return Permanent("output_collision", f"a file, a folder or a link stands in the way: {error}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return NeighbourDown("gcs", "forbidden", str(error))
        case _:  # a full disk, a vanished folder, a bad sector
            return NeighbourDown("gcs", "unavailable", str(error))
