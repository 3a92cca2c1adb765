"""`config`: the settings for a terminal, or as the README's table."""

from __future__ import annotations

import textwrap

from subscriber import config
from subscriber.config import ConfigErrors, Settings
from subscriber.settings_table import Row, describe, markdown

__all__ = ["show_settings"]


def show_settings(*, as_markdown: bool) -> int:
    """Print every setting. Raises ConfigErrors after it, if the environment has mistakes."""
    if as_markdown:
        print(markdown(), end="")
        return 0
    mistakes, settings = None, None
    try:
        settings = Settings.from_environ(config.environ())
    except ConfigErrors as error:
        mistakes = error
    for row in describe(settings):
        print(_entry(row))
    if mistakes:
        raise mistakes
    return 0


def _entry(row: Row) -> str:
    value = f" = {row.value}" if row.value else ""
    lines = [f"{row.name}{value}", f"    {row.type}; default: {row.default}"]
    for text in (row.meaning, f"Why: {row.why}"):
        lines += textwrap.wrap(text, 76, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines) + "\n"
