"""Builds the image and runs it as a cluster would; tests/ops/run_image.sh says how, without a Docker engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from subscriber import __version__
from tests.ops.manifests import ROOT

MEGABYTES = 400
CPU_SECONDS_TO_THE_FIRST_PULL = 3.0
"""Of the CPU, which others on this machine do not make more of; docs/building.md has the seconds that it took."""


@pytest.fixture(scope="session")
def said() -> str:
    """What the script prints from build to SIGTERM."""
    assert os.geteuid() == 0, "the image is built by mounting and changing root, which needs root"
    ran = subprocess.run(
        [ROOT / "tests" / "ops" / "run_image.sh"],
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_it_runs_as_nobody_on_a_root_that_it_cannot_write(said: str) -> None:
    assert "uid 65532, gid 65532, no capability, read-only root" in said


def test_it_says_the_packages_version_and_bears_it(said: str) -> None:
    assert f"\n{__version__}\n" in said
    assert f"org.opencontainers.image.version:{__version__}" in said


def test_it_is_smaller_than_its_limit(said: str) -> None:
    [size] = re.findall(r"^(\d+) MB, of which", said, re.MULTILINE)
    assert int(size) < MEGABYTES


def test_it_pulls_soon_after_a_cold_start(said: str) -> None:
    [seconds] = re.findall(r"^ready after [\d.]+ s, ([\d.]+) s of CPU$", said, re.MULTILINE)
    assert float(seconds) < CPU_SECONDS_TO_THE_FIRST_PULL


def test_it_transcribes_a_file_and_ends_in_peace(said: str) -> None:
    assert re.search(r"^doorbell\.wav, .*doorbell\.wav\.json", said, re.MULTILINE)
    assert re.search(r"^SIGTERM: exit 0 ", said, re.MULTILINE)
