"""What the main thread waits for: signals, and the worker's word."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

__all__ = ["Signals", "signals"]


class Signals:
    """What the main thread waits for: `stop` for each signal, `finished` and `drained` from the worker.

    A socket, because the interpreter's own C handler writes a byte to it whichever thread the signal finds. A Python
    handler runs only when the main thread next runs Python: one that is about to block in a lock may not wake for it.
    """

    def __init__(self) -> None:
        self._taker, self._giver = socket.socketpair()
        self._giver.setblocking(False)  # set_wakeup_fd wants it so

    def put(self, event: Literal["finished", "drained"]) -> None:
        """From any thread."""
        self._giver.send(_EVENTS[event])

    def get(self, timeout_seconds: float | None = None) -> str | None:
        """Wait for the next event, None if none comes in time; a byte that is none of ours is a signal's number."""
        self._taker.settimeout(timeout_seconds)
        try:
            byte = self._taker.recv(1)
        except TimeoutError:
            return None
        return next((event for event, code in _EVENTS.items() if code == byte), "stop")

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Have SIGTERM and SIGINT end up here."""
        before = {sign: signal.signal(sign, _noted) for sign in (signal.SIGTERM, signal.SIGINT)}
        fd = signal.set_wakeup_fd(self._giver.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            for sign, earlier in before.items():
                signal.signal(sign, earlier)


_EVENTS = {"finished": b"\xfe", "drained": b"\xff"}


def _noted(signum: int, frame: FrameType | None) -> None:
    """Have a handler at all: without one the signal would end the process. The byte is on its way already."""


@contextmanager
def signals() -> Iterator[Signals]:
    """Catch SIGTERM and SIGINT; to be entered before anything slow."""
    events = Signals()
    with events.caught():
        yield events
