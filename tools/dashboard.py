"""Writes k8s/dashboards/subscriber.json, Grafana's dashboard, from panels.yaml beside it; a test holds it in step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "k8s" / "dashboards" / "subscriber.json"
PANELS = FILE.with_name("panels.yaml")

COLUMNS = 4
WIDTH, HEIGHT = 24 // COLUMNS, 7
"""Of a panel, in units of Grafana's grid, which is 24 wide."""

Document = dict[str, Any]


def rows() -> dict[str, list[Document]]:
    """The panels, by the rows that they stand in."""
    found: dict[str, list[Document]] = yaml.safe_load(PANELS.read_text(encoding="utf-8"))
    return found


def dashboard() -> Document:
    """What Grafana imports."""
    return {
        "uid": "subscriber",
        "title": "subscriber",
        "description": "One transcript for every audio object. Made by `make docs` from k8s/dashboards/panels.yaml.",
        "tags": ["subscriber"],
        "schemaVersion": 39,
        "timezone": "utc",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [_DATASOURCE, _NAMESPACE]},
        "panels": list(_panels()),
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_DATASOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
_NAMESPACE = {
    "name": "namespace",
    "label": "Namespace",
    "type": "query",
    "datasource": _SOURCE,
    "query": {"query": "label_values(subscriber_build_info, namespace)", "refId": "namespace"},
    "refresh": 2,
    "includeAll": True,
    # Also where there is no such label, as on one machine.
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def _panels() -> Iterator[Document]:
    ids, y = count(1), 0
    for title, panels in rows().items():
        across = {"x": 0, "y": y, "w": 24, "h": 1}
        yield {"id": next(ids), "type": "row", "title": title, "gridPos": across, "panels": []}
        y += 1
        for number, panel in enumerate(panels):
            line, column = divmod(number, COLUMNS)
            place = {"x": column * WIDTH, "y": y + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": next(ids), "gridPos": place, **_drawn(panel)}
        y += -(-len(panels) // COLUMNS) * HEIGHT


def _drawn(panel: Document) -> Document:
    return {
        "type": "timeseries",
        "title": panel["title"],
        "description": panel["description"],
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel["unit"], "min": 0, "custom": {"fillOpacity": 10}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": f"Q{number}", "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (legend, query) in enumerate(panel["queries"].items(), 1)
        ],
    }
