"""A Whisper of fixed latency in a process of its own, cheap enough not to be what limits a race.

The law of this file: one thread, no framework. An answer costs some 100 us of one core, `make bench NAME=stub` says
how many that makes a second. (`subscriber.whisper_server` knows faults and costs a thread a connection: for tests.)
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.whisper import FixedDelay

__all__ = ["Counts", "Stub"]

CONTROL = "/bench"


@dataclass(frozen=True)
class Counts:
    """What the stub has seen since it was told its latency; `most_in_flight` requests were answered at once."""

    received: int
    answered: int
    distinct: int
    most_in_flight: int

    @property
    def paid_twice(self) -> int:
        """Requests whose very bytes had come before."""
        return self.received - self.distinct


class Stub:
    """The process, while its `with` block runs; `url` is its root."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.stub"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout  # noqa: S101 - a pipe, as ordered
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.__exit__(kind, error, at)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def restart(self, latency: float) -> None:
        """Forget all counts; answers take `latency` seconds from now on."""
        self._control("POST", json.dumps(latency))

    def counts(self) -> Counts:
        """Since the last restart."""
        return Counts(**json.loads(self._control("GET")))

    def _control(self, method: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, CONTROL, body)
            return connection.getresponse().read()
        finally:
            connection.close()


class _Tally:
    """What was seen since the last restart; an answer that is still due then counts for the tally of its request."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self._heard: set[str] = set()
        self._received = self._answered = self._most = 0

    def hear(self, said: str) -> None:
        """A request came, and `said` is what its bytes say."""
        self._heard.add(said)
        self._received += 1
        self._most = max(self._most, self._received - self._answered)

    def answer(self) -> None:
        """It is answered."""
        self._answered += 1

    def status(self) -> bytes:
        """As JSON, the fields of `Counts`."""
        counts = Counts(self._received, self._answered, len(self._heard), self._most)
        return json.dumps(asdict(counts)).encode()


class _Whisper:
    """What all connections share."""

    def __init__(self) -> None:
        self.engine = FixedDelay()
        self.tally = _Tally(0.0)


class _Connection(asyncio.Protocol):
    """One request at a time, as a kept-alive client sends them."""

    def __init__(self, whisper: _Whisper) -> None:
        self._whisper = whisper
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP server
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it: collect one request, then answer it."""
        self._received += data
        if self._missing > 0:
            self._missing -= len(data)
        elif (end := self._received.find(b"\r\n\r\n")) >= 0:
            self._missing = end + 4 + _content_length(bytes(self._received[:end])) - len(self._received)
        else:
            return
        if self._missing <= 0:
            head, _, body = bytes(self._received).partition(b"\r\n\r\n")
            self._received.clear()
            method, path, _ = head.split(b" ", 2)
            self._answer(method, path, body)

    def _answer(self, method: bytes, path: bytes, body: bytes) -> None:
        if path == CONTROL.encode():
            if method == b"POST":
                self._whisper.tally = _Tally(json.loads(body))
            self._send(self._whisper.tally.status())
        elif method == b"POST":
            tally, answer = self._whisper.tally, self._whisper.engine.transcribe(_file(body), "")
            tally.hear(answer["text"])
            self._loop.call_later(tally.latency, self._send_counted, tally, json.dumps(answer).encode())
        else:
            self._send(b'{"object": "list", "data": [{"id": "whisper-1", "object": "model"}]}')

    def _send_counted(self, tally: _Tally, answer: bytes) -> None:
        tally.answer()
        self._send(answer)

    def _send(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._transport.write(f"{head}x-request-id: req_{uuid.uuid4().hex}\r\n\r\n".encode() + body)


def _content_length(head: bytes) -> int:
    _, _, value = head.lower().partition(b"content-length:")
    return int(value.split(b"\r\n", 1)[0] or 0)


def _file(body: bytes) -> bytes:
    """The content of a form's file."""
    boundary = body[: body.find(b"\r\n")]
    start = body.find(b"\r\n\r\n", body.find(b"filename=")) + 4
    return body[start : body.find(b"\r\n" + boundary, start)]


async def _serve() -> None:
    """Until the parent closes our standard input, by its death if need be."""
    whisper = _Whisper()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(whisper), "127.0.0.1", 0, backlog=512)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, os.read, sys.stdin.fileno(), 1)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
