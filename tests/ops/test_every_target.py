"""What holds wherever the daemon runs."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.ops.manifests import KUBERNETES, ROOT, Workload

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def test_every_variable_that_is_set_is_a_setting_of_ours_or_one_of_two_known_ones(workload: Workload) -> None:
    from subscriber.config import setting_names

    ours = {name for name in workload.environ if name.startswith(("SUBSCRIBER_", "OPENAI_"))}
    assert ours <= setting_names()
    assert set(workload.environ) - ours <= {"PORT", "GOOGLE_CLOUD_PROJECT"}


def test_the_settings_without_a_default_are_set(workload: Workload) -> None:
    assert {"SUBSCRIBER_SUBSCRIPTION", "SUBSCRIBER_OUTPUT", "OPENAI_API_KEY_FILE"} <= set(workload.environ)


def test_the_key_is_read_from_a_mounted_file_and_is_in_no_variable(workload: Workload) -> None:
    assert "OPENAI_API_KEY" not in workload.environ
    [mount] = [one for one in workload.daemon["volumeMounts"] if one["name"] == "openai"]
    assert workload.environ["OPENAI_API_KEY_FILE"] == f"{mount['mountPath']}/api-key"


def test_every_mount_has_its_volume_and_every_volume_its_mount(workload: Workload) -> None:
    mounted = {one["name"] for container in workload.revision["containers"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in workload.revision["volumes"]}


def test_our_image_is_named_by_digest(workload: Workload) -> None:
    assert DIGEST.search(workload.daemon["image"])


def test_no_image_is_left_to_move(workload: Workload) -> None:
    for container in workload.revision["containers"]:
        pinned = DIGEST.search(container["image"]) or re.search(r":\d+(\.\d+)+$", container["image"])
        assert pinned, container["image"]


def test_the_image_decides_what_is_run(workload: Workload) -> None:
    """A command repeated in a manifest would survive a change of the image's own."""
    assert not {"command", "args"} & set(workload.daemon)


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_start_and_life_are_asked_of_livez_which_no_outage_turns_red(workload: Workload, probe: str) -> None:
    assert workload.daemon[probe]["httpGet"]["path"] == "/livez"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_the_port_that_the_daemon_listens_on(workload: Workload, probe: str) -> None:
    if probe not in workload.daemon:
        assert workload.name in {"service", "worker-pool"}
        return
    named = {one.get("name"): one["containerPort"] for one in workload.daemon.get("ports", ())}
    port = workload.daemon[probe]["httpGet"]["port"]
    assert named.get(port, port) == int(workload.environ.get("PORT", "8080"))


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_a_probe_ends_before_the_next_one_begins(workload: Workload, probe: str) -> None:
    """Cloud Run refuses anything else."""
    assert workload.daemon[probe]["timeoutSeconds"] < workload.daemon[probe]["periodSeconds"]


def test_a_start_may_take_two_minutes_but_not_more_than_four(workload: Workload) -> None:
    probe = workload.daemon["startupProbe"]
    window = probe.get("initialDelaySeconds", 0) + probe["periodSeconds"] * probe["failureThreshold"]
    assert 120 <= window <= 240


def test_a_busy_minute_does_not_get_the_daemon_killed(workload: Workload) -> None:
    probe = workload.daemon["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


def test_every_container_has_a_limit_to_its_memory(workload: Workload) -> None:
    for container in workload.revision["containers"]:
        assert re.fullmatch(r"\d+[MG]i", container["resources"]["limits"]["memory"])


def test_every_workload_has_an_account_of_its_own(workload: Workload) -> None:
    """The default accounts may do far more than the daemon needs."""
    assert workload.revision["serviceAccountName"].split("@")[0] == "subscriber"


def test_the_readme_names_every_folder_and_file_that_can_be_applied() -> None:
    readme = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    folders = {one.parent for one in KUBERNETES.rglob("kustomization.yaml")}
    for path in folders | set((KUBERNETES / "cloud-run").glob("*.yaml")):
        assert f"`{path.relative_to(KUBERNETES)}" in readme, path


FOR_OTHERS = {"collector.yaml", "alerts.yaml", "panels.yaml"}
"""Read by the collector, and by what makes rules and dashboard of them."""


def test_every_yaml_file_below_k8s_is_one_document_of_a_named_kind() -> None:
    found = [one for one in ROOT.glob("k8s/**/*.yaml") if one.is_file()]
    assert len(found) >= 8
    for path in found:
        [document] = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        assert {"apiVersion", "kind"} <= set(document) or path.name in FOR_OTHERS, path
