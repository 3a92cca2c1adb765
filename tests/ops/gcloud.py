"""Command lines of gcloud: those that k8s/setup runs, by a stub in its place; those in documents; its linter."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.ops.manifests import KUBERNETES
from tests.ops.stub_gcloud import READS

__all__ = ["BUCKETS", "GcloudStub", "changes", "complaints", "documented"]

Line = list[str]

BUCKETS = ("--project=my-project", "--region=europe-west1", "--bucket=recordings-of-ours", "--output=transcripts")

MEANT = {
    "$index": "field-path=a,order=ascending",
    "$field": "a",
    "${2:-1h}": "1h",
    " ...": " gs://a/b gs://c",
}
"""In place of what a shell or a reader puts in."""


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


def documented(text: str) -> Iterator[Line]:
    """Every command of gcloud in the shell blocks and between the backticks of a document."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`]*gcloud [^`]*)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        yield from _commands(line)


def _commands(line: str) -> Iterator[Line]:
    """Those of a line."""
    for written, meant in MEANT.items():
        line = line.replace(written, meant)
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: Line = []
    for word in [*words, ";"]:
        if not set(word) <= set("();<>|&"):
            command.append(word)
            continue
        if "gcloud" in command:
            yield command[command.index("gcloud") :]
        command = []


def complaints(commands: Iterable[str], folder: Path) -> dict[str, str]:
    """What gcloud's own linter has against them; `folder` is for its files."""
    asked = folder / "commands.json"
    asked.write_text(json.dumps([{"command_string": one} for one in sorted(commands)]), encoding="utf-8")
    linted = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={asked}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(folder / "config"), "CLOUDSDK_CORE_PROJECT": "my-project"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = json.loads(linted.stdout)
    assert {one["command_string"] for one in verdicts} == set(commands)
    return {one["command_string"]: one["error_message"] for one in verdicts if not one["success"]}
