"""What Google's client is given in the place of `requests`: the same answers, credentials, proxies and certificates."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from google.auth.credentials import Credentials

from subscriber import sessions
from subscriber.emulators import free_port
from subscriber.errors import ConfigError
from subscriber.sessions import open_session

TIMEOUT = (5.0, 5.0)


class Asked(list[tuple[str, str, str, bytes]]):
    """Method, target, Authorization and body of each request that a server got."""


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, Asked]]:
    """A server that gives these answers, the last one again and again; its URL, and what it was asked."""
    asked, left = Asked(), list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
            status, headers, data = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            """Not here."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, method: str = "GET", *, emulator: bool = True, **how: Any) -> requests.Response:
    """Over a session of its own."""
    session: Any = open_session((), 1, emulator=emulator)
    answer: requests.Response = session.request(method, url, timeout=TIMEOUT, **how)
    return answer


OK = (200, {"Content-Type": "application/json"}, b'{"a": "\xc3\xa4"}')


class Passing(Credentials):
    """Credentials whose token is new after each refresh."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refreshed = 0

    def before_request(self, _request: Any, _method: Any, _url: Any, headers: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {self.refreshed}"

    def refresh(self, _request: Any) -> None:
        self.refreshed += 1


def test_an_answer_is_what_requests_makes_of_it() -> None:
    packed = (200, {"Content-Encoding": "gzip", "x-Goog-Hash": "a", "Content-Type": "text/plain"}, gzip.compress(b"b"))
    for answer in (OK, packed, (404, {}, b"no"), (204, {}, b"")):
        with answering(answer) as (url, _):
            ours = ask(f"{url}/b/%20x?c=d")
            theirs = requests.get(f"{url}/b/%20x?c=d", timeout=5.0)
        for name in ("status_code", "ok", "content", "reason", "url"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.headers.get("X-GOOG-HASH") == theirs.headers.get("X-GOOG-HASH")
        assert (ours.request.method, ours.request.url) == ("GET", f"{url}/b/%20x?c=d")
        assert ours.text == theirs.text


def test_a_streamed_answer_is_handed_on_packed_as_it_was() -> None:
    packed = gzip.compress(b"b")
    with answering((200, {"Content-Encoding": "gzip"}, packed)) as (url, _):
        answer = ask(f"{url}/", stream=True)
        assert b"".join(answer.raw.stream(10, decode_content=False)) == packed


def test_text_goes_out_as_utf8() -> None:
    with answering(OK) as (url, asked):
        ask(f"{url}/", "POST", data="ä", headers={})
    assert asked[0][3] == "ä".encode()


@pytest.mark.parametrize("timeout", [(5.0, 0.05), 0.05])
def test_a_server_that_does_not_answer_in_time_is_given_up(timeout: Any) -> None:
    """Google's client has limits of its own, which are one number, where it is told none."""
    session: Any = open_session((), 1, emulator=True)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(requests.ConnectionError, match="timed out"):
            session.request("GET", url, timeout=timeout)


def test_each_call_is_authorised_and_a_401_renews_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Passing()
    monkeypatch.setattr(sessions, "default", lambda **_: (credentials, None))
    with answering((401, {}, b""), OK) as (url, asked):
        assert ask(f"{url}/", emulator=False).ok
    assert [authorization for _, _, authorization, _ in asked] == ["Bearer 0", "Bearer 1"]


def test_the_environments_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(OK) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        ask("http://storage.test/a?b")
    assert [target for _, target, _, _ in asked] == ["http://storage.test/a?b"]


def test_no_proxy_is_asked_for_what_the_environment_excepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(OK) as (url, asked):
        ask(f"{url}/a")
    assert [target for _, target, _, _ in asked] == ["/a"]


def test_certificates_are_those_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with answering(OK) as (url, _), pytest.raises(requests.ConnectionError, match="No such file"):
        ask(url.replace("http", "https") + "/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{free}/", "http://no-such-host.invalid/"])
def test_whatever_happens_on_the_way_is_what_googles_client_tries_again(url: str) -> None:
    with pytest.raises(requests.ConnectionError):
        ask(url.format(free=free_port()))


def test_without_credentials_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(ConfigError, match="gcloud auth application-default login"):
        open_session((), 1, emulator=False)
