"""What KEDA is told, by promtool: the backlog while there is work to do, the pods that there are in a pause."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.ops.manifests import KUBERNETES

BACKLOG = "pubsub_googleapis_com:subscription_num_undelivered_messages"
UPLOADS = f'{BACKLOG}{{monitored_resource="pubsub_subscription",subscription_id="subscriber"}}'
REPLAYS = f'{BACKLOG}{{monitored_resource="pubsub_subscription",subscription_id="subscriber-replay"}}'
DEAD = f'{BACKLOG}{{monitored_resource="pubsub_subscription",subscription_id="recordings-dead-hold"}}'
PODS = {f'subscriber_build_info{{namespace="subscriber",pod="{pod}"}}': 1 for pod in "abc"}


def paused(pod: str, value: int) -> dict[str, int]:
    return {f'subscriber_provider_paused{{namespace="subscriber",pod="{pod}",reason="billing"}}': value}


@pytest.mark.parametrize(
    ("series", "asked"),
    [
        (PODS | paused("a", 0) | {UPLOADS: 250, REPLAYS: 4000, DEAD: 7}, 4250),
        (PODS | paused("a", 0) | {UPLOADS: 0, REPLAYS: 0}, 0),
        (PODS | paused("a", 0) | paused("b", 1) | {UPLOADS: 250, REPLAYS: 4000}, 300),
        (PODS | paused("a", 0), 300),  # Cloud Monitoring does not answer: stay as you are
        ({UPLOADS: 250}, 250),  # no pod at all: nobody is paused
        ({}, None),
    ],
)
def test_keda_asks_for_pods_by_what_waits_and_for_no_more_during_a_pause(
    series: dict[str, int], asked: int | None, tmp_path: Path
) -> None:
    component = KUBERNETES / "components" / "autoscaling-keda" / "scaledobject.yaml"
    [trigger] = yaml.safe_load(component.read_text(encoding="utf-8"))["spec"]["triggers"]
    expected = {"expr": trigger["metadata"]["query"], "eval_time": "5m", "exp_samples": []}
    if asked is not None:
        expected["exp_samples"] = [{"labels": "{}", "value": asked}]
    given = [{"series": name, "values": f"{value}x10"} for name, value in series.items()]
    file = tmp_path / "test.yaml"
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [expected]}
    file.write_text(yaml.safe_dump({"tests": [test]}), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
