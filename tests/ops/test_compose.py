"""compose.yaml, as far as it can be looked at without an engine."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import yaml

from subscriber.config import Settings, setting_names
from tests.ops.manifests import ROOT


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def test_the_daemon_starts_with_the_environment_that_it_is_given(services: dict[str, Any]) -> None:
    environ = services["subscriber"]["environment"]
    assert set(environ) <= setting_names()
    Settings.from_environ(environ)


def test_every_neighbour_is_one_of_the_services(services: dict[str, Any]) -> None:
    environ = services["subscriber"]["environment"]
    addresses = [value for name, value in environ.items() if name.endswith(("_HOST", "_URL"))]
    assert {one.split("//")[-1].split(":")[0] for one in addresses} <= set(services)
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)


def test_the_daemon_runs_as_in_a_cluster(services: dict[str, Any]) -> None:
    daemon = services["subscriber"]
    assert (daemon["read_only"], daemon["tmpfs"], daemon["cap_drop"]) == (True, ["/tmp"], ["ALL"])  # noqa: S108
    grace = Settings.model_fields["shutdown_grace_seconds"].default
    assert int(daemon["stop_grace_period"].removesuffix("s")) > grace


def test_what_is_made_is_what_the_daemon_and_the_storage_name(services: dict[str, Any]) -> None:
    """The program that makes it calls our own functions, which are there and take what they are given."""
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else "Emulators": [
            ast.literal_eval(a) for a in node.args
        ]
        for node in ast.walk(ast.parse(services["setup"]["entrypoint"][2]))
        if isinstance(node, ast.Call)
    }
    environ = services["subscriber"]["environment"]
    assert calls["Emulators"] == [
        environ["GOOGLE_CLOUD_PROJECT"],
        environ["PUBSUB_EMULATOR_HOST"],
        environ["FIRESTORE_EMULATOR_HOST"],
        environ["STORAGE_EMULATOR_HOST"],
    ]
    topic, subscription = calls["make_topic"]
    inbox, outbox = calls["make_bucket"]
    assert (subscription, f"gs://{outbox}") == (environ["SUBSCRIBER_SUBSCRIPTION"], environ["SUBSCRIBER_OUTPUT"])
    assert {f"-event.pubsub-topic={topic}", f"-event.bucket={inbox}"} <= set(services["storage"]["command"])


def test_it_says_that_it_was_never_run() -> None:
    assert "never run" in (ROOT / "compose.yaml").read_text(encoding="utf-8")
