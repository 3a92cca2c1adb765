"""`config`: the settings as a table for a terminal, or as the README's."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from subscriber import config
from subscriber.config import ConfigErrors, Settings
from subscriber.settings_table import describe, markdown

__all__ = ["show_settings"]


def show_settings(*, as_markdown: bool) -> int:
    """Print every setting; what is wrong with the environment is said below the table, with exit code 2."""
    if as_markdown:
        print(markdown(), end="")
        return 0
    mistakes: ConfigErrors | None = None
    settings: Settings | None = None
    try:
        settings = Settings.from_environ(config.environ())
    except ConfigErrors as error:
        mistakes = error
    table = Table("name", "value", "default", "meaning and why", show_lines=True)
    for row in describe(settings):
        table.add_row(row.name, row.value, row.default, f"{row.meaning}\n[dim]{row.why}[/dim]")
    Console().print(table)
    if mistakes:
        raise mistakes
    return 0
