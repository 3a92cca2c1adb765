"""Every alert fires on what it is for and on nothing else, by promtool; and a real Prometheus sees a daemon fail."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from subscriber.whisper_server import Control, Server
from tests.daemon import Daemon, until
from tests.ops.prometheus import Prometheus, prometheus
from tests.process.scenes import Scene
from tests.sound import wav
from tests.world import World
from tools import alerts

RULES = {rule["alert"]: rule for group in alerts.groups().values() for rule in group["rules"]}
CASES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("alert_cases.yaml").read_text("utf-8"))
ALL = [(alert, kind) for alert, case in CASES.items() for kind in ("fires", "fires_too", "silent") if kind in case]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    assert set(ALL) >= {(alert, kind) for alert in RULES for kind in ("fires", "silent")}
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize(("alert", "kind"), ALL, ids=lambda one: one)
def test_an_alert_fires_on_what_it_is_for_and_on_nothing_else(alert: str, kind: str, tmp_path: Path) -> None:
    rule, case = RULES[alert], CASES[alert]
    fired = {"exp_labels": rule["labels"] | case.get("labels", {}), "exp_annotations": rule["annotations"]}
    asked = {"eval_time": case["at"], "alertname": alert, "exp_alerts": [fired] if kind != "silent" else []}
    series = [{"series": name, "values": values} for name, values in case[kind].items()]
    test = {"interval": case.get("every", "1m"), "input_series": series, "alert_rule_test": [asked]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(alerts.SOURCE)], "tests": [test]}), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_finds_nothing_amiss_in_the_rules_and_in_what_the_daemon_exposes(watched: Watched) -> None:
    rules = subprocess.run(["promtool", "check", "rules", alerts.SOURCE], capture_output=True, text=True, check=False)
    assert rules.returncode == 0, rules.stdout
    exposed = watched.daemon.get("/metrics")[1]
    metrics = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed, capture_output=True, text=True, check=False
    )
    assert not [line for line in metrics.stdout.splitlines() if "subscriber_" in line], metrics.stdout


class Watched:
    """A daemon in a world, and a Prometheus that scrapes it with the alerts loaded."""

    def __init__(self, scene: Scene, daemon: Daemon, server: Prometheus) -> None:
        self.scene, self.daemon, self.server = scene, daemon, server


@pytest.fixture
def watched(world: World, server: Server, control: Control, tmp_path: Path) -> Iterator[Watched]:
    with Scene(world, server.url, control) as scene:
        daemon = scene.start()
        daemon.ready()
        with prometheus(tmp_path, daemon.port) as started:
            yield Watched(scene, daemon, started)


def test_an_account_without_money_and_a_daemon_that_dies_fire_their_alerts_and_the_remedy_ends_them(
    watched: Watched,
) -> None:
    scene, daemon, server = watched.scene, watched.daemon, watched.server
    scene.world.upload("before.wav", wav("before"))
    daemon.counts(1, "deliveries_total", outcome="transcribed")
    until(lambda: server.value("sum(subscriber_jobs_total)") == 1, "the job is scraped")
    until(lambda: server.firing() == {}, "nothing fires, not even that there was no daemon yet")

    scene.control.mode("quota")
    scene.world.upload("during.wav", wav("during"))
    until(lambda: "SubscriberPaused" in server.firing(), "the alert fires")
    assert server.firing() == {"SubscriberPaused": {"severity": "critical", "reason": "billing"}}
    scene.control.mode(None)
    until(lambda: server.firing() == {}, "the alert is resolved")
    daemon.counts(2, "deliveries_total", outcome="transcribed")

    daemon.kill()
    dead = {"SubscriberAbsent", "SubscriberTargetDown"}
    until(lambda: server.firing().keys() == dead, "a dead daemon's alerts fire")
    scene.start(port=daemon.port).ready()
    until(lambda: server.firing() == {}, "a new daemon in its place ends them")
