"""Files below a folder, and never anywhere else.

The law of this file: the way from the folder to the file is walked step by step and follows no link, so that a link
which somebody puts there between a look and a write leads nowhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

__all__ = ["folder", "locked", "move", "opened", "stamp", "status", "synced"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # nor do we wait for whoever writes into a pipe


@contextmanager
def folder(root: Path, *parts: str, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `parts` below `root`, made if need be. Raises OSError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened(root: Path, *parts: str) -> Iterator[BinaryIO]:
    """An ordinary file below `root`, to be read; a pipe or a device is none. Raises OSError."""
    *folders, name = parts
    with folder(root, *folders) as descriptor:
        file = os.fdopen(os.open(name, _FILE, dir_fd=descriptor), "rb")
    with file:
        if not S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(errno.ENOENT, "no ordinary file", name)
        yield file


def status(root: Path, *parts: str) -> os.stat_result:
    """What the file system says of a file below `root`. Raises OSError."""
    *folders, name = parts
    with folder(root, *folders) as descriptor:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)


@contextmanager
def locked(root: Path, *parts: str) -> Iterator[None]:
    """Hold the lock on a file below `root`. It belongs to this opening: threads exclude each other as processes do."""
    *folders, name = parts
    with folder(root, *folders, make=True) as descriptor:
        lock = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666, dir_fd=descriptor)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def synced(path: Path, data: bytes) -> Path:
    """Write a file and have it on the disk: a job is recorded as done next, and must not lose its transcript then.

    Under the lock one name is enough. What a crash left there goes first: as a link it would lead the write elsewhere.
    """
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


def stamp(path: Path, newer_than: int) -> int:
    """Date the file to now, but after `newer_than`, whatever the clock or the file system's resolution."""
    step = 1
    while True:
        moment = max(time.time_ns(), newer_than + step)
        os.utime(path, ns=(moment, moment))
        if (generation := path.stat().st_mtime_ns) > newer_than:
            return generation
        step *= 2


def move(new: Path, root: Path, *parts: str) -> None:
    """Put a file into its place below `root` at once, its folders made, and have the place on the disk too."""
    *folders, name = parts
    with folder(root, *folders, make=True) as descriptor:
        os.replace(new, name, dst_dir_fd=descriptor)
        os.fsync(descriptor)
