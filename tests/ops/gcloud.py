"""Runs the scripts of k8s/setup with a stub in gcloud's place, and says what they asked of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.ops.manifests import KUBERNETES
from tests.ops.stub_gcloud import READS

__all__ = ["BUCKETS", "GcloudStub", "changes"]

Line = list[str]

BUCKETS = ("--project=my-project", "--region=europe-west1", "--bucket=recordings-of-ours", "--output=transcripts")


class GcloudStub:
    """A project of its own, empty at first."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "project.json"
        self._lines = self._file.with_suffix(".lines")
        program = folder / "gcloud"
        stub = Path(__file__).with_name("stub_gcloud.py")
        # -I -S: it is started sixty times a run, and needs nothing but the standard library.
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {stub} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        self._environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "STUB_GCLOUD": str(self._file)}

    def run(self, script: str, *options: str, typed: str = "") -> tuple[list[Line], subprocess.CompletedProcess[str]]:
        """The command lines of one run, and what it printed."""
        before = len(self.lines())
        ran = subprocess.run(
            [KUBERNETES / "setup" / script, *options],
            env=self._environ,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        return self.lines()[before:], ran

    def lines(self) -> list[Line]:
        """Every command line so far."""
        return (
            [json.loads(line) for line in self._lines.read_text("utf-8").splitlines()] if self._lines.exists() else []
        )

    @property
    def state(self) -> dict[str, Any]:
        """What there is in the project."""
        loaded: dict[str, Any] = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        return loaded

    def like(self, other: GcloudStub) -> None:
        """Become a copy of another project."""
        for file, theirs in ((self._file, other._file), (self._lines, other._lines)):
            file.write_bytes(theirs.read_bytes())

    def lose(self, *names: str) -> None:
        """Have something gone."""
        self._file.write_text(json.dumps({name: it for name, it in self.state.items() if name not in names}), "utf-8")

    def give(self, **state: Any) -> None:
        """Have something there before."""
        self._file.write_text(json.dumps(self.state | state), encoding="utf-8")


def changes(lines: list[Line]) -> list[str]:
    """The command lines that change something."""
    return [" ".join(line) for line in lines if not READS & set(line)]
