"""The connections to Google's services: how long a dead one is believed in, what a message may hold, what a call costs.

The law of this file: a dead connection ends by itself, within the deadline of the call that meets it.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

import grpc
import grpc.experimental
import requests
import requests.adapters
import urllib3.connection
from google.auth.exceptions import DefaultCredentialsError

from subscriber.errors import ConfigError

__all__ = ["KeptAliveAdapter", "open_channel", "tune_session"]


def _tcp_options(**options: int) -> list[tuple[int, int, int]]:
    """As sockets take them; without those that this system does not know."""
    known = {name: value for name, value in options.items() if hasattr(socket, name)}
    return [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in known.items()]


OPTIONS = (
    # A NAT or a firewall forgets an idle connection without a word. The timeout is also TCP's limit for bytes that
    # nobody acknowledges, so the first call after the silence ends the dead connection within our deadlines, not after
    # the kernel's 15 minutes. No pings without calls: servers may close a connection that sends them.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # The same for what acknowledges and passes nothing on: without it an unanswered ping is waited for for a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # By default gRPC looks for a server that was away only every two minutes; our pause is to end sooner.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Pub/Sub takes messages of 10 MB; gRPC's own limit of 4 MB would block the subscription behind such a one.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A read of one document is a stream to gRPC, and by default gets a thread that hands its answer over.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
)


HTTP_OPTIONS = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # Google's own firewall forgets after ten minutes. Asked once a minute it remembers, and a pooled connection that is
    # dead all the same has ended before it is used.
    *_tcp_options(TCP_KEEPIDLE=60, TCP_KEEPINTVL=10),
    # Milliseconds, as gRPC's above: how long bytes may stay unacknowledged.
    *_tcp_options(TCP_USER_TIMEOUT=10_000),
]


class KeptAliveAdapter(requests.adapters.HTTPAdapter):
    """A pool for `requests` whose idle connections do not die unnoticed."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As `requests` asks for it."""
        super().init_poolmanager(*args, **options, socket_options=HTTP_OPTIONS)


class _Transport(Protocol):
    @classmethod
    def create_channel(cls, *args: Any, **kwargs: Any) -> grpc.Channel:
        """As Google's transports have it."""


def open_channel(transport: type[_Transport], emulator_host: str | None) -> grpc.Channel:
    """A channel to the transport's service, or to its emulator. Raises ConfigError where no credentials are found."""
    if emulator_host:
        return grpc.insecure_channel(emulator_host, options=OPTIONS)
    try:
        return transport.create_channel(options=OPTIONS)
    except DefaultCredentialsError as error:
        remedy = "gcloud auth application-default login"
        raise ConfigError("GOOGLE_APPLICATION_CREDENTIALS", str(error), remedy) from error


def tune_session(session: requests.Session, endpoint: str, connections: int) -> None:
    """Give every thread its connection, where fewer would shake hands anew under load, and read the environment once.

    By itself a session looks there for proxies, certificates and a netrc file before every call: half of its cost.
    """
    adapter = KeptAliveAdapter(pool_maxsize=connections)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    found = session.merge_environment_settings(endpoint, {}, None, None, None)
    session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
    session.trust_env = False
