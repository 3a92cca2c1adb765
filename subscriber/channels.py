"""The gRPC connections to Google's services: how long a dead one is believed in, and what a message may hold.

The law of this file: a dead connection ends by itself, within the deadline of the call that meets it.
"""

from __future__ import annotations

from typing import Any, Protocol

import grpc
import grpc.experimental
from google.auth.exceptions import DefaultCredentialsError

from subscriber.errors import ConfigError

__all__ = ["open_channel"]


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
