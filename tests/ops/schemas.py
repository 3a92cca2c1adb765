"""Whether a cluster would take a document as it is written: Kubernetes' own schemas, and ours for custom resources."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]

from tests.ops.manifests import Manifest

__all__ = ["is_custom", "validate"]

KUBERNETES_VERSION = "1.37"


def validate(document: Manifest) -> None:
    """Raise where a field is unknown, missing or of another type, and for a kind without a schema."""
    if not is_custom(document):
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
        return
    ours = custom_resources()
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {},
            "kind": {},
            "metadata": {"$ref": "#/definitions/metadata"},
            "spec": {"$ref": f"#/definitions/{_kind(document).replace('/', '~1')}"},
        },
    }
    jsonschema.validate(document, {**ours, **schema})


def is_custom(document: Manifest) -> bool:
    """Whether the schema of such a document is one of ours."""
    return _kind(document) in custom_resources()["definitions"]


@functools.cache
def custom_resources() -> dict[str, Any]:
    """The schemas' file."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("custom_resources.schema.json").read_text("utf-8"))
    return loaded


def _kind(document: Manifest) -> str:
    return f"{document['apiVersion']} {document['kind']}"
