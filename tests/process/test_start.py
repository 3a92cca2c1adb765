"""A daemon refuses to start wrong: every mistake at once, by the setting's name, with the command that mends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.process.scenes import Scene


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
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    daemon = Daemon({**os.environ, "PYTHONPATH": path, "PORT": "0"})
    try:
        daemon.says("importing")
        stop(daemon)
        assert daemon.exit_code() == 0
    finally:
        daemon.end()
