"""The HTTP connections to Cloud Storage: how long a dead one is believed in, and what a call costs.

The law of this file: a dead connection ends by itself, within the deadline of the call that meets it; and between
Google's client, which asks as it would ask `requests`, and urllib3, which answers, nothing is prepared twice.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection
from google.auth import default
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import AuthorizedSession

from subscriber.errors import ConfigError

__all__ = ["open_session"]


def _tcp_options(**options: int) -> list[tuple[int, int, int]]:
    """As sockets take them; without those that this system does not know."""
    known = {name: value for name, value in options.items() if hasattr(socket, name)}
    return [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in known.items()]


HTTP_OPTIONS = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # Google's own firewall forgets after ten minutes. Asked once a minute it remembers, and a pooled connection that is
    # dead all the same has ended before it is used.
    *_tcp_options(TCP_KEEPIDLE=60, TCP_KEEPINTVL=10),
    # Milliseconds, as gRPC's: how long bytes may stay unacknowledged.
    *_tcp_options(TCP_USER_TIMEOUT=10_000),
]

_ONCE = urllib3.Retry(total=False, redirect=False)
"""Google's client tries again by itself."""

_REFRESH_SECONDS = 300
"""For new credentials; as Google's client has it."""


class _KeptAliveAdapter(requests.adapters.HTTPAdapter):
    """A pool for `requests` whose idle connections do not die unnoticed."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As `requests` asks for it."""
        super().init_poolmanager(*args, **options, socket_options=HTTP_OPTIONS)


class _Answer(requests.Response):
    """As `requests` would have made it of what urllib3 has received, without cookies, history and hooks."""

    def __init__(self, method: str, url: str, raw: urllib3.BaseHTTPResponse, *, received: bool) -> None:
        super().__init__()
        self.request = requests.PreparedRequest()  # errors tell of it
        self.request.method, self.request.url = method, url
        self.status_code, self.reason, self.url = raw.status, raw.reason or "", url
        self.headers = raw.headers  # type: ignore[assignment] # which does not care for case either
        self.raw = raw
        if received:
            self._content, self._content_consumed = raw.data, True


class _Straight(requests.Session):
    """Asks urllib3 at once. What `requests` prepares before each call is half of its cost, and always the same here."""

    def __init__(self) -> None:
        super().__init__()
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}

    def request(  # type: ignore[override] # of its many arguments those that Google's client passes
        self,
        method: str,
        url: str,
        data: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        timeout: tuple[float, float] | float | None = None,
        *,
        stream: bool = False,
    ) -> requests.Response:
        """As `requests.Session.request`; redirects, which Cloud Storage does not send, are not followed.

        Raises requests.ConnectionError for all that happens on the way, which is what Google's client tries again.
        """
        host_at = url.index("//") + 2
        path_at = url.index("/", host_at)
        pool = self._pools.get(url[:path_at]) or self._open(url[:path_at])
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        try:
            raw = pool.urlopen(
                method,
                url if pool.proxy and pool.scheme == "http" else url[path_at:],
                data.encode() if isinstance(data, str) else data,
                headers,
                _ONCE,
                timeout=urllib3.Timeout(connect=connect, read=read),
                assert_same_host=False,
                preload_content=not stream,
                decode_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from error
        return _Answer(method, url, raw, received=not stream)

    def _open(self, origin: str) -> urllib3.HTTPConnectionPool:
        """The connections to a server, through the proxy and with the certificates that the environment names.

        Read once: to look for them, and for a netrc file, before every call would cost as much as the rest of it.
        """
        adapter = self.get_adapter(origin)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)  # noqa: S101 - we mounted it ourselves
        settings = self.merge_environment_settings(origin, {}, None, None, None)
        self._pools[origin] = adapter.get_connection_with_tls_context(
            requests.Request("GET", origin).prepare(), settings["verify"], settings["proxies"], settings["cert"]
        )
        return self._pools[origin]


class _Session(AuthorizedSession, _Straight):  # type: ignore[misc] # a narrower `request`
    """Google's session, which authorises each call and renews its credentials; it asks urllib3 at once."""


def open_session(scopes: Sequence[str], connections: int, *, emulator: bool) -> AuthorizedSession:
    """A session with a connection for each of so many threads; with fewer they would shake hands anew under load.

    Raises ConfigError where no credentials are found.
    """
    try:
        credentials = AnonymousCredentials() if emulator else default(scopes=scopes)[0]  # type: ignore[no-untyped-call]
    except DefaultCredentialsError as error:
        remedy = "gcloud auth application-default login"
        raise ConfigError("GOOGLE_APPLICATION_CREDENTIALS", str(error), remedy) from error
    session = _Session(credentials, refresh_timeout=_REFRESH_SECONDS)  # type: ignore[no-untyped-call]
    for scheme in ("https://", "http://"):
        session.mount(scheme, _KeptAliveAdapter(pool_maxsize=connections))
    return session
