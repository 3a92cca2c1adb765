"""Our own commands as processes of their own, and questions to them over HTTP.

The law of this file: a program ends with its `with` block, or with us, and whoever waits for something that a dead
program should have done learns of its death at once, with the end of its log.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from subscriber.errors import SubscriberError
from subscriber.tether import Tethered

__all__ = ["DemoFailed", "Program", "ask", "wait_until"]

WAIT_SECONDS = 180.0
"""For one step of the demo; on two idle cores the slowest takes half a minute."""

STOP_SECONDS = 15.0
"""A daemon's default grace and some more."""

LOG_TAIL_CHARACTERS = 3000


class DemoFailed(SubscriberError):
    """A step did not happen; the message says which and ends with the program's log."""


class Program:
    """`subscriber ARGUMENTS` with this environment and no other, while the `with` block runs; it logs to `log`."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], log: Path) -> None:
        self._arguments, self._environ, self._log = arguments, environ, log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._tethered = Tethered([sys.executable, "-m", "subscriber", *self._arguments], self._environ, log)
        return self

    def __exit__(self, *exc: object) -> None:
        """Whoever cares how it ends has waited before: for the rest there is a short grace."""
        self._tethered.end(2.0)

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self._tethered.process.poll() is not None

    def stop(self) -> int:
        """Send SIGTERM; the exit code. Raises DemoFailed when it takes too long."""
        self._tethered.process.terminate()
        return self.exit_code(STOP_SECONDS)

    def exit_code(self, seconds: float = WAIT_SECONDS) -> int:
        """Wait for the end that comes by itself. Raises DemoFailed."""
        try:
            return self._tethered.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.failure("did not end") from None

    def failure(self, what: str) -> DemoFailed:
        """What to raise when the program did not do what it should."""
        return DemoFailed(f"`subscriber {self._arguments[0]}` {what}; the end of its log:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """What it logged last."""
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def wait_until(happened: Callable[[], bool], what: str, by: Program) -> None:
    """Ask again and again; a refused connection is a no. Raises DemoFailed when the program is dead or too slow."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        ended = by.ended  # before the question: what it did last counts
        with suppress(OSError):
            if happened():
                return
        if ended or time.monotonic() > deadline:
            raise by.failure(f"{'ended' if ended else 'was too slow'} before {what}")
        time.sleep(0.1)


def ask(url: str, body: dict[str, Any] | None = None) -> bytes:
    """GET, or POST of JSON, straight to a server on this machine, past any proxy. Raises OSError."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("POST" if body else "GET", parts.path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{url}: {answer.status} {data.decode(errors='replace')}")
    return data
