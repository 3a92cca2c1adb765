"""What the Dockerfile promises; tests/ops/run_image.sh builds it and proves the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from subscriber import __version__
from tests.ops.manifests import ROOT, TOOLS, Workload, dockerfile


def final_stage() -> list[tuple[str, str]]:
    instructions = dockerfile()
    last = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def only(name: str) -> str:
    [found] = [arguments for instruction, arguments in final_stage() if instruction == name]
    return found


def test_both_stages_start_from_the_base_that_the_builder_names() -> None:
    bases = [arguments.split()[0] for instruction, arguments in dockerfile() if instruction == "FROM"]
    assert bases == ["${PYTHON_IMAGE}"] * 2
    [default] = [
        arguments for name, arguments in dockerfile() if name == "ARG" and arguments.startswith("PYTHON_IMAGE=")
    ]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", default)


def test_the_final_stage_is_given_the_virtual_environment_and_nothing_else() -> None:
    assert only("COPY") == "--from=build /venv /venv"
    assert not [name for name, _ in final_stage() if name in {"ADD", "RUN"}]


def test_every_dependency_comes_from_the_lock_with_its_hash() -> None:
    installs = [arguments for name, arguments in dockerfile() if name == "RUN" and "pip install" in arguments]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary=:all:", "--no-cache-dir"} <= set(installs[0].split())
    assert ("COPY", "requirements/runtime.txt /build/requirements.txt") in dockerfile()


def test_the_user_is_a_number_and_the_one_that_the_pod_asks_for(deployment: Workload) -> None:
    pod = deployment.revision["securityContext"]
    assert only("USER") == f"{pod['runAsUser']}:{pod['runAsGroup']}" == "65532:65532"


def test_the_daemon_is_process_one_and_gets_the_signals_itself() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["/venv/bin/python", "-m", "subscriber"]
    assert json.loads(only("CMD")) == ["run"]


def test_logs_are_not_held_back_and_nothing_is_written_beside_the_sources() -> None:
    assert {"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"} <= set(only("ENV").split())
    assert any("-m compileall" in arguments for name, arguments in dockerfile() if name == "RUN")


def test_the_image_says_what_it_is() -> None:
    labels = {"title", "description", "version", "revision", "base.name"}
    assert set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", only("LABEL"))) == labels
    assert '.version="${VERSION}"' in only("LABEL")
    assert [value for name, value in final_stage() if name == "ARG" and value.startswith("VERSION=")]


@pytest.mark.parametrize(("version", "taken"), [(__version__, True), ("unversioned", True), ("99.0.0", False)])
def test_a_label_with_another_version_than_the_packages_own_builds_no_image(version: str, taken: bool) -> None:
    """The version is written once, in the package."""
    [check] = [arguments for name, arguments in dockerfile() if name == "RUN" and "__version__" in arguments]
    here = check.replace("/build/", f"{ROOT}/")
    ran = subprocess.run(["sh", "-c", here], env={**os.environ, "VERSION": version}, check=False)
    assert (ran.returncode == 0) is taken


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.whisper"])
def test_a_dockerfile_is_clean_by_hadolint(name: str) -> None:
    linted = subprocess.run([TOOLS / "hadolint", ROOT / name], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_the_build_sees_only_what_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {value.split()[0] for name, value in dockerfile() if name == "COPY" and not value.startswith("--from")}
    assert let_in == copied
