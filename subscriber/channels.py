"""The gRPC connections to Google's services: how long a dead one is believed in, what a call holds and costs.

The law of this file: a dead connection ends by itself, within the deadline of the call that meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import grpc
import grpc.experimental
from google.api_core.exceptions import from_grpc_error
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.auth.exceptions import DefaultCredentialsError

from subscriber.errors import ConfigError

__all__ = ["open_channel", "rpc"]


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


def rpc(
    channel: grpc.Channel, method: str, request: Any, answer: Any = None, *, routed_by: str, streamed: bool = False
) -> Callable[..., Any]:
    """A method of a service, called on gRPC itself; `request` and `answer` are the protobuf classes of its messages.

    Without `answer` nobody reads what comes. Google's generated client puts wrappers for each message and field,
    retries and timeouts around the same call: we use none of them, and they cost as much again. `routed_by` is the
    field by which Google's front ends route; its value is sent as that client sends it.

    Returns `call(timeout, metadata=(), **fields)`, which gives the answer, or yields the answers where they are
    `streamed`. It raises GoogleAPICallError.
    """
    stub = (channel.unary_stream if streamed else channel.unary_unary)(
        method, request_serializer=request.SerializeToString, response_deserializer=answer and answer.FromString
    )

    def call(timeout: float, metadata: Sequence[tuple[str, str]] = (), **fields: Any) -> Any:
        routing = to_grpc_metadata(((routed_by, fields[routed_by]),))  # type: ignore[no-untyped-call]
        try:
            return stub(request(**fields), timeout=timeout, metadata=(routing, *metadata))
        except grpc.RpcError as error:
            raise from_grpc_error(error) from error  # type: ignore[no-untyped-call]

    def stream(*how: Any, **fields: Any) -> Iterator[Any]:
        """To be taken to its end, also with all in hand: until a call's status is taken gRPC holds 17 KB of it."""
        try:
            yield from call(*how, **fields)
        except grpc.RpcError as error:
            raise from_grpc_error(error) from error  # type: ignore[no-untyped-call]

    return stream if streamed else call
