"""The runbook quotes what the daemon says, in commands and words that exist."""

from __future__ import annotations

import ast
import json
import re

import pytest
import typer

from subscriber.cli import app
from subscriber.errors import NEIGHBOURS, PAUSES
from tests.ops.manifests import ROOT

RUNBOOK = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n\n((?:(?!## ).*\n)*)", RUNBOOK, re.MULTILINE))
LINES = [json.loads(block) for block in re.findall(r"```json\n(.*)\n```", RUNBOOK)]

SEVERITIES = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}


def logged() -> dict[str, list[tuple[str, set[str]]]]:
    """Every line that the code logs, by its message: severity and the names of its fields."""
    found: dict[str, list[tuple[str, set[str]]]] = {}
    for path in (ROOT / "subscriber").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr=level) | ast.Name(id=level), args=[ast.Constant(value=str(message))]
                ) if level in {*SEVERITIES, "log"}:
                    fields = {one.arg for one in call.keywords if one.arg}
                    found.setdefault(message, []).append((SEVERITIES.get(level, ""), fields))
    return found


LOGGED = logged()


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["message"])
def test_a_quoted_log_line_is_one_that_the_daemon_writes(line: dict[str, str]) -> None:
    fields = line.keys() - {"severity", "message", "stack_trace"}
    assert [one for one in LOGGED[line["message"]] if one[0] in {line["severity"], ""} and fields <= one[1]]
    if line["message"] == "paused":
        assert line["neighbour"] in {*NEIGHBOURS, "budget"}
        assert line["reason"] in PAUSES


@pytest.mark.parametrize("message", re.findall(r"\blogs (\w+)", RUNBOOK))
def test_a_line_that_is_looked_for_is_one_that_the_daemon_writes(message: str) -> None:
    assert message in LOGGED


def test_the_commands_and_their_options_are_the_programs_own() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    typed = re.findall(r"^(?:for .*)?\bsub ([a-z]+)((?: [^#;\n]+)?)", RUNBOOK, re.MULTILINE)
    assert {name for name, _ in typed} >= {"check", "explain", "jobs"}
    for name, arguments in typed:
        options = {one for parameter in commands[name].params for one in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options, (name, arguments)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_begins_with_what_is_seen(section: str) -> None:
    first = SECTIONS[section].splitlines()[0]
    assert (
        first.startswith((f"Alert `{section}`", "No alert and no line"))
        or "```json" in SECTIONS[section].split("```sh")[0]
        or section == "What a month costs"
    )


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK))))
def test_an_anchor_leads_somewhere(anchor: str) -> None:
    assert anchor in {heading.lower().replace(" ", "-") for heading in SECTIONS}


def test_the_months_bill_is_what_its_factors_give() -> None:
    files, minutes = 36_000, 5
    bill = {
        "Whisper": files * minutes * 0.006,
        "Firestore": files * (2 * 0.03 + 2 * 0.09 + 0.01) / 100_000,
        "Cloud Storage, class A": files * 12 * 0.005 / 1000,
        "Cloud Storage, class B": files * 18 * 0.0004 / 1000,
        "Pub/Sub": files * 2000 * 40 / 2**40,
        "Managed Prometheus": 2 * 307 * 2 * 43_200 * 0.06 / 1e6,
        "GKE Autopilot": 2 * 730 * (0.5 * 0.0445 + 0.0049),
    }
    rows = [line.split("|") for line in SECTIONS["What a month costs"].splitlines() if line.startswith("| ")]
    shown = {cells[1].strip(): cells[-2].replace(",", "") for cells in rows if cells[1].strip() in bill}
    assert {what: float(usd) for what, usd in shown.items()} == {
        what: pytest.approx(usd, abs=0.006) for what, usd in bill.items()
    }
    assert bill["Whisper"] / sum(bill.values()) == pytest.approx(0.96, abs=0.005)
