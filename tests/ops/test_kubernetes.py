"""What a cluster is asked for."""

from __future__ import annotations

from pathlib import Path

from tests.ops import manifests, schemas
from tests.ops.manifests import KUBERNETES, Manifest, Workload, bytes_of, find, kustomize

LABELS = {"app.kubernetes.io/name": "subscriber"}


def spec_of(deployment: Workload) -> Manifest:
    spec: Manifest = find(deployment.documents, "Deployment")["spec"]
    return spec


def test_every_object_fits_the_schema_of_kubernetes(deployment: Workload) -> None:
    """Strictly: a field that the cluster would drop in silence fails here."""
    for document in deployment.documents:
        schemas.validate(document)


def test_every_object_lives_in_the_namespace_that_the_base_makes(deployment: Workload) -> None:
    elsewhere = [one["kind"] for one in deployment.documents if one["metadata"].get("namespace") != "subscriber"]
    assert elsewhere == ["Namespace"]
    assert find(deployment.documents, "Namespace")


def test_the_namespace_refuses_pods_with_more_rights(deployment: Workload) -> None:
    labels = find(deployment.documents, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


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


def test_everything_that_selects_pods_selects_ours(deployment: Workload) -> None:
    [spread] = deployment.revision["topologySpreadConstraints"]
    selectors = [spec_of(deployment)["selector"], spread["labelSelector"]]
    for document in deployment.documents:
        if document["kind"] in {"PodDisruptionBudget", "PodMonitoring"}:
            selectors.append(document["spec"]["selector"])
        if document["kind"] == "NetworkPolicy":
            selectors.append(document["spec"]["podSelector"])
    assert spec_of(deployment)["template"]["metadata"]["labels"] == LABELS
    assert selectors == [{"matchLabels": LABELS}] * 6


def test_nobody_comes_in_and_out_goes_only_what_the_daemon_asks() -> None:
    policy = find(kustomize(KUBERNETES / "base"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    anywhere = [rule for rule in policy["egress"] if "to" not in rule]
    assert anywhere == [{"ports": [{"port": 443, "protocol": "TCP"}]}]


def test_names_and_tokens_can_be_asked_for_on_both_kinds_of_network() -> None:
    """Without these two the daemon starts, and every call of it hangs."""
    policy = find(kustomize(KUBERNETES / "base"), "NetworkPolicy")["spec"]
    open_to = {
        (peer["ipBlock"]["cidr"], port["port"])
        for rule in policy["egress"]
        for peer in rule.get("to", ())
        for port in rule["ports"]
        if "ipBlock" in peer
    }
    node_local_dns, metadata, metadata_on_calico = "169.254.20.10/32", "169.254.169.254/32", "169.254.169.252/32"
    names = {(node_local_dns, 53), (metadata, 53)}
    tokens = {(metadata, 80), (metadata, 8080), (metadata_on_calico, 987), (metadata_on_calico, 988)}
    assert open_to == names | tokens


def test_an_overlay_names_the_image_and_the_settings_without_a_patch(tmp_path: Path) -> None:
    digest = "sha256:" + "5" * 64
    found = manifests.overlay(
        tmp_path,
        "base",
        images=[{"name": "subscriber", "newName": "registry.example/team/subscriber", "digest": digest}],
        configMapGenerator=[
            {"name": "subscriber", "behavior": "merge", "literals": ["SUBSCRIBER_OUTPUT=gs://elsewhere"]}
        ],
    )
    assert found.daemon["image"] == f"registry.example/team/subscriber@{digest}"
    assert found.environ["SUBSCRIBER_OUTPUT"] == "gs://elsewhere"


def test_a_changed_setting_rolls_the_pods(tmp_path: Path) -> None:
    formats = {"name": "subscriber", "behavior": "merge", "literals": ["SUBSCRIBER_FORMATS=srt"]}
    changed = manifests.overlay(tmp_path, "base", configMapGenerator=[formats])
    assert find(changed.documents, "Deployment") != find(kustomize(KUBERNETES / "base"), "Deployment")


def test_production_and_staging_run_the_same_daemon_but_for_what_their_files_say(
    deployment: Workload, staging: Workload
) -> None:
    differing = {
        name
        for name in deployment.environ.keys() | staging.environ
        if deployment.environ.get(name) != staging.environ.get(name)
    }
    assert differing == {"SUBSCRIBER_LOG_LEVEL", "SUBSCRIBER_SHUTDOWN_GRACE_SECONDS"}
