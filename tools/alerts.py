"""Writes k8s/monitoring/alerts.yaml in the forms that clusters take; a test holds them in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

KUBERNETES = Path(__file__).parents[1] / "k8s"
SOURCE = KUBERNETES / "monitoring" / "alerts.yaml"
MADE = "# Made by `make docs` from k8s/monitoring/alerts.yaml.\n"

Document = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Queries keep their lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def groups() -> dict[str, Document]:
    """The groups of rules, by name."""
    return {one["name"]: one for one in yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["groups"]}


def manifests() -> dict[Path, str]:
    """What to write where.

    Managed Prometheus shows `Rules` only the series of their own namespace, and Pub/Sub's have none: `GlobalRules` see
    all. They belong to no namespace, which kustomize would give them, so they are a file of their own.
    """
    ours, pubsub = groups()["subscriber"], groups()["subscriber-pubsub"]
    named = {"name": "subscriber"}
    inside = {**named, "namespace": "subscriber"}
    components = KUBERNETES / "components"
    # Managed Prometheus asks for the period.
    managed, everywhere = ({**one, "interval": "30s"} for one in (ours, pubsub))
    return {
        components / "monitoring-managed-prometheus" / "rules.yaml": _resource(
            "monitoring.googleapis.com/v1", "Rules", inside, managed
        ),
        SOURCE.with_name("global-rules.yaml"): _resource(
            "monitoring.googleapis.com/v1", "GlobalRules", named, everywhere
        ),
        components / "monitoring-operator" / "prometheusrule.yaml": _resource(
            "monitoring.coreos.com/v1", "PrometheusRule", inside, ours
        ),
    }


def _resource(version: str, kind: str, metadata: Document, group: Document) -> str:
    document = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"groups": [group]}}
    return MADE + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)
