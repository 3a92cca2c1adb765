"""A gRPC server that passes every call on to an emulator, and spoils those that a test names.

It stands behind the real client library, so what is tested is what the client makes of a fault, its timeouts included.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run

__all__ = ["Fault", "Relay"]

THREADS = 64
"""A pull holds one for seconds."""

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Fault:
    """Spoils the next `times` calls of a method.

    `code`: refused with it, before it is passed on, or with `applied` after. `silent`: never answered; with `applied`
    it was passed on. `late_seconds` is how long it is held back before. `change` alters the answer's bytes.
    """

    method: str
    code: Any = None
    times: int = 1
    applied: bool = False
    silent: bool = False
    late_seconds: float = 0.0
    change: Callable[[bytes], bytes] | None = None


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """`address` (host:port) is to be used in the emulator's place while the `with` block runs."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, options=UNLIMITED)
        self._threads = ThreadPoolExecutor(THREADS)
        self._server = grpc.server(self._threads, handlers=[self], options=UNLIMITED)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.address = ""
        self.calls: list[str] = []
        """The method of every call that came."""

    def __enter__(self) -> Self:
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._server.stop(grace=None)
        self._channel.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def spoil(self, fault: Fault) -> None:
        """From now on."""
        with self._lock:
            self._faults.append(fault)

    def spoiled(self) -> bool:
        """Whether every fault has happened as often as it shall."""
        with self._lock:
            return not self._faults

    def service(self, call: Any) -> Any:
        """As gRPC asks for the handler of one call."""
        self.calls.append(call.method.rpartition("/")[2])
        if call.method.endswith("/BatchGetDocuments"):
            forward = self._channel.unary_stream(call.method)
            return grpc.unary_stream_rpc_method_handler(lambda request, at: self._stream(call, forward, request, at))
        forward = self._channel.unary_unary(call.method)
        return grpc.unary_unary_rpc_method_handler(lambda request, at: self._one(call, forward, request, at))

    def _one(self, call: Any, forward: Any, request: bytes, at: Any) -> bytes:
        """All of the answer at once."""
        fault = self._fault(call.method)
        if fault and not fault.applied:
            self._refuse(fault, at)
        answer: bytes = _passed_on(lambda **how: forward(request, **how), at)
        if fault and fault.applied:
            self._refuse(fault, at)
        return fault.change(answer) if fault and fault.change else answer

    def _stream(self, call: Any, forward: Any, request: bytes, at: Any) -> Iterator[bytes]:
        if fault := self._fault(call.method):
            self._refuse(fault, at)
        yield from _passed_on(lambda **how: list(forward(request, **how)), at)

    def _fault(self, method: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if method.endswith(f"/{fault.method}"):
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                    return fault
        return None

    def _refuse(self, fault: Fault, at: Any) -> None:
        self._closed.wait(at.time_remaining() if fault.silent else fault.late_seconds)
        if fault.code or fault.silent:
            at.abort(fault.code or grpc.StatusCode.UNAVAILABLE, "spoiled by the test")


def _passed_on(forward: Callable[..., Any], at: Any) -> Any:
    """The emulator's own answer or refusal."""
    try:
        return forward(timeout=at.time_remaining(), metadata=at.invocation_metadata())
    except grpc.RpcError as error:
        at.abort(error.code(), error.details())
