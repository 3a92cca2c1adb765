"""A daemon refuses to start wrong: every mistake at once, by the setting's name, with the command that mends it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon import Daemon, command_environ, until
from tests.process.scenes import Scene

NOT_FOR_THE_START = {
    *("av", "faster_whisper", "sqlite3", "google.cloud.firestore_admin_v1", "google.cloud.pubsub_v1"),
    *("subscriber.adapters.folder", "subscriber.adapters.sqlite", "subscriber.cli.local", "subscriber.demo"),
    *("subscriber.desk", "subscriber.status", "subscriber.whisper_server"),
}
"""What other commands need, and what the first long recording or the first look at the status page brings."""

MOST_MODULES = 1900
"""Of all packages together; some 1,750 in November 2026, with 80 that only the tests' browser brings along."""

LOOKED = "looked for garbage"
MOST_COLLECTIONS = 60
"""Up to the first pull; 4 in November 2026, some 340 where it is looked for while importing."""


def test_all_missing_settings_are_listed_at_once(scene: Scene) -> None:
    daemon = scene.start(subscription="", output="", openai_api_key="", openai_base_url="https://api.openai.com/v1")
    assert daemon.exit_code() == 2
    told = daemon.output().splitlines()
    for setting in ("SUBSCRIBER_SUBSCRIPTION", "SUBSCRIBER_OUTPUT", "OPENAI_API_KEY"):
        assert [line for line in told if line.startswith(f"{setting}: ") and "required" in line], told
    assert len(told) == 3, "one line each, and no stack"


def test_all_that_does_not_exist_is_named_with_the_command_that_makes_it(scene: Scene) -> None:
    daemon = scene.start(
        subscription=f"projects/{scene.world.emulators.project}/subscriptions/absent", output="gs://absent"
    )
    assert daemon.exit_code() == 2
    told = daemon.output()
    assert "SUBSCRIBER_SUBSCRIPTION: " in told
    assert "gcloud pubsub subscriptions create" in told
    assert "SUBSCRIBER_OUTPUT: " in told
    assert "gcloud storage buckets create gs://absent" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("stop", [Daemon.term, Daemon.interrupt])
def test_told_to_stop_while_it_still_imports_it_ends_in_peace(tmp_path: Path, stop: Callable[[Daemon], None]) -> None:
    (tmp_path / "typer.py").write_text('import time\nprint(\'{"message": "importing"}\')\ntime.sleep(60)\n')
    daemon = Daemon({**os.environ, "PYTHONPATH": _first_on_the_path(tmp_path), "PORT": "0"})
    try:
        daemon.says("importing")
        stop(daemon)
        assert daemon.exit_code() == 0
    finally:
        daemon.end()


def test_a_start_imports_nothing_that_its_first_pull_does_not_need(scene: Scene) -> None:
    with _started(scene, {"PYTHONPROFILEIMPORTTIME": "1"}) as daemon:
        told = [re.fullmatch(r"import time: +\d+ \| +\d+ \| +(\S+)", line) for line in _before_its_first_pull(daemon)]
    imported = {line[1] for line in told if line}
    assert imported >= {"subscriber.pipeline", "openai", "google.pubsub_v1"}, "it was listened to"
    assert not imported & NOT_FOR_THE_START
    assert len(imported) <= MOST_MODULES


def test_a_start_looks_for_garbage_only_once_all_is_imported(tmp_path: Path, scene: Scene) -> None:
    tell = f"lambda phase, _: print({LOOKED!r}, flush=True) if phase == 'start' else None"
    (tmp_path / "sitecustomize.py").write_text(f"import gc\ngc.callbacks.append({tell})\n")
    with _started(scene, {"PYTHONPATH": _first_on_the_path(tmp_path)}) as daemon:
        assert _before_its_first_pull(daemon).count(LOOKED) <= MOST_COLLECTIONS
        so_far = len(daemon.log)
        daemon.get("/api/status")  # makes more objects that stay than go unlooked at
        until(lambda: any(line["raw"] == LOOKED for line in daemon.log[so_far:]), "it looks again while it serves")


@contextmanager
def _started(scene: Scene, environ: Mapping[str, str]) -> Iterator[Daemon]:
    """With more in its environment than settings."""
    daemon = Daemon({**command_environ(scene.world, scene.whisper_url), **environ})
    try:
        yield daemon
    finally:
        daemon.end()


def _before_its_first_pull(daemon: Daemon) -> list[str]:
    """What it has printed until then."""
    started = daemon.says("started")
    return [line["raw"] for line in daemon.log[: daemon.log.index(started)]]


def _first_on_the_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
