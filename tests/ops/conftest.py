"""The ways to run the daemon, each rendered once."""

from __future__ import annotations

import pytest

from tests.ops import manifests
from tests.ops.manifests import Workload


@pytest.fixture(scope="session")
def deployment() -> Workload:
    """What is applied to a production cluster."""
    return manifests.kubernetes(manifests.KUBERNETES / "overlays" / "production")


@pytest.fixture(scope="session")
def staging() -> Workload:
    return manifests.kubernetes(manifests.KUBERNETES / "overlays" / "staging")


@pytest.fixture(scope="session")
def service() -> Workload:
    return manifests.cloud_run("service")


@pytest.fixture(scope="session")
def worker_pool() -> Workload:
    return manifests.cloud_run("worker-pool")


@pytest.fixture(scope="session", params=["deployment", "staging", "service", "worker_pool"])
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each of the four in turn."""
    found: Workload = request.getfixturevalue(request.param)
    return found
