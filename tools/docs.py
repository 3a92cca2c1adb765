"""Writes the parts of the documentation that are made from the code: README's settings and docs/reference.md."""

from __future__ import annotations

import re
from pathlib import Path

from subscriber.reference import reference
from subscriber.settings_table import markdown

ROOT = Path(__file__).parents[1]
SETTINGS = re.compile(r"<!-- settings: begin -->.*<!-- settings: end -->\n", re.DOTALL)


def main() -> None:
    """Rewrite both in place."""
    readme = ROOT / "README.md"
    readme.write_text(SETTINGS.sub(lambda _: markdown(), readme.read_text()))
    (ROOT / "docs" / "reference.md").write_text(reference())


if __name__ == "__main__":
    main()
