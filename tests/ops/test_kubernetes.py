"""What a cluster is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.ops import manifests
from tests.ops.manifests import KUBERNETES, Manifest, Workload, bytes_of, find, kustomize

LABELS = {"app.kubernetes.io/name": "subscriber"}

POD_MONITORING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.googleapis.com/v1"},
        "kind": {"const": "PodMonitoring"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["selector", "endpoints"],
            "properties": {
                "selector": {"type": "object", "required": ["matchLabels"]},
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["port", "interval"],
                        "properties": {
                            "port": {"type": ["string", "integer"]},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture(scope="session")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    """The base with the component for Managed Prometheus, as an overlay would have it."""
    return manifests.overlay(tmp_path_factory.mktemp("overlay"), {"components": ["components/managed-prometheus"]})


def spec_of(deployment: Workload) -> Manifest:
    spec: Manifest = find(deployment.documents, "Deployment")["spec"]
    return spec


def test_every_object_fits_the_schema_of_kubernetes(deployment: Workload) -> None:
    """Strictly: a field that the cluster would drop in silence fails here."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        manifests.missing("the package kubernetes-validate is not installed; it holds the schemas")
    validate: Any = importlib.import_module("kubernetes_validate").validate
    for document in deployment.documents:
        validate(document, "1.37", strict=True)


def test_every_object_lives_in_the_namespace_that_the_base_makes(deployment: Workload) -> None:
    elsewhere = [one["kind"] for one in deployment.documents if one["metadata"].get("namespace") != "subscriber"]
    assert elsewhere == ["Namespace"]
    assert find(deployment.documents, "Namespace")


def test_the_namespace_refuses_pods_with_more_rights(deployment: Workload) -> None:
    labels = find(deployment.documents, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_daemon_gives_up_thirty_seconds_before_the_pod_is_killed(deployment: Workload) -> None:
    grace = int(deployment.environ["SUBSCRIBER_SHUTDOWN_GRACE_SECONDS"])
    assert grace == deployment.revision["terminationGracePeriodSeconds"] - 30


def test_the_grace_is_one_that_the_autoscaler_of_gke_honours(deployment: Workload) -> None:
    assert 60 <= deployment.revision["terminationGracePeriodSeconds"] <= 600


def test_a_dead_loop_is_killed_soon_and_not_after_the_grace_of_a_drain(deployment: Workload) -> None:
    assert deployment.daemon["livenessProbe"]["terminationGracePeriodSeconds"] <= 60


def test_sigterm_reaches_the_daemon_at_once(deployment: Workload) -> None:
    assert "lifecycle" not in deployment.daemon


def test_readiness_is_asked_of_readyz(deployment: Workload) -> None:
    assert deployment.daemon["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_pod_runs_as_nobody_who_can_become_somebody(deployment: Workload) -> None:
    pod, container = deployment.revision["securityContext"], deployment.daemon["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["runAsGroup"]) == (True, 65532, 65532)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_key_can_be_read_by_the_daemon_and_by_no_other_user(deployment: Workload) -> None:
    [volume] = [one for one in deployment.revision["volumes"] if one["name"] == "openai"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert deployment.revision["securityContext"]["fsGroup"] == deployment.revision["securityContext"]["runAsGroup"]


def test_no_token_of_the_cluster_is_mounted(deployment: Workload) -> None:
    assert deployment.revision["automountServiceAccountToken"] is False
    assert find(deployment.documents, "ServiceAccount")["automountServiceAccountToken"] is False


def test_no_service_can_inject_variables_that_look_like_settings(deployment: Workload) -> None:
    assert deployment.revision["enableServiceLinks"] is False


def test_the_only_writable_place_is_a_small_tmp(deployment: Workload) -> None:
    writable = [one for one in deployment.daemon["volumeMounts"] if not one.get("readOnly")]
    assert [(one["name"], one["mountPath"]) for one in writable] == [("tmp", "/tmp")]  # noqa: S108 - the pod's own
    [volume] = [one for one in deployment.revision["volumes"] if one["name"] == "tmp"]
    limit = deployment.daemon["resources"]["limits"]["ephemeral-storage"]
    assert bytes_of(volume["emptyDir"]["sizeLimit"]) < bytes_of(limit)


def test_memory_is_requested_in_full(deployment: Workload) -> None:
    resources = deployment.daemon["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_processor_and_disk_are_requested(deployment: Workload) -> None:
    assert {"cpu", "ephemeral-storage"} <= set(deployment.daemon["resources"]["requests"])


def test_a_rollout_never_has_fewer_pods_than_before(deployment: Workload) -> None:
    assert spec_of(deployment)["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_pods_are_spread_over_zones_where_that_is_possible(deployment: Workload) -> None:
    [spread] = deployment.revision["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_a_drain_of_nodes_takes_one_pod_at_a_time_and_waits_for_no_broken_one(deployment: Workload) -> None:
    budget = find(deployment.documents, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_everything_that_selects_pods_selects_ours(deployment: Workload, monitored: tuple[Manifest, ...]) -> None:
    [spread] = deployment.revision["topologySpreadConstraints"]
    selectors = [
        spec_of(deployment)["selector"],
        spread["labelSelector"],
        find(deployment.documents, "PodDisruptionBudget")["spec"]["selector"],
        find(monitored, "PodMonitoring")["spec"]["selector"],
    ]
    assert spec_of(deployment)["template"]["metadata"]["labels"] == LABELS
    assert selectors == [{"matchLabels": LABELS}] * 4


def test_the_collector_asks_the_metrics_path_of_the_daemons_port(monitored: tuple[Manifest, ...]) -> None:
    monitoring = find(monitored, "PodMonitoring")
    jsonschema.validate(monitoring, POD_MONITORING)
    [endpoint] = monitoring["spec"]["endpoints"]
    [container] = find(monitored, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert endpoint["port"] in {one["name"] for one in container["ports"]}
    assert endpoint["path"] == "/metrics"
    assert monitoring["metadata"]["namespace"] == "subscriber"


def test_without_the_component_nothing_needs_managed_prometheus(deployment: Workload) -> None:
    assert {one["apiVersion"] for one in deployment.documents} == {"v1", "apps/v1", "policy/v1"}


def test_an_overlay_names_the_image_and_the_settings_without_a_patch(tmp_path: Path) -> None:
    digest = "sha256:" + "5" * 64
    settings = ["SUBSCRIBER_OUTPUT=gs://elsewhere"]
    rendered = manifests.overlay(
        tmp_path,
        {
            "images": [{"name": "subscriber", "newName": "registry.example/team/subscriber", "digest": digest}],
            "configMapGenerator": [{"name": "subscriber", "behavior": "merge", "literals": settings}],
        },
    )
    pod = find(rendered, "Deployment")["spec"]["template"]["spec"]
    found = Workload("overlay", rendered, pod)
    assert found.daemon["image"] == f"registry.example/team/subscriber@{digest}"
    assert found.environ["SUBSCRIBER_OUTPUT"] == "gs://elsewhere"


def test_a_changed_setting_rolls_the_pods(deployment: Workload, tmp_path: Path) -> None:
    changed = manifests.overlay(
        tmp_path,
        {
            "configMapGenerator": [{"name": "subscriber", "behavior": "merge", "literals": ["SUBSCRIBER_FORMATS=srt"]}],
        },
    )
    assert find(changed, "Deployment") != find(deployment.documents, "Deployment")


def test_every_folder_that_can_be_applied_renders() -> None:
    folders = [one.parent for one in KUBERNETES.rglob("kustomization.yaml") if "components" not in one.parts]
    assert folders
    for folder in folders:
        assert kustomize(folder), folder
