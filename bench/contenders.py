"""Who races: how each is started as its users start it, when it is ready, and what message it takes for an object."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from bench.track import Lane, Notification
from subscriber.emulators import free_port
from tests.daemon import until

__all__ = ["CONTENDERS", "DAEMON", "Contender", "Program"]

ENDS_WITHIN_SECONDS = 5.0
READY_SECONDS = 60.0


class Program:
    """A process with its output in a file, while the `with` block runs."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - commands of our own
            [sys.executable, "-m", *command],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(ENDS_WITHIN_SECONDS)
        self._output.close()

    def ready(self, is_ready: Callable[[], bool]) -> None:
        """Wait until it is. Raises AssertionError with its output if it ends before."""

        def so_far() -> bool:
            assert self._process.poll() is None, self.output()  # noqa: S101 - a measurement that cannot begin
            return is_ready()

        until(so_far, f"it is ready: {self._process.args!r}", READY_SECONDS)

    def said_ready(self) -> bool:
        """Whether a line of its output is `ready`."""
        return "ready" in self.output().splitlines()

    def output(self) -> str:
        """So far."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")


@dataclass(frozen=True)
class Contender:
    """`ending` is what the name of a finished transcript has more than its object's."""

    name: str
    ending: str
    start: Callable[[Lane, ExitStack], Program]
    message: Callable[[Notification], dict[str, Any]]
    ack_deadline_seconds: int = 10
    """Of a subscription that nobody gave another one. Ours is made as our guide has it, Celery's by its transport."""

    push: bool = False

    @contextmanager
    def racing(self, lane: Lane, times: int = 1) -> Iterator[list[Program]]:
        """So many of it on one lane, all ready."""
        with ExitStack() as stack:
            if not self.push:
                lane.subscribe(self.ack_deadline_seconds)
            yield [self.start(lane, stack) for _ in range(times)]


def _daemon(lane: Lane, stack: ExitStack) -> Program:
    port = free_port()
    settings = {
        "SUBSCRIBER_SUBSCRIPTION": lane.subscription,
        "SUBSCRIBER_OUTPUT": f"gs://{lane.outbox}",
        "SUBSCRIBER_FIRESTORE_COLLECTION": lane.collection,
        "SUBSCRIBER_WHISPER_CONCURRENCY": str(lane.slots),
        "PORT": str(port),
    }
    program = stack.enter_context(Program(["subscriber", "run"], {**lane.environ(), **settings}))
    program.ready(lambda: b'"pulling"' in (_get(port, "/readyz") or b""))
    return program


def _peer(lane: Lane, *command: str) -> Program:
    names = {
        "SUBSCRIPTION": lane.subscription,
        "TOPIC": lane.topic,
        "OUTPUT_BUCKET": lane.outbox,
        "SLOTS": str(lane.slots),
    }
    return Program(command, {**lane.environ(), **names})


def _streaming(lane: Lane, stack: ExitStack) -> Program:
    program = stack.enter_context(_peer(lane, "bench.peers.streaming"))
    program.ready(program.said_ready)
    return program


def _celery(lane: Lane, stack: ExitStack) -> Program:
    worker = ["celery", "--app", "bench.peers.celery_app", "worker", "--pool", "threads"]
    options = ["--concurrency", str(lane.slots), "--without-gossip", "--without-mingle", "--without-heartbeat"]
    program = stack.enter_context(_peer(lane, *worker, *options))
    program.ready(program.said_ready)
    return program


def _push(lane: Lane, stack: ExitStack) -> Program:
    port = free_port()
    # One worker whose threads are its concurrency, without a timeout of its own: Cloud Run's advice.
    server = ["gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", str(lane.slots), "--timeout", "0"]
    program = stack.enter_context(_peer(lane, *server, "--bind", f"127.0.0.1:{port}", "bench.peers.push:app"))
    program.ready(lambda: _get(port, "/") is not None)
    lane.subscribe(ack_deadline_seconds=10, push_url=f"http://127.0.0.1:{port}/")
    return program


def _get(port: int, path: str) -> bytes | None:
    """The body; None while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except OSError:
        return None
    finally:
        connection.close()


def _notified(notification: Notification) -> dict[str, Any]:
    return notification._asdict()


def _task(notification: Notification) -> dict[str, Any]:
    """As `transcribe.delay(bucket, name)` would publish it (Celery's message protocol 2 in kombu's envelope)."""
    task = str(uuid.uuid4())
    call = [[notification.attributes[name] for name in ("bucketId", "objectId")], {}, {}]
    envelope = {
        "body": base64.b64encode(json.dumps(call).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "transcribe", "id": task, "root_id": task, "retries": 0},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": task,
            "delivery_info": {"exchange": "", "routing_key": ""},
            "delivery_mode": 2,
            "delivery_tag": task,
            "priority": 0,
        },
    }
    return {"data": json.dumps(envelope).encode()}


DAEMON = Contender("this daemon", ".json", _daemon, _notified, ack_deadline_seconds=60)

CONTENDERS = {
    "daemon": DAEMON,
    "streaming": Contender("streaming client", ".txt", _streaming, _notified),
    "celery": Contender("Celery", ".txt", _celery, _task, ack_deadline_seconds=240),
    "push": Contender("push endpoint", ".txt", _push, _notified, push=True),
}
