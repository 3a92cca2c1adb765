"""Reads what is deployed: kustomize's output, the YAML files for Cloud Run, the Dockerfile's instructions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "k8s"

TOOLS = Path(sys.executable).parent
"""kubectl, shellcheck and hadolint come with the development requirements, so that no check depends on the machine."""


@dataclass(frozen=True)
class Workload:
    """One way to run the daemon, with the parts of it that all targets share."""

    name: str
    documents: tuple[Manifest, ...]
    revision: Manifest
    """The pod's or the revision's spec: containers, volumes and the account."""

    @property
    def daemon(self) -> Manifest:
        """The container that runs our image."""
        return next(one for one in self.revision["containers"] if one["name"] == "subscriber")

    @property
    def environ(self) -> dict[str, str]:
        """Every variable that the daemon's container is given."""
        found = {one["name"]: one["value"] for one in self.daemon["env"]}
        for source in self.daemon.get("envFrom", ()):
            config = find(self.documents, "ConfigMap", source["configMapRef"]["name"])
            found.update(config["data"])
        return found


def find(documents: tuple[Manifest, ...], kind: str, name: str = "subscriber") -> Manifest:
    """Return the one document of that kind and name."""
    [found] = [one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def kustomize(folder: Path) -> tuple[Manifest, ...]:
    """Render a folder as `kubectl apply -k` would; nothing is asked of a cluster."""
    command: list[str | Path] = [TOOLS / "kubectl", "kustomize", folder]
    rendered = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return tuple(yaml.safe_load_all(rendered.stdout))


def overlay(folder: Path, below: str, *components: str, **content: Any) -> Workload:
    """Render an overlay of `k8s/BELOW` with these components, written into `folder`."""
    added = [relative(folder, KUBERNETES / "components" / one) for one in components]
    written = {"resources": [relative(folder, KUBERNETES / below)], "components": added, **content}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    return kubernetes(folder)


def relative(folder: Path, target: Path) -> str:
    """How a kustomization in `folder` names `target`; it takes no absolute path."""
    return os.path.relpath(target.resolve(), folder.resolve())


def kubernetes(folder: Path) -> Workload:
    """The Deployment that a folder renders, and all that comes with it."""
    documents = kustomize(folder)
    return Workload(folder.name, documents, find(documents, "Deployment")["spec"]["template"]["spec"])


def components() -> dict[str, str]:
    """Every component with its family, the first word of its name: one of a family excludes the others."""
    names = [one.parent.name for one in KUBERNETES.glob("components/*/kustomization.yaml")]
    return {name: name.split("-")[0] for name in names}


def cloud_run(name: str) -> Workload:
    """One of the two Cloud Run files."""
    document = yaml.safe_load((KUBERNETES / "cloud-run" / f"{name}.yaml").read_text(encoding="utf-8"))
    return Workload(name, (document,), document["spec"]["template"]["spec"])


def bytes_of(quantity: str) -> int:
    """How many bytes a Kubernetes quantity with a binary suffix means."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) << 10 * (1 + ("Ki", "Mi", "Gi").index(unit))


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line]
