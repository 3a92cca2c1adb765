"""Every alert can fire, says what to do, and reaches the cluster as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.ops import manifests, schemas
from tests.ops.manifests import ROOT, find
from tests.ops.queries import selectors, unknown
from tools import alerts

OURS = alerts.groups()["subscriber"]["rules"]
PUBSUB = alerts.groups()["subscriber-pubsub"]["rules"]
ALERTS = {one["alert"]: one for one in [*OURS, *PUBSUB]}

PROMETHEUS = {"up"}
CLOUD_MONITORING = {
    f"pubsub_googleapis_com:subscription_{name}" for name in ("num_undelivered_messages", "oldest_unacked_message_age")
}
"""Of cloud.google.com/monitoring/api/metrics_gcp, with the first `.` and `/` as Managed Prometheus writes them."""


@pytest.mark.parametrize("path", alerts.manifests(), ids=lambda path: path.name)
def test_the_manifests_are_made_from_the_one_source(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == alerts.manifests()[path], "run `make docs`"


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_asks_only_for_series_that_there_are(alert: str) -> None:
    asked = {name for name, _ in selectors(ALERTS[alert]["expr"])}
    assert asked
    theirs = PROMETHEUS | (CLOUD_MONITORING if ALERTS[alert] in PUBSUB else set())
    assert set(unknown(ALERTS[alert]["expr"])) <= theirs


def test_a_misspelt_name_or_value_is_found() -> None:
    assert unknown("rate(subscriber_job_total[5m])") == ["subscriber_job_total"]
    assert unknown('sum(subscriber_jobs_total{reason=~"poison|bad"}) > 1') == ["subscriber_jobs_total{reason='bad'}"]
    assert not unknown('max_over_time(max(subscriber_provider_paused{namespace="a",reason="model"})[5m:1m])')


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_what_is_the_matter_and_where_the_remedy_is(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"RUNBOOK.md#{alert.lower()}"
    assert f"\n## {alert}\n" in (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")


def test_what_only_people_can_mend_wakes_somebody_and_a_rate_limit_does_not() -> None:
    severities = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    assert severities["SubscriberPaused"] == severities["SubscriberBudgetUsedUp"] == "critical"
    assert severities["SubscriberRateLimited"] == "info"


@pytest.mark.parametrize("rule", PUBSUB, ids=lambda rule: rule["alert"])
def test_alerts_on_cloud_monitoring_allow_for_its_lag(rule: dict[str, str]) -> None:
    assert rule["for"] in {"5m", "15m"}


@pytest.mark.parametrize(
    ("component", "kind"), [("monitoring-managed-prometheus", "Rules"), ("monitoring-operator", "PrometheusRule")]
)
def test_the_component_brings_the_alerts_on_our_own_metrics(component: str, kind: str, tmp_path: Path) -> None:
    document = find(manifests.overlay(tmp_path, "base", component).documents, kind)
    [group] = document["spec"]["groups"]
    assert group["rules"] == OURS
    assert document["metadata"]["namespace"] == "subscriber"


def test_the_rules_that_belong_to_no_namespace_have_none() -> None:
    document = yaml.safe_load((manifests.KUBERNETES / "monitoring" / "global-rules.yaml").read_text(encoding="utf-8"))
    schemas.validate(document)
    assert document["kind"] == "GlobalRules"
    assert "namespace" not in document["metadata"]
    assert document["spec"]["groups"][0]["rules"] == PUBSUB
