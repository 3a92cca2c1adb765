"""The commands as one document: what `--help` shows, so that it cannot differ from it.

`make docs` writes it to docs/commands.md.
"""

from __future__ import annotations

from typing import Any

import typer

__all__ = ["examples", "manual"]

HEAD = """# Commands

Made by `make docs` from what `--help` shows; a test compares them. Exit codes: 0 done or cleanly drained ·
1 something failed · 2 bad usage or configuration, every problem listed at once.
"""

WIDTH = 110


def manual(app: typer.Typer) -> str:
    """All commands in Markdown."""
    group: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *(_command(name, command) for name, command in group.commands.items())])


def examples(command: Any) -> list[str]:
    """The command lines that the help of a command shows."""
    return [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]


def _command(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=f"subscriber {name}", terminal_width=WIDTH)
    return f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
