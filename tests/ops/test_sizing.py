"""That time, memory and places of every workload agree, by docs/scale.md's formulas and the daemon's own settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from subscriber.config import ConfigErrors, Settings
from tests.ops import manifests
from tests.ops.manifests import ROOT, Workload, bytes_of, components, find

SIGTERM_TO_SIGKILL_ON_CLOUD_RUN = 10

WRITES_AFTER_THE_GRACE = {600: 30, 15: 5, SIGTERM_TO_SIGKILL_ON_CLOUD_RUN: 2}
"""Seconds for the last writes, from the end of the daemon's grace to SIGKILL, by the seconds that a platform gives."""


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[[Workload], Settings]:
    """What the daemon makes of a workload's environment; the key's file is there as it would be in the pod."""
    key = tmp_path / "api-key"
    key.write_text("sk-of-a-test")

    def settings(workload: Workload) -> Settings:
        filled_in = {name: value.replace("PROJECT_ID", "my-project") for name, value in workload.environ.items()}
        return Settings.from_environ(filled_in | {"OPENAI_API_KEY_FILE": str(key)})

    return settings


def seconds_to_sigkill(workload: Workload) -> int:
    given: int = workload.revision.get("terminationGracePeriodSeconds", SIGTERM_TO_SIGKILL_ON_CLOUD_RUN)
    return given


def megabytes_needed(max_jobs: int) -> float:
    """The formula as docs/scale.md states it."""
    stated = re.search(
        r"^memory = ([\d.]+) x \((\d+) MB \+ (\d+) MB x MAX_JOBS\)$",
        (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert stated, "docs/scale.md states no formula for the memory"
    margin, fixed, each = map(float, stated.groups())
    return margin * (fixed + each * max_jobs)


def test_the_daemon_starts_with_the_environment_that_it_is_given(
    workload: Workload, settings_of: Callable[[Workload], Settings]
) -> None:
    settings = settings_of(workload)
    assert len(settings.subscription) == 2
    assert settings.port == 8080


def test_the_daemon_refuses_to_start_with_a_placeholder_that_nobody_replaced(workload: Workload) -> None:
    with pytest.raises(ConfigErrors, match="PROJECT_ID"):
        Settings.from_environ(workload.environ)


def test_the_daemon_is_done_before_it_is_killed(
    workload: Workload, settings_of: Callable[[Workload], Settings]
) -> None:
    given = seconds_to_sigkill(workload)
    assert settings_of(workload).shutdown_grace_seconds == given - WRITES_AFTER_THE_GRACE[given]


def test_no_platform_is_asked_for_more_time_than_it_grants(workload: Workload) -> None:
    """Ten minutes are GKE's autoscaler's most; 15 s are what a Spot node has left for its pods."""
    spot = "cloud.google.com/gke-spot" in workload.revision.get("nodeSelector", {})
    assert seconds_to_sigkill(workload) <= (15 if spot else 600)


def test_the_places_fit_into_the_memory(workload: Workload, settings_of: Callable[[Workload], Settings]) -> None:
    limit = bytes_of(workload.daemon["resources"]["limits"]["memory"])
    assert megabytes_needed(settings_of(workload).max_jobs) * 1e6 <= limit


def test_there_are_more_places_than_slots(workload: Workload, settings_of: Callable[[Workload], Settings]) -> None:
    """Else a slot idles while the next job is claimed and fetched."""
    settings = settings_of(workload)
    assert settings.whisper_concurrency < settings.max_jobs


def test_a_pod_that_is_full_of_large_files_is_over_the_target(
    tmp_path: Path, settings_of: Callable[[Workload], Settings]
) -> None:
    """They take three quarters of its places; an HPA does nothing within a tenth of its target."""
    given = {"name": "subscriber", "behavior": "merge", "envs": ["settings.env"]}
    (tmp_path / "settings.env").write_text("GOOGLE_CLOUD_PROJECT=my-project\nSUBSCRIBER_OUTPUT=gs://transcripts\n")
    workload = manifests.overlay(
        tmp_path, "base", "autoscaling-stackdriver", "key-from-secret", configMapGenerator=[given]
    )
    places = settings_of(workload).max_jobs
    [metric] = find(workload.documents, "HorizontalPodAutoscaler")["spec"]["metrics"]
    target = int(metric["external"]["target"]["averageValue"])
    assert target == places * 5 // 8
    assert target * 1.1 < places - places // 4


@pytest.mark.parametrize("component", [one for one, family in components().items() if family == "autoscaling"])
def test_an_autoscaler_starts_from_the_number_of_pods_that_the_base_has(component: str, tmp_path: Path) -> None:
    rendered = manifests.overlay(tmp_path, "base", component).documents
    [spec] = [one["spec"] for one in rendered if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    replicas = find(manifests.kustomize(manifests.KUBERNETES / "base"), "Deployment")["spec"]["replicas"]
    least, most = (int(spec.get(f"{end}Replicas") or spec[f"{end}ReplicaCount"]) for end in ("min", "max"))
    assert replicas == least < most
