"""A TCP relay in front of a neighbour, with which a test takes the neighbour away and brings it back."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

__all__ = ["Valve"]

BLOCK_BYTES = 65_536


class Valve:
    """Passes everything on while it is open; `address` (host:port) is to be used in the neighbour's place."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="valve", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._age = 0
        self._passing = asyncio.Event()
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def open(self) -> None:
        """Pass on again, also what was swallowed meanwhile: to TCP a silent network is only a slow one."""
        self._loop.call_soon_threadsafe(self._turn, False, True)

    def cut(self) -> None:
        """Break every connection, and each new one at once: the neighbour is away."""
        self._loop.call_soon_threadsafe(self._turn, True, True)

    def swallow(self) -> None:
        """Keep all connections and take new ones, but pass nothing on: nobody is told that the network is gone."""
        self._loop.call_soon_threadsafe(self._turn, False, False)

    def forget(self) -> None:
        """Pass nothing on that comes by today's connections, and tell nobody; new ones are served.

        What a NAT or a firewall does with a connection that was idle for ten minutes.
        """
        asyncio.run_coroutine_threadsafe(self._grow_older(), self._loop).result(10)

    async def _grow_older(self) -> None:
        self._age += 1

    async def _listen(self) -> str:
        self._passing.set()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        return f"{host}:{port}"

    def _turn(self, cut: bool, passing: bool) -> None:
        self._cut = cut
        (self._passing.set if passing else self._passing.clear)()
        if cut:
            self._drop()

    async def _end(self) -> None:
        self._turn(True, True)
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        host, _, port = self._target.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        ends, age = {writer, far_writer}, self._age
        self._writers |= ends
        await asyncio.gather(self._pump(reader, far_writer, age), self._pump(far_reader, writer, age))
        self._writers -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, age: int) -> None:
        with suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                await self._passing.wait()
                if age == self._age:
                    writer.write(block)
                    await writer.drain()
        if age == self._age:
            writer.close()
