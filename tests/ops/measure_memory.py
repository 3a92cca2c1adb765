"""How much memory a pod needs for its places: the figures behind docs/scale.md's formula.

    python -m tests.ops.measure_memory [SLOTS...]

For each number of slots the real daemon gets twice as many jobs, its default, and half as many again that wait. All
are hours of M4A, whose index lies at its end: the container that costs a decoder most. Each has sound of its own, so
that no chunk is met in the cache. PSS of the daemon, its nursery and its decoders together is what a container is
charged with, page cache apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from google.cloud.storage import Client

from bench.recordings import M4A, long_recording
from subscriber import emulators as servers
from subscriber.emulators import Emulators, free_port
from subscriber.whisper_server import Server, StubEngine

TOPIC, SUBSCRIPTION, INBOX, OUTBOX = "uploads", "subscriber", "inbox", "outbox"
WATCHED_SECONDS = 60.0
PROVIDER_SECONDS = 1.0
MB = 1_000_000


def main(arguments: list[str]) -> None:
    """Print one row a number of slots."""
    print("slots   jobs   idle   most   processes   (PSS in MB)", flush=True)
    for slots in [int(one) for one in arguments] or [4, 8, 16, 32]:
        idle, most, processes = measured(slots)
        print(f"{slots:5}{2 * slots:7}{idle:7.0f}{most:7.0f}{processes:12}", flush=True)


def measured(slots: int) -> tuple[float, float, int]:
    """PSS of an idle daemon, the highest one while every place is taken, and how many processes that was."""
    with (
        servers.emulators(os.environ, project="memory", notify=(TOPIC, INBOX)) as world,
        Server(StubEngine(PROVIDER_SECONDS)) as whisper,
    ):
        world.make_topic(TOPIC, SUBSCRIPTION)
        world.make_bucket(INBOX, OUTBOX)
        os.environ.update(world.environ())
        try:
            with daemon(world, whisper.url, slots) as running:
                time.sleep(5)
                idle, _ = pss(running)
                bucket = Client().bucket(INBOX)
                for number in range(3 * slots):
                    bucket.blob(f"{number}.m4a").upload_from_string(long_recording(M4A, 3600, seed=number))
                most, processes = max(watched(running))
        finally:
            for name in world.environ():
                del os.environ[name]
    return idle, most, processes


def watched(process: subprocess.Popen[bytes]) -> Iterator[tuple[float, int]]:
    """PSS and number of processes, four times a second."""
    deadline = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < deadline:
        yield pss(process)
        time.sleep(0.25)


def pss(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """In MB, of a process and of all that it started."""
    root = psutil.Process(process.pid)
    found = []
    for one in (root, *root.children(recursive=True)):
        try:
            found.append(one.memory_full_info().pss)
        except psutil.NoSuchProcess:  # a decoder that has just finished
            continue
    return sum(found) / MB, len(found)


@contextmanager
def daemon(world: Emulators, whisper: str, slots: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run it as a pod would, with its log thrown away."""
    settings = {
        "SUBSCRIBER_SUBSCRIPTION": SUBSCRIPTION,
        "SUBSCRIBER_OUTPUT": f"gs://{OUTBOX}",
        "SUBSCRIBER_WHISPER_CONCURRENCY": str(slots),
        "SUBSCRIBER_LANGUAGE": "en",
        "OPENAI_BASE_URL": f"{whisper}/v1",
        "PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "subscriber", "run"]
    environ = {**os.environ, **world.environ(), **settings}
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(30)


if __name__ == "__main__":
    main(sys.argv[1:])
