"""What the components add, alone and together."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer
import yaml

from subscriber.cli import app
from subscriber.metrics import Metrics
from tests.ops import manifests, schemas
from tests.ops.manifests import KUBERNETES, Workload, components, find, kustomize

FAMILIES = components()
OVERLAYS = ("production", "staging")
PAIRS = [pair for pair in combinations(sorted(FAMILIES), 2) if FAMILIES[pair[0]] != FAMILIES[pair[1]]]
AUTOSCALERS = [one for one, family in FAMILIES.items() if family == "autoscaling"]


def contained(name: str) -> list[str]:
    """The components that an overlay has already."""
    written = yaml.safe_load((KUBERNETES / "overlays" / name / "kustomization.yaml").read_text(encoding="utf-8"))
    return [Path(one).name for one in written["components"]]


def added(folder: Path, name: str, component: str) -> Workload:
    """An overlay of ours with one more line among its components, as an operator would write it."""
    written = yaml.safe_load((KUBERNETES / "overlays" / name / "kustomization.yaml").read_text(encoding="utf-8"))
    written["components"].append(f"../../components/{component}")
    for kind in ("resources", "components"):
        written[kind] = [manifests.relative(folder, KUBERNETES / "overlays" / name / one) for one in written[kind]]
    (folder / "settings.env").write_bytes((KUBERNETES / "overlays" / name / "settings.env").read_bytes())
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    return manifests.kubernetes(folder)


def is_sound(workload: Workload) -> None:
    """Every document fits its schema, no two have the same name, and every mount has its volume."""
    for document in workload.documents:
        schemas.validate(document)
    names = [(one["kind"], one["metadata"]["name"]) for one in workload.documents]
    assert len(names) == len(set(names)), names
    mounted = {one["name"] for container in workload.revision["containers"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in workload.revision["volumes"]}


def test_the_base_alone_needs_nothing_but_kubernetes() -> None:
    assert {one["apiVersion"] for one in kustomize(KUBERNETES / "base")} == {
        "v1",
        "apps/v1",
        "policy/v1",
        "networking.k8s.io/v1",
    }


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_any_two_components_of_two_families_go_together(pair: tuple[str, str], tmp_path: Path) -> None:
    is_sound(manifests.overlay(tmp_path, "base", *pair))


@pytest.mark.parametrize("component", sorted(FAMILIES))
@pytest.mark.parametrize("name", OVERLAYS)
def test_any_component_of_a_further_family_goes_into_an_overlay(name: str, component: str, tmp_path: Path) -> None:
    if FAMILIES[component] not in {FAMILIES[one] for one in contained(name)}:
        is_sound(added(tmp_path, name, component))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_has_one_component_of_a_family_at_most(name: str) -> None:
    families = [FAMILIES[one] for one in contained(name)]
    assert len(families) == len(set(families))


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("component", AUTOSCALERS)
def test_where_an_autoscaler_decides_no_manifest_names_a_number_of_pods(
    name: str, component: str, tmp_path: Path
) -> None:
    """It would be reset by every apply."""
    scaled = added(tmp_path, name, component)
    assert "replicas" not in find(scaled.documents, "Deployment")["spec"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_project_is_written_once(name: str, tmp_path: Path) -> None:
    """But for the image, which may be another registry's."""
    workload = added(tmp_path, name, "autoscaling-keda")
    (tmp_path / "settings.env").write_text("GOOGLE_CLOUD_PROJECT=chosen\nSUBSCRIBER_OUTPUT=gs://chosen-out\n")
    text = yaml.safe_dump_all(manifests.kustomize(tmp_path)).replace(workload.daemon["image"], "")
    assert "PROJECT_ID" not in text
    assert "projects/chosen/secrets/subscriber-openai/versions/1" in text
    assert "https://monitoring.googleapis.com/v1/projects/chosen/location/global/prometheus" in text


@pytest.mark.parametrize("component", [one for one, family in FAMILIES.items() if family == "key"])
def test_the_key_is_a_file_that_the_daemon_can_read_and_no_other_user(component: str, tmp_path: Path) -> None:
    workload = manifests.overlay(tmp_path, "base", component)
    assert "OPENAI_API_KEY" not in workload.environ
    [mount] = [one for one in workload.daemon["volumeMounts"] if one["name"] == "openai"]
    [volume] = [one for one in workload.revision["volumes"] if one["name"] == "openai"]
    assert mount["readOnly"] is True
    if "secret" in volume:
        [file] = [item["path"] for item in volume["secret"]["items"]]
        assert volume["secret"]["defaultMode"] == 0o440
        assert workload.revision["securityContext"]["fsGroup"] == workload.revision["securityContext"]["runAsGroup"]
    else:
        provider = find(workload.documents, "SecretProviderClass", "subscriber-openai")
        [secret] = yaml.safe_load(provider["spec"]["parameters"]["secrets"])
        assert volume["csi"]["volumeAttributes"] == {"secretProviderClass": "subscriber-openai"}
        assert re.search(r"/versions/\d+$", secret["resourceName"])
        file = secret["path"]
    assert workload.environ["OPENAI_API_KEY_FILE"] == f"{mount['mountPath']}/{file}"


