"""`check`: one line a finding, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from subscriber import config
from subscriber.compose_check import checks
from subscriber.config import Settings
from subscriber.desk.checking import run
from subscriber.desk.facts import Finding, Level
from subscriber.desk.words import shown

__all__ = ["check_all"]

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red", Level.UNKNOWN: "dim"}


def check_all(buckets: tuple[str, ...], *, spend: bool, as_json: bool) -> int:
    """Print every finding as it is found; 1 when one of them is a failure. Raises ConfigErrors, ConfigError."""
    settings = Settings.from_environ(config.environ())
    failed = False
    with checks(settings, buckets, spend=spend) as wanted:
        for finding in run(wanted):
            failed |= finding.level is Level.FAIL
            (_print_json if as_json else _print_line)(finding)
    return 1 if failed else 0


def _print_json(finding: Finding) -> None:
    print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)


def _print_line(finding: Finding) -> None:
    head = Text(f"{finding.level:<8}", style=STYLES[finding.level])
    console = Console(soft_wrap=True, highlight=False)
    console.print(head.append(f"{finding.subject}: {shown(finding.message)}", style="none"))
    if finding.remedy and finding.level is not Level.OK:
        console.print(Text(f"{'':<8}  {finding.remedy}"))
