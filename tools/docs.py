"""Writes what is made from the code: README's settings, docs/reference.md, the alerts' manifests, the dashboard."""

from __future__ import annotations

import re
from pathlib import Path

from subscriber.reference import reference
from subscriber.settings_table import markdown
from tools import alerts, dashboard

ROOT = Path(__file__).parents[1]
SETTINGS = re.compile(r"<!-- settings: begin -->.*<!-- settings: end -->\n", re.DOTALL)


def main() -> None:
    """Rewrite all of it in place."""
    readme = ROOT / "README.md"
    readme.write_text(SETTINGS.sub(lambda _: markdown(), readme.read_text()))
    (ROOT / "docs" / "reference.md").write_text(reference())
    for path, text in {**alerts.manifests(), dashboard.FILE: dashboard.text()}.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
