"""Answers that never come: the request arrives whole, and then there is nothing to be understood.

The law of this file: a silence ends when the client gives up, when the server stops, or at the bound.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["BOUND_SECONDS", "SILENCES"]

BOUND_SECONDS = 300.0
"""No request hangs or is held for longer, so that a forgotten fault cannot stop a test run."""

TRICKLE_SECONDS = 0.05


def _hang(connection: socket.socket) -> None:
    connection.settimeout(BOUND_SECONDS)
    connection.recv(1)


def _trickle(connection: socket.socket) -> None:
    """A blank now and then, as gateways send them to keep a connection alive: no single read takes long."""
    ends_at = time.monotonic() + BOUND_SECONDS
    connection.settimeout(TRICKLE_SECONDS)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    while time.monotonic() < ends_at:
        connection.sendall(b" ")
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


SILENCES: Mapping[str, Callable[[socket.socket], None]] = {"hang": _hang, "trickle": _trickle}
"""Each may raise OSError when the client has gone."""
