"""What goes over the wire between a contender and its neighbours, by name: relays that count before the emulators.

They cost some of the two cores and a millisecond or two a call, so races are timed without them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.cloud.firestore_v1.types import CommitRequest
from google.pubsub_v1.types import AcknowledgeRequest, PullResponse, ReceivedMessage, StreamingPullResponse

from subscriber.emulators import Emulators
from tests.front import Front, Refusal
from tests.relay import Relay

__all__ = ["Seen", "wire"]


@dataclass
class Seen:
    """Calls by name; when the first message was asked for (monotonic seconds); and how long messages took to be acked.

    `ack_waits` is by message id, in seconds from Pub/Sub's own publish time to the first ack's answer.
    """

    calls: Counter[str] = field(default_factory=Counter)
    first_pull: float | None = None
    ack_waits: dict[str, float] = field(default_factory=dict)
    _messages: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, name: str, times: int = 1) -> None:
        """So many of this name."""
        with self._lock:
            self.calls[name] += times
            if name.endswith("Pull") and self.first_pull is None:
                self.first_pull = time.monotonic()

    def delivered(self, messages: list[ReceivedMessage]) -> None:
        """Remember by which ack id each is acked."""
        with self._lock:
            for one in messages:
                self._messages[one.ack_id] = one.message.message_id, one.message.publish_time.timestamp()

    def acked(self, ack_ids: list[str]) -> None:
        """Their acks were answered just now."""
        with self._lock:
            for message, published in (self._messages[one] for one in ack_ids if one in self._messages):
                self.ack_waits.setdefault(message, time.time() - published)

    def reset(self) -> None:
        """Forget the calls so far."""
        with self._lock:
            self.calls.clear()


class _CountingRelay(Relay):
    """Passes streams on, too: the high-level client pulls with one."""

    def __init__(self, target: str, seen: Seen) -> None:
        super().__init__(target)
        self._seen = seen

    def service(self, call: Any) -> Any:
        """As gRPC asks for the handler of one call."""
        service, name = call.method.rsplit("/", 1)
        self._seen.call(f"{service.rsplit('.', 1)[1]}.{name}")
        if name != "StreamingPull":
            return super().service(call)
        forward = self._channel.stream_stream(call.method)
        return grpc.stream_stream_rpc_method_handler(lambda requests, at: self._pulls(forward, requests, at))

    def _one(self, call: Any, forward: Any, request: bytes, at: Any) -> bytes:
        answer = super()._one(call, forward, request, at)
        if call.method.endswith("/Pull"):
            self._seen.delivered(list(PullResponse.deserialize(answer).received_messages))
        elif call.method.endswith("/Acknowledge"):
            self._seen.acked(list(AcknowledgeRequest.deserialize(request).ack_ids))
        elif call.method.endswith("/Commit"):
            self._seen.call("documents written", len(CommitRequest.deserialize(request).writes))
        return answer

    def _pulls(self, forward: Any, requests: Iterator[bytes], at: Any) -> Iterator[bytes]:
        stream = forward(requests, metadata=at.invocation_metadata())
        at.add_callback(stream.cancel)
        for answer in stream:
            self._seen.delivered(list(StreamingPullResponse.deserialize(answer).received_messages))
            yield answer


class _CountingFront(Front):
    def __init__(self, target: str, seen: Seen) -> None:
        super().__init__(target)
        self._seen = seen

    def meets(self, method: str, names: str) -> Refusal | None:
        """Count it and let it pass."""
        path = names.split(" ", 1)[0]
        self._seen.call(f"Storage.{_kind(method, path)}")
        return super().meets(method, names)


def _kind(method: str, path: str) -> str:
    """What a request to the storage does."""
    if path.startswith("/upload/"):
        return "write object"
    if "alt=media" in path or path.startswith("/download/"):
        return "read object"
    known = {"GET": "look at object", "DELETE": "delete object", "PATCH": "change object", "POST": "other"}
    return known.get(method, method) if "/o/" in path else f"{method} bucket"


@contextmanager
def wire(servers: Emulators, *, pubsub_only: bool = False) -> Iterator[tuple[Emulators, Seen]]:
    """Addresses to be used in the servers' places, and what is seen there."""
    seen = Seen()
    with ExitStack() as stack:
        pubsub = stack.enter_context(_CountingRelay(servers.pubsub_host, seen))
        servers = replace(servers, pubsub_host=pubsub.address)
        if not pubsub_only:
            firestore = stack.enter_context(_CountingRelay(servers.firestore_host, seen))
            front = stack.enter_context(_CountingFront(servers.storage_url, seen))
            servers = replace(servers, firestore_host=firestore.address, storage_url=front.url)
        yield servers, seen
