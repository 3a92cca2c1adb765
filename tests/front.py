"""An HTTP server that passes every request on to another one, and refuses those that a test names."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Front", "Refusal"]

SECONDS = 60.0
HEAD_BYTES = 1000
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


@dataclass
class Refusal:
    """Answers the next `times` requests of this method that name `what` itself, or passes them on first.

    An upload names its object at the head of its body, everything else in its path. Status 0 closes the connection,
    and None refuses nothing: the request is only held back for `late_seconds`.
    """

    method: str
    what: str
    status: int | None
    times: int = 1
    applied: bool = False
    late_seconds: float = 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Front:
    """`url` is to be used in the server's place while the `with` block runs."""

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self._refusals: list[Refusal] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"front": self}))
        self.closed = threading.Event()
        self.calls: list[str] = []
        """Method, path and head of the body of every request that came."""
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="front", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, refusal: Refusal) -> None:
        """From now on."""
        with self._lock:
            self._refusals.append(refusal)

    def refused(self) -> bool:
        """Whether every refusal has happened as often as it shall."""
        with self._lock:
            return not self._refusals

    def meets(self, method: str, names: str) -> Refusal | None:
        """The refusal that this request runs into."""
        with self._lock:
            for refusal in self._refusals:
                if refusal.method == method and refusal.what in names:
                    refusal.times -= 1
                    if not refusal.times:
                        self._refusals.remove(refusal)
                    return refusal
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        names = f"{self.path} {body[:HEAD_BYTES].decode('latin-1')}"
        self.front.calls.append(f"{self.command} {names}")
        refusal = self.front.meets(self.command, names)
        if refusal:
            self.front.closed.wait(refusal.late_seconds)
        status = refusal.status if refusal else None
        if status is not None and refusal and not refusal.applied:
            self._answer(status, [], b"{}")
            return
        connection = HTTPConnection(self.front.target, timeout=SECONDS)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        self._answer(answer.status if status is None else status, headers, data)

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.close_connection = not status
        if not status:
            return
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - names that http.server calls
