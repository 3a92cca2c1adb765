"""One HTTP client for all threads that ask the provider, which wait for the provider alone and not for each other.

The law of this file: a connection has one request at a time, and the one that was used last is used next. The pool of a
shared httpx client looks at the socket of each idle connection before and after every request, while all other threads
wait for that pool: with 128 slots fifteen looks a request. Here each client's pool has one connection to look at.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import Any

import httpx2

__all__ = ["ClientForThreads"]


class ClientForThreads(httpx2.Client):
    """An httpx client that has every request sent by a client of its kind which nobody else uses meanwhile."""

    def __init__(self, idle_seconds: float, **options: Any) -> None:
        """`options` are httpx's; a connection that was idle for longer than `idle_seconds` is not used again."""
        options["limits"] = httpx2.Limits(max_connections=None, keepalive_expiry=idle_seconds)
        options["verify"] = httpx2.create_ssl_context()  # reading the certificates takes a hundred times all the rest
        super().__init__(**options)
        self._idle_seconds = idle_seconds
        self._another = partial(httpx2.Client, **options)
        self._idle: deque[tuple[float, httpx2.Client]] = deque()
        self._lock = threading.Lock()

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As httpx has it, but for cookies, of which none is kept from one request to the next.

        Raises RuntimeError once it is closed, as httpx does: nobody would wait for the answer.
        """
        if self.is_closed:
            raise RuntimeError("the client is closed")
        with self._lock:
            client = self._idle.pop()[1] if self._idle else None
        client = client or self._another()
        try:
            # Now, because nothing may come between an answer that is paid for and whoever waits for it.
            self._let_go(before=time.monotonic() - self._idle_seconds)
            return client.send(request, **how)
        finally:
            self._keep(client)

    def close(self) -> None:
        """Close the connections; those that are in use close when their answer has come."""
        super().close()
        self._let_go(before=float("inf"))

    def _keep(self, client: httpx2.Client) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), client))
        if self.is_closed:
            self._let_go(before=float("inf"))

    def _let_go(self, before: float) -> None:
        """Of connections that a busier time has left."""
        while True:
            with self._lock:
                if not (self._idle and self._idle[0][0] < before):
                    return
                _, client = self._idle.popleft()
            client.close()
