"""Connections to a provider that many threads ask at once, as its server sees them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

import httpx2
import pytest

from subscriber.clients import ClientForThreads
from tests.daemon import until

AT_ONCE = 8
LONG_SECONDS = 60.0
SHORT_SECONDS = 0.05


class Provider(ThreadingHTTPServer):
    """Its connections: `open` now, and those that requests came by, in their order. `/together` waits for all eight."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.open: set[int] = set()
        self.asked_by: list[int] = []
        self.cookies: list[str | None] = []
        self.together = threading.Barrier(AT_ONCE, timeout=LONG_SECONDS)
        self.answer = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.client_address[1])

    def do_GET(self) -> None:
        self.server.asked_by.append(self.client_address[1])
        if self.path == "/together":
            self.server.together.wait()
        if self.path == "/later":
            self.server.answer.wait(LONG_SECONDS)
        self.server.cookies.append(self.headers["cookie"])
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("location", "/")
        self.send_header("set-cookie", "of=one")
        self.send_header("content-length", "0")
        self.end_headers()

    def finish(self) -> None:
        super().finish()
        self.server.open.discard(self.client_address[1])

    def log_message(self, *args: Any) -> None:
        """Not here."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.answer.set()
        server.shutdown()
        thread.join()


def ask_together(client: ClientForThreads, provider: Provider) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(client.get, [f"{provider.url}/together"] * AT_ONCE))
    assert len(set(provider.asked_by)) == AT_ONCE, "a connection has one request at a time"


def looks_at_sockets(client: ClientForThreads, url: str) -> int:
    """How many this thread takes for one request."""
    looks = 0

    def watch(_frame: FrameType, event: str, what: Any) -> None:
        nonlocal looks
        looks += event == "c_call" and what.__name__ in {"poll", "select"}

    sys.setprofile(watch)
    try:
        client.get(url)
    finally:
        sys.setprofile(None)
    return looks


def test_the_connection_that_was_used_last_is_used_next(provider: Provider) -> None:
    with closing(ClientForThreads(LONG_SECONDS)) as client:
        ask_together(client, provider)
        for _ in range(AT_ONCE):
            client.get(provider.url)
    assert len(set(provider.asked_by[AT_ONCE:])) == 1
    assert set(provider.asked_by[AT_ONCE:]) < set(provider.asked_by[:AT_ONCE])


def test_no_request_looks_at_connections_that_are_not_its_own(provider: Provider) -> None:
    """A look lets go of Python's lock, and httpx's own pool has all other threads wait for it."""
    with closing(ClientForThreads(LONG_SECONDS)) as alone, closing(ClientForThreads(LONG_SECONDS)) as busy:
        alone.get(provider.url)
        provider.asked_by.clear()
        ask_together(busy, provider)
        assert looks_at_sockets(busy, provider.url) == looks_at_sockets(alone, provider.url) > 0


def test_what_a_busier_time_has_left_is_closed_by_the_next_request(provider: Provider) -> None:
    with closing(ClientForThreads(SHORT_SECONDS)) as client:
        ask_together(client, provider)
        idle_since = time.monotonic()
        until(lambda: time.monotonic() - idle_since > 2 * SHORT_SECONDS, "all were idle for too long")
        client.get(provider.url)
        until(lambda: provider.open == {provider.asked_by[-1]}, "all but the last are closed")


def test_closing_closes_all_connections_and_one_in_use_once_its_answer_has_come(provider: Provider) -> None:
    client = ClientForThreads(LONG_SECONDS)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.get, f"{provider.url}/later")
        until(lambda: len(provider.asked_by) == 1, "it is on the wire")
        client.get(provider.url)
        client.close()
        until(lambda: provider.open == {provider.asked_by[0]}, "the idle one is closed")
        provider.answer.set()
        assert answer.result().status_code == 200
        until(lambda: not provider.open, "and the other")


def test_a_closed_client_sends_nothing(provider: Provider) -> None:
    client = ClientForThreads(LONG_SECONDS)
    client.get(provider.url)
    client.close()
    with pytest.raises(RuntimeError):
        client.get(provider.url)
    assert len(provider.asked_by) == 1


def test_a_request_that_failed_leaves_its_client_to_the_next_one(provider: Provider) -> None:
    with closing(ClientForThreads(LONG_SECONDS)) as client:
        for _ in range(3):
            with pytest.raises(httpx2.ReadTimeout):
                client.get(f"{provider.url}/later", timeout=SHORT_SECONDS)
        assert len(client._idle) == 1
        assert client.get(provider.url).status_code == 200


def test_what_the_client_is_told_holds_for_every_request(provider: Provider) -> None:
    """Its hooks, whether it follows redirects, and what is said for one request alone."""
    seen: list[str] = []
    hooks = {"request": [lambda request: seen.append(request.url.path)]}
    with closing(ClientForThreads(LONG_SECONDS, event_hooks=hooks, follow_redirects=True)) as client:
        assert client.get(f"{provider.url}/moved").url.path == "/"
        assert client.get(f"{provider.url}/moved", follow_redirects=False).status_code == 302
    assert seen == ["/moved", "/", "/moved"]


def test_no_cookie_goes_from_one_request_to_the_next(provider: Provider) -> None:
    with closing(ClientForThreads(LONG_SECONDS)) as client:
        for _ in range(2):
            assert client.get(provider.url).cookies == {"of": "one"}
    assert provider.cookies == [None, None]


def test_a_connection_that_does_not_close_loses_no_answer(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be paid for: what is closed is closed before a request is sent."""
    order: list[str] = []
    with closing(ClientForThreads(SHORT_SECONDS)) as client:
        ask_together(client, provider)
        idle_since = time.monotonic()
        until(lambda: time.monotonic() - idle_since > 2 * SHORT_SECONDS, "all were idle for too long")
        close, send = httpx2.Client.close, httpx2.Client.send

        def noted_close(self: httpx2.Client) -> None:
            order.append("close")
            close(self)

        def noted_send(self: httpx2.Client, request: httpx2.Request, **how: Any) -> httpx2.Response:
            order.append("send")
            return send(self, request, **how)

        monkeypatch.setattr(httpx2.Client, "close", noted_close)
        monkeypatch.setattr(httpx2.Client, "send", noted_send)
        client.get(provider.url)
        assert order == ["close"] * (AT_ONCE - 1) + ["send"]
