"""A dead connection ends by itself, and the next call goes on a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run
import pytest
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from subscriber import channels
from tests.valve import Valve

SOON = 30.0
"""Bound of every call; none comes near it."""


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Any call is answered by what it asks."""

    def service(self, _: object) -> Any:
        """As gRPC asks for the handler of one call."""
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


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
