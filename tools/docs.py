"""Writes what is made from tables: README's settings, the reference, the manual, indexes, alerts, dashboard, status."""

from __future__ import annotations

import json
import re
from pathlib import Path

from subscriber.cli import app
from subscriber.cli.manual import manual
from subscriber.queries import every_index
from subscriber.reference import reference
from subscriber.settings_table import markdown
from tools import alerts, dashboard, status_table

ROOT = Path(__file__).parents[1]
SETTINGS = re.compile(r"<!-- settings: begin -->.*<!-- settings: end -->\n", re.DOTALL)


def main() -> None:
    """Rewrite all in place."""
    readme = ROOT / "README.md"
    readme.write_text(SETTINGS.sub(lambda _: markdown(), readme.read_text()))
    (ROOT / "docs" / "reference.md").write_text(reference())
    (ROOT / "docs" / "commands.md").write_text(manual(app))
    write_indexes(ROOT / "firestore" / "indexes")
    for path, text in {
        **alerts.manifests(),
        dashboard.FILE: dashboard.text(),
        status_table.FILE: status_table.text(),
    }.items():
        path.write_text(text, encoding="utf-8")


def write_indexes(folder: Path) -> None:
    """One file an index, as `gcloud firestore indexes composite create --field-config=FILE` takes it."""
    for old in folder.glob("*.json"):
        old.unlink()
    for index in every_index():
        fields = [{"field-path": field, "order": order} for field, order in index]
        (folder / f"{'-'.join(field for field, _ in index)}.json").write_text(json.dumps(fields, indent=1) + "\n")


if __name__ == "__main__":
    main()
