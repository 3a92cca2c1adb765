"""Running checks: whatever one runs into is a finding, and the next one runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.desk.checking import Check, port_findings, probe_output, proven, run
from subscriber.desk.facts import Finding, Level, Unseen
from subscriber.errors import ConfigError, NeighbourDown, Permanent, PreconditionFailed, Transient
from subscriber.metrics import Metrics
from subscriber.model import ObjectInfo
from subscriber.web import WebServer

FINE = Finding(Level.OK, "a", "fine")


def raising(error: Exception) -> Check:
    def look() -> Iterator[Finding]:
        yield FINE
        raise error

    return Check("a", look)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unseen("hidden", "grant"), Finding(Level.UNKNOWN, "a", "hidden", "grant")),
        (ConfigError("SETTING", "is wrong", "mend it"), Finding(Level.FAIL, "a", "SETTING: is wrong", "mend it")),
        (NeighbourDown("gcs", "forbidden", "no"), Finding(Level.FAIL, "a", "forbidden: no")),
        (Transient("storage_error", "late"), Finding(Level.FAIL, "a", "late")),
    ],
)
def test_an_error_is_a_finding_and_the_next_check_runs(error: Exception, expected: Finding) -> None:
    assert list(run([raising(error), Check("a", lambda: [FINE])])) == [FINE, expected, FINE]


def test_behind_an_emulator_what_is_proven_says_nothing_of_rights() -> None:
    assert [one.level for one in run([proven("a", lambda: None, "fine")])] == [Level.OK]
    assert [one.level for one in run([proven("a", lambda: None, "fine", emulator=True)])] == [Level.OK, Level.UNKNOWN]


class Careless(FolderObjects):
    """A store that writes whatever is there."""

    def write(self, *args: Any, **how: Any) -> ObjectInfo:
        try:
            return super().write(*args, **how)
        except PreconditionFailed:
            live = self.stat(args[0], args[1])
            assert live
            return super().write(*args, **{**how, "if_generation": live.generation})


class Locked(FolderObjects):
    """A store that takes nothing."""

    def write(self, *args: Any, **how: Any) -> ObjectInfo:
        raise Permanent("output_locked", f"a hold forbids {args[1]}, {how['if_generation']}")


@pytest.mark.parametrize(("store", "level"), [(FolderObjects, Level.OK), (Careless, Level.FAIL), (Locked, Level.FAIL)])
def test_the_output_is_probed_and_left_as_it_was(tmp_path: Path, store: type[FolderObjects], level: Level) -> None:
    objects = store({"out": tmp_path})
    (finding,) = run([Check("output", lambda: probe_output(objects, "out", "texts/.chunks/"))])
    assert finding.level is level
    assert list(objects.below("out", "")) == []


def test_a_port_is_free_or_ours_or_somebody_elses() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        other.listen()
    assert [one.level for one in port_findings(port)] == [Level.OK]
    assert [one.level for one in port_findings(0)] == [Level.OK]
    with socket.create_server(("", port)) as silent:
        silent.listen()
        (taken,) = port_findings(port)
        assert (taken.level, taken.remedy) == (Level.FAIL, "PORT=ANOTHER_PORT")
    with WebServer(port, Metrics(("m",)).render, lambda: True, lambda: (True, {"state": "pulling"})):
        (ours,) = port_findings(port)
        assert (ours.level, ours.message) == (Level.OK, f"{port} is a subscriber's, which is pulling")
