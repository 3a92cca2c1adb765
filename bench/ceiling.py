"""How many requests a second the stub Whisper takes: no race comes near it, or the stub would be what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.family import Family
from bench.recordings import short_recording
from bench.stub import Stub
from bench.table import Row, spread

__all__ = ["rows"]

SECONDS = 4.0
CONNECTIONS = (8, 32, 128)
RUNS = 3
FASTEST_RACE = 160
"""Requests a second: 32 slots with answers in 0.2 s. 128 slots could have 640, which two cores do not reach."""


def rows() -> Iterator[Row]:
    """Answers at once, to as many connections as a race has slots; the generator shares the two cores with it."""
    with Stub() as stub:
        stub.restart(0.0)
        family = Family([stub.pid])
        for connections in CONNECTIONS:
            cpu, before = family.cpu_seconds(), stub.counts().answered
            rates = [asyncio.run(_load(stub.url, connections)) / SECONDS for _ in range(RUNS)]
            each = 1e6 * (family.cpu_seconds() - cpu) / (stub.counts().answered - before)
            what = f"stub Whisper, {connections} connections, WAVs of 1 s"
            reached = f"{spread(rates, '{:.0f}')} requests a second, {each:.0f} us of a core each"
            yield Row(what, reached, f">= {5 * FASTEST_RACE}", min(rates) >= 5 * FASTEST_RACE)


async def _load(url: str, connections: int) -> int:
    """How many were answered, together."""
    host, _, port = urlsplit(url).netloc.partition(":")
    request, until = _request(), time.monotonic() + SECONDS
    return sum(await asyncio.gather(*(_one(host, int(port), request, until) for _ in range(connections))))


async def _one(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    answered = 0
    while time.monotonic() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, length = head.partition(b"content-length: ")
        await reader.readexactly(int(length.partition(b"\r\n")[0]))
        answered += 1
    writer.close()
    return answered


def _request() -> bytes:
    """As OpenAI's client sends a file, in outline."""
    fields = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = fields + short_recording(0) + b"\r\n--x--\r\n"
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: stub\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
