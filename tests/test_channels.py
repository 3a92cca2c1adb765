"""A dead connection ends by itself, and the next call goes on a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run
import pytest
from google.api_core.exceptions import PermissionDenied
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import AcknowledgeRequest, PullRequest

from subscriber import channels
from tests.valve import Valve

SOON = 30.0
"""Bound of every call; none comes near it."""


ASKED: list[tuple[str, bytes, str]] = []
"""Method, request and routing of every call."""


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Any call is answered by what it asks; a method that ends in Streaming says it twice."""

    def service(self, call: Any) -> Any:
        """As gRPC asks for the handler of one call."""

        def answer(request: bytes, at: Any) -> bytes:
            ASKED.append((call.method, request, dict(at.invocation_metadata()).get("x-goog-request-params", "")))
            if request == b"refuse":
                at.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
            return request

        if call.method.endswith("Streaming"):
            return grpc.unary_stream_rpc_method_handler(lambda request, at: iter([answer(request, at)] * 2))
        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def echo() -> Iterator[str]:
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, handlers=[Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(grace=None)


def test_a_dead_connection_ends_by_a_ping_during_its_next_call(echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something in between has forgotten it, and tells nobody. Here pings come thirty times as often."""
    often = [(name, value // 30 if name == "grpc.keepalive_time_ms" else value) for name, value in channels.OPTIONS]
    monkeypatch.setattr(channels, "OPTIONS", often)
    with Valve(echo) as valve, channels.open_channel(PublisherGrpcTransport, valve.address) as channel:
        call: Callable[..., bytes] = channel.unary_unary("/any/call")
        assert call(b"one", timeout=SOON) == b"one"
        valve.forget()
        with pytest.raises(grpc.RpcError) as ended:
            call(b"two", timeout=SOON)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE, "not by its own deadline"
        assert call(b"three", timeout=SOON, wait_for_ready=True) == b"three"


SUBSCRIPTION = "projects/p/subscriptions/a b"


def test_a_call_on_grpc_itself_sends_what_googles_client_sends(echo: str) -> None:
    with channels.open_channel(SubscriberGrpcTransport, echo) as channel:
        ASKED.clear()
        SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)).acknowledge(
            subscription=SUBSCRIPTION, ack_ids=["a", "b"], retry=None, timeout=SOON
        )
        method = "/google.pubsub.v1.Subscriber/Acknowledge"
        acknowledge = channels.rpc(
            channel, method, AcknowledgeRequest.pb(), AcknowledgeRequest.pb(), routed_by="subscription"
        )
        answer = acknowledge(SOON, subscription=SUBSCRIPTION, ack_ids=["a", "b"])
    theirs, ours = ASKED
    assert ours == theirs
    assert ours[2], "a front end can route it"
    assert (answer.subscription, list(answer.ack_ids)) == (SUBSCRIPTION, ["a", "b"])


def test_a_stream_of_answers_comes_one_by_one(echo: str) -> None:
    with channels.open_channel(SubscriberGrpcTransport, echo) as channel:
        pull = channels.rpc(
            channel, "/a/Streaming", PullRequest.pb(), PullRequest.pb(), routed_by="subscription", streamed=True
        )
        assert [one.max_messages for one in pull(SOON, subscription="s", max_messages=3)] == [3, 3]


@pytest.mark.parametrize("method", ["/a/Call", "/a/Streaming"])
def test_a_refusal_is_googles_exception(echo: str, method: str) -> None:
    class Refused:
        """A message that the server refuses."""

        def __init__(self, subscription: str) -> None:
            """As a message takes its fields."""

        @staticmethod
        def SerializeToString(_: object) -> bytes:  # noqa: N802 - protobuf's name
            return b"refuse"

    with channels.open_channel(SubscriberGrpcTransport, echo) as channel:
        call = channels.rpc(channel, method, Refused, routed_by="subscription", streamed=method.endswith("Streaming"))
        with pytest.raises(PermissionDenied, match="not you"):
            list(call(SOON, subscription="s"))