@pytest.mark.parametrize(
    ("component", "kind", "endpoints"),
    [
        ("monitoring-managed-prometheus", "PodMonitoring", "endpoints"),
        ("monitoring-operator", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_the_collector_is_let_in_and_asks_the_metrics_path_of_the_daemons_port(
    component: str, kind: str, endpoints: str, tmp_path: Path
) -> None:
    workload = manifests.overlay(tmp_path, "base", component)
    [endpoint] = find(workload.documents, kind)["spec"][endpoints]
    [port] = workload.daemon["ports"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    rules = [one["spec"].get("ingress") for one in workload.documents if one["kind"] == "NetworkPolicy"]
    [[rule]] = [one for one in rules if one]
    assert rule["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    assert all("namespaceSelector" in peer for peer in rule["from"])


def backfill(folder: Path) -> tuple[Workload, dict[str, Any]]:
    """The daemon's workload, and the pod that a backfill runs in."""
    workload = manifests.overlay(folder, "base", "backfill")
    job = find(workload.documents, "CronJob", "subscriber-backfill")["spec"]["jobTemplate"]["spec"]
    return workload, job["template"]


def test_the_scheduled_command_is_one_that_there_is(tmp_path: Path) -> None:
    workload, pod = backfill(tmp_path)
    [container] = pod["spec"]["containers"]
    assert "command" not in container, "the image's own"
    name, *arguments = container["args"]
    context = typer.main.get_command(app).commands[name].make_context(name, list(arguments))  # type: ignore[attr-defined]
    assert context.params["since"] == "3d"
    used = set(re.findall(r"\$\((\w+)\)", " ".join(arguments)))
    overlay = manifests.kubernetes(KUBERNETES / "overlays" / "production")
    assert used == {"GOOGLE_CLOUD_PROJECT"} <= overlay.environ.keys()
    assert container["envFrom"] == workload.daemon["envFrom"]


def test_a_backfill_has_the_daemons_rights_and_is_no_daemon(tmp_path: Path) -> None:
    workload, pod = backfill(tmp_path)
    [container] = pod["spec"]["containers"]
    assert pod["spec"]["serviceAccountName"] == workload.revision["serviceAccountName"]
    assert container["securityContext"] == workload.daemon["securityContext"]
    assert "env" not in container, "it needs no key"
    labels = pod["metadata"]["labels"]
    assert labels != find(workload.documents, "Deployment")["spec"]["selector"]["matchLabels"]
    [allowed] = find(workload.documents, "NetworkPolicy")["spec"]["podSelector"]["matchExpressions"]
    assert labels[allowed["key"]] in allowed["values"]


def test_spot_pods_go_to_spot_nodes_only(tmp_path: Path) -> None:
    pod = manifests.overlay(tmp_path, "base", "spot").revision
    assert pod["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert [one["key"] for one in pod["tolerations"]] == list(pod["nodeSelector"])


def test_the_autoscaler_that_knows_no_pauses_counts_what_a_pause_does_not_grow(tmp_path: Path) -> None:
    workload = manifests.overlay(tmp_path, "base", "autoscaling-stackdriver")
    [metric] = find(workload.documents, "HorizontalPodAutoscaler")["spec"]["metrics"]
    prefix, name, kind = metric["external"]["metric"]["name"].split("|")
    assert (prefix, kind) == ("prometheus.googleapis.com", "gauge")
    assert name == "subscriber_jobs_in_flight"
    assert metric["external"]["target"]["type"] == "AverageValue"


def test_the_other_one_asks_for_the_pods_that_there_are_while_any_of_them_is_paused(tmp_path: Path) -> None:
    """`docs/scale.md` says why; tests/ops/long_autoscaler.py has promtool answer it, here its parts are looked at."""
    workload = manifests.overlay(tmp_path, "base", "autoscaling-keda")
    [trigger] = find(workload.documents, "ScaledObject")["spec"]["triggers"]
    query, threshold = trigger["metadata"]["query"], trigger["metadata"]["threshold"]
    promql_parser.parse(query)
    ours = set(re.findall(r"\bsubscriber_\w+", query))
    known = {family.name for family in Metrics(("whisper-1",)).registry.collect()}
    assert ours == {"subscriber_provider_paused", "subscriber_build_info"} <= known
    assert f"{threshold} * count(subscriber_build_info" in query
    assert "unless (max(subscriber_provider_paused" in query


@pytest.mark.parametrize("component", AUTOSCALERS)
def test_pods_come_slowly_and_leave_more_slowly(component: str, tmp_path: Path) -> None:
    workload = manifests.overlay(tmp_path, "base", component)
    [scaler] = [one for one in workload.documents if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    spec = scaler["spec"]
    behavior = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] >= 120
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 900
    assert spec.get("minReplicas", spec.get("minReplicaCount")) >= 2
