"""Authorised HTTP calls over kept connections, by libcurl: what a call costs, and how long a dead one is believed in.

The law of this file: every call ends by itself, and every call may be made twice. Where a kept connection turns out to
be closed before a byte of the answer has come, libcurl sends the request again on a new one. What we ask of Cloud
Storage names a generation, so that twice is as good as once; a request that is paid for must never go this way.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import pycurl
import requests
from google.auth import default
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import Request

from subscriber import __version__
from subscriber.errors import ConfigError

__all__ = ["Answer", "Session", "find_credentials"]

_CONNECT_MS = 5_000

_SILENT_SECONDS = 10
"""Without a byte a connection is taken for dead, however long a call may last."""

_RENEWAL_SECONDS = 10.0
"""For new credentials."""

_QUICK_EXIT = 322
"""CURLOPT_QUICK_EXIT, which pycurl has no name for: a call that ends while a host is looked up waits for nobody."""

_IDLE_SECONDS = 60
"""A connection that was idle for longer is not used again: a NAT or a firewall may have forgotten it. Google's own does
after ten minutes; others are known that take four."""

_BUFFER_BYTES = 128 * 1024
"""What libcurl hands over at once; each time it waits for Python's lock."""


class Answer(NamedTuple):
    """Of an HTTP server."""

    status: int
    body: bytes


class Session:
    """For any number of threads; of their connections at most `connections` are kept, with fewer threads fewer."""

    def __init__(self, credentials: Any, connections: int) -> None:
        self._credentials = credentials
        self._renewal = partial(Request(), timeout=_RENEWAL_SECONDS)
        self._idle: deque[Any] = deque(maxlen=connections)
        self._usual = _usual_options()

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, seconds: float
    ) -> Answer:
        """Return whatever is answered within so many seconds. A 401 renews the credentials, once.

        Raises ConnectionError for all that happens on the way, and errors of google.auth.
        """
        answer = self._ask(method, url, dict(headers), body, seconds)
        if answer.status == requests.codes.unauthorized:
            self._credentials.refresh(self._renewal)
            answer = self._ask(method, url, dict(headers), body, seconds)
        return answer

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None, seconds: float) -> Answer:
        self._credentials.before_request(self._renewal, method, url, headers)
        curl, sink = self._connection(), io.BytesIO()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        # Without the empty one libcurl would ask whether it may send a long body, and wait for the answer.
        curl.setopt(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in headers.items()), "Expect:"])
        if body is not None:
            curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))
        curl.setopt(pycurl.WRITEDATA, sink)
        try:
            curl.perform()
        except pycurl.error as error:
            raise ConnectionError(f"{method} {url.partition('?')[0]}: {curl.errstr() or error}") from error
        answer = Answer(curl.getinfo(pycurl.RESPONSE_CODE), sink.getvalue())
        curl.reset()  # of its options, and so of the bodies; the connection stays
        self._idle.append(curl)
        return answer

    def _connection(self) -> Any:
        """The one that was used last, or a new one."""
        try:
            curl = self._idle.pop()
        except IndexError:
            curl = pycurl.Curl()
        for option, value in self._usual.items():
            curl.setopt(option, value)
        return curl


def _usual_options() -> dict[int, Any]:
    """Those of every call. For the environment's proxy libcurl itself looks, and for no configuration of its own."""
    # The certificates that the environment names, else the usual ones: as `requests` has it, for a proxy too.
    named = requests.Session().merge_environment_settings("https://", {}, None, None, None)["verify"]
    trusted = named if isinstance(named, str) else certifi.where()
    folder = Path(trusted).is_dir()
    return {
        pycurl.CAPATH if folder else pycurl.CAINFO: trusted,
        pycurl.PROXY_CAPATH if folder else pycurl.PROXY_CAINFO: trusted,
        pycurl.USERAGENT: f"subscriber/{__version__}",
        pycurl.NOSIGNAL: 1,  # its time limits would otherwise be signals, which are the process's
        pycurl.CONNECTTIMEOUT_MS: _CONNECT_MS,
        pycurl.LOW_SPEED_LIMIT: 1,
        pycurl.LOW_SPEED_TIME: _SILENT_SECONDS,
        pycurl.MAXAGE_CONN: _IDLE_SECONDS,
        pycurl.BUFFERSIZE: _BUFFER_BYTES,
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,  # a connection serves one call at a time anyway
        pycurl.PATH_AS_IS: 1,  # dots in a path may be an object's name
        _QUICK_EXIT: 1,
    }


def find_credentials(scopes: Sequence[str], *, emulator: bool) -> Any:
    """Those that the environment offers; none for an emulator. Raises ConfigError where none are found."""
    if emulator:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        return default(scopes=scopes)[0]
    except DefaultCredentialsError as error:
        remedy = "gcloud auth application-default login"
        raise ConfigError("GOOGLE_APPLICATION_CREDENTIALS", str(error), remedy) from error
