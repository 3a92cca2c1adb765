"""Authorised calls over kept connections: answers, credentials, proxies, certificates, and how a call ends."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pycurl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import TransportError

from subscriber import sessions
from subscriber.emulators import free_port
from subscriber.errors import ConfigError
from subscriber.sessions import Answer, Session, find_credentials

SECONDS = 5.0
OK = (200, {"Content-Type": "application/json"}, b'{"a": "\xc3\xa4"}')


@dataclass
class Peer:
    """A server at `url`, and what it was asked: method, target, headers and body."""

    url: str
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    def told(self, header: str) -> list[str]:
        return [headers.get(header, "") for _, _, headers, _ in self.asked]


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes], tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """It gives these answers, the last one again and again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            peer.connections += 1
            super().setup()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            peer.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, data = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            """Not here."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust us hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        peer = Peer(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield peer
        finally:
            server.shutdown()
            thread.join()


def session(connections: int = 1) -> Session:
    return Session(AnonymousCredentials(), connections)  # type: ignore[no-untyped-call]


def ask(url: str, method: str = "GET", body: bytes | None = None, *, seconds: float = SECONDS) -> Answer:
    """Over a session of its own."""
    return session().ask(method, url, {"X-Ours": "a b"}, body, seconds=seconds)


class Passing(Credentials):
    """Credentials whose token is new after each refresh."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refreshed = 0

    def before_request(self, _request: Any, _method: Any, _url: Any, headers: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {self.refreshed}"

    def refresh(self, _request: Any) -> None:
        self.refreshed += 1


@pytest.mark.parametrize("answer", [OK, (404, {}, b"no"), (204, {}, b""), (503, {}, b"later")])
def test_whatever_is_answered_comes_back(answer: tuple[int, dict[str, str], bytes]) -> None:
    with answering(answer) as peer:
        assert ask(f"{peer.url}/b/%20x?c=d") == (answer[0], answer[2])
    assert [(method, target) for method, target, _, _ in peer.asked] == [("GET", "/b/%20x?c=d")]
    assert peer.told("X-Ours") == ["a b"]


def test_what_is_packed_stays_packed() -> None:
    packed = gzip.compress(b"b")
    with answering((200, {"Content-Encoding": "gzip"}, packed)) as peer:
        assert ask(f"{peer.url}/").body == packed


@pytest.mark.parametrize("body", [b"", b"a\0b", bytes(3_000_000)], ids=len)
def test_a_body_goes_out_at_once_whatever_it_holds(body: bytes) -> None:
    """A long one without asking first whether it may."""
    with answering(OK) as peer:
        ask(f"{peer.url}/", "POST", body)
    assert (peer.asked[0][0], peer.asked[0][3], peer.told("Expect")) == ("POST", body, [""])


def test_a_connection_serves_one_call_after_the_other_also_of_other_kinds() -> None:
    with answering(OK) as peer:
        ours = session()
        for method, body in [("POST", b"a"), ("GET", None), ("POST", b"")]:
            ours.ask(method, f"{peer.url}/", {}, body, seconds=SECONDS)
    assert [(method, sent) for method, _, _, sent in peer.asked] == [("POST", b"a"), ("GET", b""), ("POST", b"")]
    assert peer.connections == 1


def test_threads_keep_a_connection_each() -> None:
    threads, rounds = 8, 5
    together = threading.Barrier(threads)
    with answering(OK) as peer, ThreadPoolExecutor(threads) as pool:
        ours = session(threads)

        def use(_: int) -> None:
            together.wait(timeout=30)
            ours.ask("GET", f"{peer.url}/", {}, seconds=SECONDS)

        list(pool.map(use, range(threads * rounds)))
    assert len(peer.asked) == threads * rounds
    assert peer.connections <= threads


def test_a_kept_connection_that_the_server_has_closed_costs_nothing() -> None:
    with answering((200, {"Connection": "close"}, b"last words")) as peer:
        ours = session()
        for _ in range(3):
            assert ours.ask("GET", f"{peer.url}/", {}, seconds=SECONDS).body == b"last words"


def test_a_server_that_does_not_answer_in_time_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(ConnectionError, match="timed out"):
        ask(f"http://127.0.0.1:{deaf.getsockname()[1]}/", seconds=0.05)


def test_a_server_that_falls_silent_is_given_up_however_long_the_call_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_SILENT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(ConnectionError, match="too slow"):
        ask(f"http://127.0.0.1:{deaf.getsockname()[1]}/", "POST", bytes(100), seconds=60)


def test_dots_in_a_path_are_sent_as_they_are() -> None:
    with answering(OK) as peer:
        ask(f"{peer.url}/b/bucket/o/..")
    assert peer.asked[0][1] == "/b/bucket/o/.."


def test_an_answer_that_ends_too_soon_is_none() -> None:
    cut_off = (200, {"Content-Length": "9", "Connection": "close"}, b"a")
    with answering(cut_off) as peer, pytest.raises(ConnectionError):
        ask(f"{peer.url}/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{free}/", "http://no-such-host.invalid/"])
def test_whatever_happens_on_the_way_is_a_connection_error_that_names_the_call(url: str) -> None:
    with pytest.raises(ConnectionError, match="GET http"):
        ask(url.format(free=free_port()))


def test_each_call_is_authorised_and_a_401_renews_the_credentials_once() -> None:
    with answering((401, {}, b""), OK, (401, {}, b"no")) as peer:
        ours = Session(Passing(), 1)
        assert [ours.ask("GET", f"{peer.url}/", {}, seconds=SECONDS).status for _ in range(2)] == [200, 401]
    assert peer.told("Authorization") == ["Bearer 0", "Bearer 1", "Bearer 1", "Bearer 2"]


class Asking(Passing):
    """Credentials that must ask for a token first."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def before_request(self, request: Any, *_: Any) -> None:
        request(url=self.url, method="POST")


def test_a_server_of_tokens_that_does_not_answer_holds_no_call_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_RENEWAL_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        ours = Session(Asking(f"http://127.0.0.1:{deaf.getsockname()[1]}/"), 1)
        with pytest.raises(TransportError, match="timed out"):
            ours.ask("GET", "http://127.0.0.1:1/", {}, seconds=SECONDS)


def test_the_environments_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(OK) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        ask("http://storage.test/a?b")
    assert [target for _, target, _, _ in proxy.asked] == ["http://storage.test/a?b"]


def test_no_proxy_is_asked_for_what_the_environment_excepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(OK) as peer:
        ask(f"{peer.url}/a")
    assert [target for _, target, _, _ in peer.asked] == ["/a"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1 and by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "server.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_certificates_are_those_that_the_environment_names(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with answering(OK, tls=tls) as peer:
        with pytest.raises(ConnectionError, match="certificate"):
            ask(f"{peer.url}/")
        assert not peer.asked, "a server that nobody vouches for hears nothing"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert ask(f"{peer.url}/").body == OK[2]


def test_a_folder_of_certificates_is_one_for_servers_and_for_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    options = sessions._usual_options()
    assert options[pycurl.CAPATH] == options[pycurl.PROXY_CAPATH] == str(tmp_path)
    assert not {pycurl.CAINFO, pycurl.PROXY_CAINFO} & options.keys()


def test_without_credentials_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(ConfigError, match="gcloud auth application-default login"):
        find_credentials((), emulator=False)
