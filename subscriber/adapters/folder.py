"""Objects in local folders: a bucket is a folder, an object a file, a generation the file's time of change in ns.

The law of this file: a file and what is known of it never disagree, whenever we die. What is known stands under
`.subscriber/`, filed by generation and written before the file itself; what is known of a generation that never came
to live, or of a file that somebody has edited since, is simply not found.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import mimetypes
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Any

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

_HIDDEN = ".subscriber"
"""Our own corner of a bucket's folder, made by the first write; no object's name leads into it."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Why a path is not that of a file. Anything else must not be taken for a deleted object."""


class FolderObjects:
    """`ports.Objects` on folders. Writers exclude each other, in all threads and processes, by a lock on a file."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        """`roots` maps each bucket's name to its folder; nothing is touched yet."""
        self._roots = {bucket: Path(os.path.realpath(root)) for bucket, root in roots.items()}

    def check_output(self, bucket: str) -> None:
        """Prove that the bucket's folder is there and takes files. Raises ConfigError."""
        root = self._roots[bucket]
        try:
            with _locked(root):
                _synced(root / _HIDDEN / "new", b"")
        except OSError as error:
            raise ConfigError("OUTBOX", str(error), f"mkdir -p {root}") from error

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        """The live generation, or None. Raises NeighbourDown."""
        if not (place := self._place(bucket, name)):
            return None
        # A folder that we never wrote to has no lock, and shall stay as it is.
        lock = _locked(place.root) if (place.root / _HIDDEN).is_dir() else nullcontext()
        with _edge(), lock:
            return place.stat()

    def read(self, info: ObjectInfo) -> bytes:
        """The bytes of exactly this generation. Raises Gone, NeighbourDown, Transient."""
        place = self._place(info.bucket, info.name)
        try:
            with _edge():
                data = place.read(info.generation) if place else None
        except NeighbourDown as error:
            if error.reason == "forbidden":  # one private file in an inbox must not stop the others
                raise Transient("forbidden_object", str(error)) from error
            raise
        if data is None:
            raise Gone(f"generation {info.generation} of {info.bucket}/{info.name} is gone")
        return data

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        """As `read`, of `size` bytes from `offset`; fewer at the object's end. Raises as `read` does."""
        place = self._place(info.bucket, info.name)
        with _edge():
            data = place.read_range(info.generation, offset, size) if place else None
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
        if not (place := self._place(bucket, name)):
            raise Permanent("output_collision", f"{bucket}/{name} leads out of the bucket's folder")
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        known = {"content_type": content_type, "md5": md5, "metadata": metadata}
        with _edge(), _locked(place.root):
            place.require(if_generation)
            return place.replace(data, known, newer_than=if_generation)

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        """Delete that generation; an absent object is fine. Raises PreconditionFailed, NeighbourDown."""
        if place := self._place(bucket, name):
            with _edge(), _locked(place.root):
                if place.stat():
                    place.require(if_generation)
                    place.remove()

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
        self.bucket, self.name, self.root, self.path = bucket, name, root, path
        # Not the name: two names may lead to one file.
        key = hashlib.sha256(os.fsencode(path.relative_to(root))).hexdigest()
        self._known_path = root / _HIDDEN / f"{key}.json"

    def stat(self) -> ObjectInfo | None:
        with _Absence():
            found = self.path.stat()
            if S_ISREG(found.st_mode):
                return self._info(found, self._known().get(str(found.st_mtime_ns)))
        return None

    def read(self, generation: int) -> bytes | None:
        with _Absence(), self.path.open("rb") as file:
            data = file.read()
            # Looked at afterwards: a file that is still being written changes while it is read.
            if os.fstat(file.fileno()).st_mtime_ns == generation:
                return data
        return None

    def read_range(self, generation: int, offset: int, size: int) -> bytes | None:
        with _Absence(), self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
            if os.fstat(file.fileno()).st_mtime_ns == generation:
                return data
        return None

    def require(self, generation: int) -> None:
        found = self.stat()
        live = found.generation if found else 0
        if live != generation:
            raise PreconditionFailed(f"{self.bucket}/{self.name} is at {live}, not at {generation}")

    def replace(self, data: bytes, known: dict[str, Any], *, newer_than: int) -> ObjectInfo:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = _synced(self.root / _HIDDEN / "new", data)
        generation = _stamp(new, newer_than)
        kept = {live: what for live, what in self._known().items() if live == str(newer_than)}
        both = json.dumps({**kept, str(generation): known}).encode()
        _move(_synced(self.root / _HIDDEN / "new.json", both), self._known_path)
        _move(new, self.path)
        return self._info(self.path.stat(), known)

    def remove(self) -> None:
        self.path.unlink()
        self._known_path.unlink(missing_ok=True)

    def _known(self) -> dict[str, Any]:
        """By generation: the live one and, after a crash between two moves, the one that should have followed."""
        with _Absence():
            known: dict[str, Any] = json.loads(self._known_path.read_bytes())
            return known
        return {}

    def _info(self, found: os.stat_result, known: dict[str, Any] | None) -> ObjectInfo:
        guess = {"content_type": mimetypes.guess_type(self.name)[0] or ""}
        return ObjectInfo(self.bucket, self.name, found.st_mtime_ns, found.st_size, **(known or guess))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the bucket's lock. It belongs to this opening of the file, so threads exclude each other like processes."""
    (root / _HIDDEN).mkdir(exist_ok=True)  # no parents: a folder that has vanished (unmounted, say) is an outage
    with (root / _HIDDEN / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _synced(path: Path, data: bytes) -> Path:
    """Write a file and have it on the disk: a job is recorded as done next, and must not lose its transcript then.

    Under the lock one name is enough, and what a crash leaves there is overwritten.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


def _stamp(path: Path, newer_than: int) -> int:
    """Date the file to now, but after `newer_than`, whatever the clock or the file system's resolution."""
    step = 1
    while True:
        moment = max(time.time_ns(), newer_than + step)
        os.utime(path, ns=(moment, moment))
        if (generation := path.stat().st_mtime_ns) > newer_than:
            return generation
        step *= 2


def _move(new: Path, path: Path) -> None:
    """Put a file into its place at once, and have the place on the disk too."""
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR:
            return Permanent("output_collision", f"a file stands where a folder is needed, or a folder: {error}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return NeighbourDown("gcs", "forbidden", str(error))
        case _:  # a full disk, a vanished folder, a bad sector
            return NeighbourDown("gcs", "unavailable", str(error))
