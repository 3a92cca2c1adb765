"""A daemon that stands still: put together as always, with jobs in work that nobody works on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from subscriber.app import Adapters, Daemon
from subscriber.compose import local_settings
from subscriber.metrics import Metrics
from subscriber.model import Claim, Job
from subscriber.signals import Signals
from subscriber.web import WebServer
from tests.crash.lives import Stage, spoken

__all__ = ["BUCKET", "serving", "standing"]

BUCKET = "inbox"


@contextmanager
def standing(root: Path, names: Sequence[str] = (), **settings: str) -> Iterator[Daemon]:
    """A daemon that holds a claim on an object of each of these names, the first one longest."""
    stage = Stage(root, lambda _: spoken())
    environ = {"OPENAI_API_KEY": "sk-of-no-account", **settings}
    told = local_settings(environ, "https://whisper.example.com/v1")
    adapters = Adapters(stage.sink, stage.ledger, stage.objects, stage.provider, stage.listeners, {})
    daemon = Daemon(told, adapters, Metrics(told.model), Signals())
    daemon._report._live = lambda: True  # it stands still on purpose
    assert daemon._prepare()
    with ExitStack() as held:
        began = time.monotonic() - 1.0
        for number, name in enumerate(names):
            claim = Claim(Job(BUCKET, name, number + 1, told.output), f"nonce {number}", 1, 1, 90)
            held.enter_context(daemon.claims.holding(claim, began + number / 1_000))
        yield daemon


@contextmanager
def serving(daemon: Daemon) -> Iterator[str]:
    """Where its page is."""
    server = WebServer(0, daemon._metrics.render, daemon.live, daemon.ready, status=daemon.status, host="127.0.0.1")
    with server:
        yield f"http://127.0.0.1:{server.port}/"
