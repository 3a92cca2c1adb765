"""What the documentation says is true: names, commands, targets and files exist, and all that exist are named."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from subscriber import __version__
from subscriber.audio.facts import AUDIO_WARNINGS
from subscriber.cli import app
from subscriber.cli.manual import examples, manual
from subscriber.config import setting_names
from subscriber.errors import FAILURES, IGNORED, PAUSES, VERDICTS
from subscriber.metrics import catalogue
from subscriber.model import Outcome
from subscriber.reference import reference
from subscriber.settings_table import markdown
from subscriber.transcript import WARNINGS
from tests.simulation.promises import INVARIANTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # type: ignore[attr-defined]  # it is a group


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_readmes_settings_are_those_of_the_code() -> None:
    assert markdown() in README, "run `make docs`"


def test_the_reference_is_made_from_the_code() -> None:
    assert reference() == REFERENCE, "run `make docs`"


def test_the_commands_are_described_by_their_own_help() -> None:
    assert manual(app) == (ROOT / "docs" / "commands.md").read_text(), "run `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples_that_parse(command: str) -> None:
    shown = examples(COMMANDS[command])
    assert shown
    for example in shown:
        program, name, *arguments = shlex.split(example.partition(" > ")[0])
        assert (program, name) == ("subscriber", command)
        COMMANDS[command].make_context(name, arguments)


@pytest.mark.parametrize("name", [one.name for one in catalogue()])
def test_every_metric_is_documented(name: str) -> None:
    assert f"| `{name}` |" in REFERENCE


@pytest.mark.parametrize("name", [*Outcome, *VERDICTS, *FAILURES, *IGNORED, *PAUSES, *WARNINGS, *AUDIO_WARNINGS])
def test_every_outcome_reason_and_warning_is_documented(name: str) -> None:
    assert f"| `{name}` |" in REFERENCE


@pytest.mark.parametrize("outcome", Outcome)
def test_the_readme_shows_every_ending(outcome: Outcome) -> None:
    assert re.search(rf"\*\*[^*]*\b{outcome}\b[^*]*\*\*|`{outcome}`", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_or_the_changelog(command: str) -> None:
    assert f"subscriber {command}" in README + (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_settings_commands_targets_and_files_that_exist(document: Path) -> None:
    text = document.read_text()
    # Kubernetes injects names like these; the documents may warn of them.
    named = {
        name
        for name in re.findall(r"\bSUBSCRIBER_[A-Z_]+\b", text)
        if not name.startswith(("SUBSCRIBER_SERVICE", "SUBSCRIBER_PORT"))
    }
    assert named <= setting_names()
    assert set(re.findall(r"`(?:\.venv/bin/)?subscriber ([a-z-]+)", text)) <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / link).exists(), link


def test_the_guarantees_name_tests_that_exist_and_every_promise_of_the_simulation() -> None:
    told = (ROOT / "docs" / "guarantees.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", told))
    assert {name for name in named if f"def {name}(" not in tests} == set()
    assert {name for name in INVARIANTS if f"*{name}*" not in told} == set()


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([^)]+)\)", README))
def test_the_readmes_anchors_lead_somewhere(anchor: str) -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_that_belongs_to_one_machine_or_one_person_is_committed() -> None:
    secret = re.compile(rb"sk-[A-Za-z0-9]{20,}|BEGIN [A-Z ]*PRIVATE KEY|--(extra-)?index-url|/(home|root)/\w+/")
    for path in tracked_files():
        found = secret.search(path.read_bytes())
        assert not found or path == Path(__file__), f"{path}: {found and found[0]!r}"


def test_no_large_file_is_committed() -> None:
    assert [path for path in tracked_files() if path.stat().st_size > 600_000] == []
