"""/metrics, /livez, /readyz, /api/status and the page at / for collectors, probes and people.

The law of this file: a client costs little and not for long. It gets one answer a connection, has five seconds for its
request and five for taking the answer, and shares a fixed number of connections with all others; what it sends beyond
the head of its request is ignored. No path touches the network.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from socket import SHUT_WR, socket
from typing import Any, Self

from subscriber.errors import ConfigError
from subscriber.log import get_logger
from subscriber.page import load_page

__all__ = ["WebServer"]

MAX_CONNECTIONS = 32
"""Served at once; one more is told 503. Probes and collectors are a handful."""

CLIENT_SECONDS = 5.0
"""For sending a request, and again for taking the answer."""

HEAD_BYTES = 8192
"""Longest head of a request; a probe's has 200."""

IGNORED_BYTES = 65_536
"""Of a body are taken in and dropped: a connection closed over unread bytes is reset, and the answer lost with it."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[str, ...] = ()

    def encode(self, *, head_only: bool = False) -> bytes:
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            "X-Content-Type-Options: nosniff",
            *self.headers,
        ]
        if self.status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append("Allow: GET, HEAD")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if head_only else self.body)


Routes = Mapping[str, Callable[[], _Reply]]


class WebServer:
    """The paths on one port while its `with` block runs. Entering raises ConfigError when the port is taken.

    `metrics_render` gives Prometheus's text; `live`, `ready` and `status` must answer at once, from any thread. Without
    `status` there is neither /api/status nor a page. `port` 0 takes a free one, which `port` then tells.
    """

    def __init__(
        self,
        port: int,
        metrics_render: Callable[[], bytes],
        live: Callable[[], bool],
        ready: Callable[[], tuple[bool, dict[str, object]]],
        *,
        status: Callable[[], Mapping[str, object]] | None = None,
        host: str = "0.0.0.0",  # noqa: S104 - probes and collectors come from other machines
    ) -> None:
        self.port = port
        self._host = host
        self._server: _Server | None = None
        self._routes: dict[str, Callable[[], _Reply]] = {
            "/metrics": lambda: _Reply(HTTPStatus.OK, metrics_render(), "text/plain; version=0.0.4; charset=utf-8"),
            "/livez": lambda: _state(live(), {}),
            "/readyz": lambda: _state(*ready()),
        }
        if status:
            page = _page()
            self._routes["/"] = lambda: page
            self._routes["/api/status"] = lambda: _json(HTTPStatus.OK, status())

    def __enter__(self) -> Self:
        try:
            self._server = _Server((self._host, self.port), self._routes)
        except OSError as error:
            remedy = "set PORT to a free one"
            raise ConfigError("PORT", f"{self.port} cannot be listened on: {error.strerror}", remedy) from error
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="web", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no longer. Connections that are being served end by themselves, within seconds."""
        if server := self._server:
            self._server = None
            server.shutdown()
            server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        super().__init__(address, _Handler)
        self.routes = routes
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._log = get_logger()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        request.setblocking(False)  # this thread accepts for everyone
        request.send(_error(HTTPStatus.SERVICE_UNAVAILABLE).encode())
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its caller's names
        if not isinstance(sys.exception(), OSError):  # a client that is slow or gone is nobody's trouble
            self._log.exception("web_request_failed")


class _Handler(socketserver.BaseRequestHandler):
    request: socket
    server: _Server

    def handle(self) -> None:
        head = self._head()
        if head is None:
            return
        method, reply = self._reply(head)
        self.request.settimeout(CLIENT_SECONDS)  # sendall counts it over the whole answer
        self.request.sendall(reply.encode(head_only=method == "HEAD"))
        self.request.shutdown(SHUT_WR)
        self._ignore_body()

    def _head(self) -> bytes | None:
        """The request's head, cut off at its limit; None from a client that left. Raises TimeoutError."""
        head, deadline = b"", time.monotonic() + CLIENT_SECONDS
        while b"\r\n\r\n" not in head and len(head) <= HEAD_BYTES:
            received = self._receive(deadline)
            if not received:
                return None
            head += received
        return head

    def _ignore_body(self) -> None:
        ignored, deadline = 0, time.monotonic() + CLIENT_SECONDS
        while ignored < IGNORED_BYTES and (received := self._receive(deadline)):
            ignored += len(received)

    def _receive(self, deadline: float) -> bytes:
        """What comes until the deadline, however slowly: a limit on each read alone would never end a trickle."""
        self.request.settimeout(max(0.001, deadline - time.monotonic()))
        return self.request.recv(4096)

    def _reply(self, head: bytes) -> tuple[str, _Reply]:
        line, found, _ = head.partition(b"\r\n")
        method, _, rest = line.decode("latin-1").partition(" ")
        path, _, version = rest.partition(" ")
        if b"\r\n\r\n" not in head:
            return method, _error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not found or not version.startswith("HTTP/1."):
            return method, _error(HTTPStatus.BAD_REQUEST)
        if method not in {"GET", "HEAD"}:
            return method, _error(HTTPStatus.METHOD_NOT_ALLOWED)
        route = self.server.routes.get(path.partition("?")[0])
        return method, route() if route else _error(HTTPStatus.NOT_FOUND)


def _state(good: bool, details: Mapping[str, object]) -> _Reply:
    return _json(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, {"ok": good, **details})


def _json(status: HTTPStatus, body: Mapping[str, object]) -> _Reply:
    return _Reply(status, (json.dumps(body) + "\n").encode(), "application/json")


def _page() -> _Reply:
    """The page may load nothing and talk to nobody but us, and nobody may frame it."""
    page = load_page()
    headers = (f"Content-Security-Policy: {page.policy}", "Referrer-Policy: no-referrer")
    return _Reply(HTTPStatus.OK, page.body, "text/html; charset=utf-8", headers)


def _error(status: HTTPStatus) -> _Reply:
    return _Reply(status, f"{status.phrase}\n".encode())
