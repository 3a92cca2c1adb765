import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from subscriber import web
from subscriber.errors import ConfigError
from subscriber.page import load_page
from subscriber.web import WebServer


class Daemon:
    def __init__(self) -> None:
        self.is_live = True
        self.is_ready = False

    def metrics(self) -> bytes:
        return b"subscriber_draining 0.0\n"

    def live(self) -> bool:
        return self.is_live

    def ready(self) -> tuple[bool, dict[str, object]]:
        return self.is_ready, {"state": "pulling" if self.is_ready else "starting"}

    def status(self) -> dict[str, object]:
        return {"state": "pulling", "jobs": []}


def serving(daemon: Daemon, port: int = 0) -> WebServer:
    return WebServer(port, daemon.metrics, daemon.live, daemon.ready, status=daemon.status, host="127.0.0.1")


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def server(daemon: Daemon) -> Iterator[WebServer]:
    with serving(daemon) as running:
        yield running


def ask(server: WebServer, path: str, method: str = "GET", body: bytes | None = None) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response, response.read()


def raw(server: WebServer, request: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(request)
    return connection


def everything(connection: socket.socket) -> bytes:
    received = b""
    while more := connection.recv(4096):
        received += more
    return received


def test_metrics_are_prometheus_text(server: WebServer) -> None:
    response, body = ask(server, "/metrics")
    assert response.status == 200
    assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert body == b"subscriber_draining 0.0\n"


def test_livez_follows_the_daemon(server: WebServer, daemon: Daemon) -> None:
    assert ask(server, "/livez")[0].status == 200
    daemon.is_live = False
    assert ask(server, "/livez")[0].status == 503


def test_readyz_says_which_and_why(server: WebServer, daemon: Daemon) -> None:
    response, body = ask(server, "/readyz")
    assert (response.status, json.loads(body)) == (503, {"ok": False, "state": "starting"})
    daemon.is_ready = True
    response, body = ask(server, "/readyz?verbose")
    assert (response.status, json.loads(body)) == (200, {"ok": True, "state": "pulling"})
    assert response.getheader("Content-Type") == "application/json"


def test_the_status_is_json_and_only_there_if_it_is_wanted(server: WebServer, daemon: Daemon) -> None:
    response, body = ask(server, "/api/status")
    assert (response.status, json.loads(body)) == (200, {"state": "pulling", "jobs": []})
    with WebServer(0, daemon.metrics, daemon.live, daemon.ready, host="127.0.0.1") as other:
        assert [ask(other, path)[0].status for path in ("/api/status", "/")] == [404, 404]


def test_the_page_comes_with_its_policy_and_is_not_kept(server: WebServer) -> None:
    page = load_page()
    response, body = ask(server, "/?from=bookmark")
    assert (response.status, body) == (200, page.body)
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert response.getheader("Content-Security-Policy") == page.policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Referrer-Policy") == "no-referrer"
    assert response.getheader("Cache-Control") == "no-store"


@pytest.mark.parametrize("path", ["/index.html", "/metrics/", "/livez/../metrics", "//", "/favicon.ico"])
def test_any_other_path_is_not_found(server: WebServer, path: str) -> None:
    assert ask(server, path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_any_other_method_is_not_allowed_and_its_body_ignored(server: WebServer, method: str) -> None:
    response, _ = ask(server, "/metrics", method, body=b"x" * 50_000)
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


def test_head_is_get_without_the_body(server: WebServer) -> None:
    head, nothing = ask(server, "/metrics", "HEAD")
    get, body = ask(server, "/metrics")
    assert nothing == b""
    assert head.getheaders() == get.getheaders()
    assert head.getheader("Content-Length") == str(len(body))


def test_no_answer_tells_what_serves_it(server: WebServer) -> None:
    assert ask(server, "/livez")[0].getheader("Server") is None


@pytest.mark.parametrize("request_line", [b"GET /metrics", b"hello", b"GET  HTTP/1.1", b"GET /metrics SPDY/3", b"\xff"])
def test_what_is_no_request_is_refused(server: WebServer, request_line: bytes) -> None:
    with raw(server, request_line + b"\r\n\r\n") as connection:
        assert everything(connection).split()[1] in {b"400", b"404"}


def test_an_endless_head_is_refused_at_its_limit(server: WebServer) -> None:
    with raw(server, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * web.HEAD_BYTES) as connection:
        assert everything(connection).split()[1] == b"431"


def test_a_slow_client_is_cut_off_while_others_are_served(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then must not count as being alive: the limit is on the whole request."""
    monkeypatch.setattr(web, "CLIENT_SECONDS", 0.5)
    began = time.monotonic()
    with raw(server, b"GET /metrics HTTP/1.1\r\n") as slow:
        slow.settimeout(0.05)
        while True:
            assert ask(server, "/livez")[0].status == 200
            try:
                slow.sendall(b"X")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert 0.4 < time.monotonic() - began < 5


def test_more_clients_than_places_are_told_so_and_the_places_come_back(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "CLIENT_SECONDS", 60.0)
    waiting = [raw(server) for _ in range(web.MAX_CONNECTIONS)]
    with raw(server) as one_more:
        assert everything(one_more).split()[1] == b"503"
    for connection in waiting:
        connection.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        assert everything(connection).split()[1] == b"200"
        connection.close()
    while raw_status(server) == 503:
        pass
    assert raw_status(server) == 200


def raw_status(server: WebServer) -> int:
    with raw(server, b"GET /livez HTTP/1.1\r\n\r\n") as connection:
        try:
            return int(everything(connection).split()[1])
        except ConnectionResetError:
            return 503


def test_a_client_that_leaves_disturbs_nobody(server: WebServer) -> None:
    for request in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        raw(server, request).close()
    assert ask(server, "/livez")[0].status == 200


def test_a_figure_that_fails_fails_the_probe_and_not_the_server(
    server: WebServer, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "is_ready", {1, 2})  # JSON takes no sets
    with raw(server, b"GET /readyz HTTP/1.1\r\n\r\n") as connection:
        assert everything(connection) == b""
    assert ask(server, "/livez")[0].status == 200


def test_a_taken_port_is_a_mistake_of_configuration(server: WebServer, daemon: Daemon) -> None:
    with pytest.raises(ConfigError, match=f"PORT: {server.port} cannot be listened on: Address already in use"):
        serving(daemon, server.port).__enter__()


def test_stopping_twice_or_before_the_start_is_fine_and_frees_the_port(daemon: Daemon) -> None:
    server = serving(daemon)
    server.stop()
    with server:
        port = server.port
        server.stop()
        server.stop()
    with serving(daemon, port) as next_one:
        assert ask(next_one, "/livez")[0].status == 200
