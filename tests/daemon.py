"""The real daemon, `python -m subscriber run`, as a process of its own that a test starts, watches, hurts and ends.

What it does is awaited, never slept for: its log line by line as they come, its metrics and /readyz by asking again.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from subscriber.config import setting_names, variable
from subscriber.emulators import free_port
from tests.world import World

__all__ = ["PATIENCE_SECONDS", "Daemon", "command", "command_environ", "daemon", "jobs", "until"]

PATIENCE_SECONDS = 45.0
"""For what takes a second or, by the daemon's own periods, ten: two cores that others share may take their time."""

ASK_EVERY_SECONDS = 0.02

KEY = "sk-of-no-account"
"""Of the provider; looked for in all that a daemon prints."""

Line = dict[str, Any]


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(ASK_EVERY_SECONDS)


class Daemon:
    """One process, with the lines that it has logged so far in `log`."""

    def __init__(self, environ: Mapping[str, str], module: Sequence[str] = ("subscriber", "run")) -> None:
        self.log: list[Line] = []
        self.port = int(environ["PORT"])
        self._logged = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env={**environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # What it says.

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its HTTP part. Raises OSError while it does not listen."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ready(self, state: str = "pulling") -> Line:
        """What /readyz says as soon as it names this state."""
        said: Line = {}

        def in_state() -> bool:
            assert self._process.poll() is None, self.output()
            try:
                said.update(json.loads(self.get("/readyz")[1]))
            except OSError:
                return False
            return said.get("state") == state

        until(in_state, f"/readyz says {state}")
        return said

    def metrics(self, name: str, **labels: str) -> float:
        """The sum over all series of a sample, without its prefix, that have these labels."""
        _, text = self.get("/metrics")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        named = [sample for sample in samples if sample.name == f"subscriber_{name}"]
        assert named, f"no such metric: {name}"
        return sum(sample.value for sample in named if labels.items() <= sample.labels.items())

    def counts(self, least: float, name: str, seconds: float = PATIENCE_SECONDS, **labels: str) -> float:
        """The metric as soon as it is at least so high."""
        until(lambda: self.metrics(name, **labels) >= least, f"{name} {labels} reaches {least}", seconds)
        return self.metrics(name, **labels)

    def says(self, message: str, seconds: float = PATIENCE_SECONDS, **fields: object) -> Line:
        """The first line with this message and these fields, as soon as it is logged."""
        with self._logged:
            if not self._logged.wait_for(lambda: self.said(message, **fields), seconds):
                raise TimeoutError(f"no line {message} {fields} within {seconds} s")
            return self.said(message, **fields)[0]

    def said(self, message: str, **fields: object) -> list[Line]:
        """The lines so far with this message and these fields."""
        wanted = {"message": message, **fields}.items()
        return [line for line in self.log if wanted <= _hashable(line).items()]

    def output(self) -> str:
        """All that it has printed, once it has ended."""
        self._reader.join(10)
        return "\n".join(line["raw"] for line in self.log)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    # What is done to it; all by its own pid.

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait(10)

    def term(self) -> None:
        """SIGTERM, as Kubernetes and Cloud Run send it."""
        self._process.terminate()

    def term_in_another_thread(self) -> None:
        """SIGTERM as the kernel may hand it out: to any thread of the process, here to its second."""
        pid = self._process.pid
        # A young thread may end before the signal is sent, so the oldest one that still takes it.
        others = sorted({int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid})
        send = ctypes.CDLL(None).tgkill
        assert any(send(pid, thread, signal.SIGTERM) == 0 for thread in others)

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C sends it."""
        self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """SIGSTOP: from now on it does nothing, and does not know."""
        self._process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    def exit_code(self, within_seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code; raises TimeoutExpired unless it ends in time."""
        return self._process.wait(within_seconds)

    def end(self) -> None:
        """Leave nothing behind, in whatever state it is, and show its log (pytest keeps that for failures)."""
        if self._process.poll() is None:
            self.kill()
        output = self.output()
        print(f"--- daemon {self._process.pid}, exit code {self._process.returncode}\n{output}")
        if self._process.stdout:
            self._process.stdout.close()
        assert KEY not in output, "no line that any daemon of any test ever wrote shows the key"

    def _read(self) -> None:
        for raw in self._process.stdout or ():
            with self._logged:
                self.log.append(_parsed(raw.rstrip("\n")))
                self._logged.notify_all()


@contextmanager
def daemon(world: World, whisper_url: str, *module: str, **settings: object) -> Iterator[Daemon]:
    """A daemon in this world; `settings` by their field names (`claim_seconds=3`). Killed at the end of the block.

    `module` and its arguments, if any, run in place of the daemon's own.
    """
    started = Daemon(command_environ(world, whisper_url, **settings), *([module] if module else []))
    try:
        yield started
    finally:
        started.end()


def command_environ(world: World, whisper_url: str, **settings: object) -> dict[str, str]:
    """The environment of a daemon: the world's, with a port and a provider of its own, and these settings."""
    ours = {variable(name): str(value) for name, value in settings.items()}
    assert ours.keys() <= setting_names()
    provider = {"OPENAI_BASE_URL": f"{whisper_url}/v1", "OPENAI_API_KEY": KEY}
    return {**world.environ, "PORT": str(free_port()), **provider, "SUBSCRIBER_LOG_FORMAT": "json", **ours}


def _parsed(raw: str) -> Line:
    """A line of JSON by its fields; anything else, such as a complaint on the way out, only as it is."""
    try:
        line = json.loads(raw)
    except ValueError:
        line = {}
    return {**(line if isinstance(line, dict) else {}), "raw": raw}


def _hashable(line: Line) -> dict[str, object]:
    return {name: value for name, value in line.items() if not isinstance(value, dict | list)}


def command(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Another command than the daemon, from its start to its end."""
    return subprocess.run(
        [sys.executable, "-m", "subscriber", *arguments],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )


def jobs(environ: Mapping[str, str], *options: str) -> list[Line]:
    """What `subscriber jobs` lists."""
    done = command(environ, "jobs", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
