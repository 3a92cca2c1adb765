"""What the daemon and a decoder say to each other, over a stream socket of their own.

The law of this file: a frame is a kind, a length and that many bytes. The decoder drives: it asks for ranges, hands
over PCM and ends with one verdict; the daemon only answers. So neither can wait for the other in a circle, and a
decoder that is ahead of its consumer stands still as soon as the socket's buffer is full.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

__all__ = [
    "DATA",
    "DONE",
    "FAILED",
    "JOB",
    "LONGEST_FRAME_BYTES",
    "OPENED",
    "PCM",
    "RANGE",
    "READ",
    "READ_AHEAD_BYTES",
    "SAMPLE_BYTES",
    "SAMPLE_RATE",
    "Link",
    "ProtocolError",
]

SAMPLE_RATE = 16_000
"""Of all PCM here, in samples a second: what Whisper models hear. One channel."""

SAMPLE_BYTES = 2
"""Signed, little-endian."""

READ_AHEAD_BYTES = 256 * 1024
"""FFmpeg mostly asks for 32 KiB at a time; an uncompressed hour would be 20,000 questions."""

# The daemon's: what to do (JSON), which the file's first READ_AHEAD_BYTES follow, and the bytes that were asked for.
JOB, DATA = b"J", b"D"
# The decoder's: a range that it needs, what the container says of itself (JSON), PCM, and how it ended (JSON).
READ, OPENED, PCM, DONE, FAILED = b"R", b"O", b"P", b"E", b"F"

RANGE = struct.Struct("<QI")
"""A READ's payload: offset and size in bytes."""

LONGEST_FRAME_BYTES = 2**20
"""More is a decoder gone mad: its input is a stranger's file, so its words are not trusted either."""

_HEADER = struct.Struct("<cI")

_BUFFER_BYTES = 64 * 1024
"""What is taken from the socket at once, and the most that is kept for the next frame: all that a second of sound has
to say. Each look waits for Python's lock twice."""


class ProtocolError(Exception):
    """The other side says what nobody should say."""


class Link:
    """One end of the socket. Raises EOFError or OSError when the other side is gone, TimeoutError when it is silent."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._kept = b""
        self._come = bytearray()

    def send(self, kind: bytes, payload: bytes = b"", *, more: bool = False) -> None:
        """Send one frame of at most LONGEST_FRAME_BYTES; with `more` a small one goes out with the next."""
        frames = b"".join((self._kept, _HEADER.pack(kind, len(payload)), payload))
        self._kept = frames if more and len(frames) < _BUFFER_BYTES else b""
        if not self._kept:
            self._socket.sendall(frames)

    def send_json(self, kind: bytes, value: dict[str, Any], *, more: bool = False) -> None:
        """Send one frame of JSON."""
        self.send(kind, json.dumps(value).encode(), more=more)

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for the next frame: its kind and its payload."""
        kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if length > LONGEST_FRAME_BYTES:
            raise ProtocolError(f"a frame of {length} bytes")
        return kind, self._exactly(length)

    def close(self) -> None:
        """Let the other side see the end."""
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        while len(self._come) < size:
            if not (came := self._socket.recv(_BUFFER_BYTES)):
                raise EOFError
            self._come += came
        data = bytes(self._come[:size])
        del self._come[:size]
        return data
