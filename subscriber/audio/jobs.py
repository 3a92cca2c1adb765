"""Jobs in a process of their own, one after the other: limits on, decode, one verdict."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from subscriber.audio.decoder import decode
from subscriber.audio.facts import Facts
from subscriber.audio.wire import DATA, DONE, FAILED, OPENED, PCM, RANGE, READ, READ_AHEAD_BYTES, Link, ProtocolError
from subscriber.errors import Permanent

__all__ = ["FAULTS", "serve"]

OPEN_FILES = 64
"""A decoder opens none; Python opens a few when it imports."""


OLD_CPU_SECONDS = 2.0
"""After so much work a process ends, and with it what it holds of its files, and what they may have spoiled in it."""


def serve(sock: socket.socket, fault: str | None) -> int:
    """Serve the jobs that come over the socket; return the exit code: 0 when a verdict was given on each."""
    link = Link(sock)
    try:
        while time.process_time() < OLD_CPU_SECONDS:
            (_, job), (_, head) = link.receive(), link.receive()
            link.send_json(*_verdict(link, json.loads(job), head, fault))
    except (EOFError, OSError, ProtocolError):
        return 1
    return 0


def _verdict(link: Link, job: dict[str, Any], head: bytes, fault: str | None) -> tuple[bytes, dict[str, Any]]:
    _limit(job["cpu_seconds"], job["memory_bytes"])
    short = job["size"] <= len(head)  # decoded in a moment: all that is said of it goes out at once

    def opened(facts: Facts) -> None:
        link.send_json(OPENED, asdict(facts), more=short)

    def hear(pcm: bytes) -> None:
        if fault:
            FAULTS[fault]()
        link.send(PCM, pcm, more=short)

    try:
        file = cast("BinaryIO", _RemoteFile(link, job["size"], head))
        return DONE, asdict(decode(file, job["max_audio_seconds"], opened, hear))
    except Permanent as verdict:
        return FAILED, {"reason": verdict.reason, "message": str(verdict)}
    except MemoryError:
        _limit_memory(resource.RLIM_INFINITY)  # else there is no room for saying so
        return FAILED, {"reason": "decoder_out_of_memory", "message": f"more than {job['memory_bytes']} bytes"}


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    # The kernel kills at the soft limit; the hard one, which is set once, is for a signal that is not heard.
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    hard = cpu_seconds + 5 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_CPU, (min(int(time.process_time()) + cpu_seconds, hard), hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere than on Linux address space cannot be limited
        mapped = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _limit_memory(mapped + memory_bytes)


def _limit_memory(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


class _RemoteFile:
    """The object, read through the daemon. FFmpeg asks little and often; the daemon is asked for more and seldom."""

    def __init__(self, link: Link, size: int, head: bytes) -> None:
        self._link = link
        self._size = size
        self._position = 0
        self._ahead = head
        self._ahead_from = 0

    def read(self, size: int) -> bytes:
        if self._position >= self._size:
            return b""  # and what was read ahead stays: a container's head is looked at once more at the end
        start = self._position - self._ahead_from
        if not 0 <= start < len(self._ahead):
            self._ahead, self._ahead_from, start = self._fetch(), self._position, 0
        data = self._ahead[start : start + size]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def _fetch(self) -> bytes:
        # FFmpeg takes a cover or an index in one go, of any size, and is content with less than it asked for.
        size = min(READ_AHEAD_BYTES, self._size - self._position)
        try:
            self._link.send(READ, RANGE.pack(self._position, size))
            kind, data = self._link.receive()
            if kind == DATA:
                return data
        except (EOFError, OSError):
            pass
        # FFmpeg would take an exception here for the file's end; but nobody waits for this job any more.
        os._exit(1)


def _hang() -> NoReturn:
    while True:
        signal.pause()


def _eat() -> NoReturn:
    eaten = []
    while True:
        eaten.append(bytearray(2**24))


def _spin() -> NoReturn:
    while True:
        pass


FAULTS: dict[str, Callable[[], object]] = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": lambda: 1 // 0,
    "hang": _hang,
    "eat": _eat,
    "spin": _spin,
}
"""How a decoder can go wrong; `child --fault` chooses, and only tests pass it."""
