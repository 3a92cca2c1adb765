"""Start a daemon, give it one recording, and see it through to the end: transcript, probes, metrics, SIGTERM.

    python -m tests.ops.transcribe_one [PREFIX...] -- COMMAND...

The daemon is `PREFIX... NAME=VALUE... COMMAND...`: PREFIX ends like env(1), which it is by default. The emulators and a
stub of Whisper run beside it. A program and not a test, because what it starts may need root: run_image.sh calls it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
from google.cloud.storage import Client

from subscriber import emulators as servers
from subscriber.emulators import free_port
from subscriber.recordings import recordings
from subscriber.whisper_server import Server, StubEngine

TOPIC, SUBSCRIPTION, INBOX, OUTBOX = "uploads", "subscriber", "inbox", "outbox"
PATIENCE_SECONDS = 60.0
GRACE_SECONDS = 8


def main(arguments: list[str]) -> None:
    """Run it all; raises where something is not as it should be."""
    divide = arguments.index("--")
    prefix, command = arguments[:divide] or ["env"], arguments[divide + 1 :]
    port = free_port()
    with (
        servers.emulators(os.environ, project="image", notify=(TOPIC, INBOX)) as world,
        Server(StubEngine()) as whisper,
    ):
        world.make_topic(TOPIC, SUBSCRIPTION)
        world.make_bucket(INBOX, OUTBOX)
        os.environ.update(world.environ())
        settings = world.environ() | {
            "SUBSCRIBER_SUBSCRIPTION": SUBSCRIPTION,
            "SUBSCRIBER_OUTPUT": f"gs://{OUTBOX}",
            "SUBSCRIBER_SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS),
            "OPENAI_BASE_URL": f"{whisper.url}/v1",
            "PORT": str(port),
        }
        with _running([*prefix, *(f"{name}={value}" for name, value in settings.items()), *command]) as daemon:
            _watch(daemon, port)


def _watch(daemon: subprocess.Popen[bytes], port: int) -> None:
    started = time.monotonic()
    _wait_for("ready", daemon, lambda: _ask(port, "/readyz")[0] == 200)
    seconds, used = time.monotonic() - started, psutil.Process(daemon.pid).cpu_times()
    # The second figure is the same whatever else the machine does.
    print(f"ready after {seconds:.1f} s, {used.user + used.system:.1f} s of CPU")
    assert _ask(port, "/livez")[0] == 200
    assert _ask(port, "/nothing")[0] == 404
    _transcribe(daemon)
    _wait_for("the job to be counted", daemon, lambda: _jobs_done(_ask(port, "/metrics")[1]) == 1)
    daemon.send_signal(signal.SIGTERM)
    started = time.monotonic()
    status = daemon.wait(GRACE_SECONDS + 2)
    print(f"SIGTERM: exit {status} after {time.monotonic() - started:.1f} s")
    assert status == 0


def _transcribe(daemon: subprocess.Popen[bytes]) -> None:
    """Upload the shortest recording and read its transcript."""
    recording = recordings()[0]
    client = Client()
    source = client.bucket(INBOX).blob(recording.path.name)
    started = time.monotonic()
    source.upload_from_filename(str(recording.path))
    # The JSON is written last: when it is there, the set is complete.
    result = client.bucket(OUTBOX).blob(f"{recording.path.name}.json")
    _wait_for("the transcript", daemon, result.exists)
    seconds = time.monotonic() - started
    transcript = json.loads(result.download_as_bytes())
    assert transcript["text"], transcript
    assert abs(transcript["duration"] - recording.seconds) < 0.5, transcript
    found = sorted(blob.name for blob in client.list_blobs(OUTBOX))
    assert f"{recording.path.name}.txt" in found, found
    print(f"{recording.path.name}, {recording.seconds:.1f} s: {seconds:.1f} s to {', '.join(found)}")


def _jobs_done(metrics: str) -> int:
    counts = re.findall(r'^subscriber_jobs_total\{[^}]*result="done"[^}]*\} ([0-9.]+)$', metrics, re.MULTILINE)
    return int(sum(map(float, counts)))


def _ask(port: int, path: str) -> tuple[int, str]:
    """Status and body; status 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def _wait_for(what: str, daemon: subprocess.Popen[bytes], there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended with {daemon.returncode} before {what}")
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}")
        time.sleep(0.1)


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon, whose log goes where ours goes, and leave nothing behind."""
    with subprocess.Popen(command, stdout=sys.stderr) as daemon:
        try:
            yield daemon
        finally:
            daemon.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
