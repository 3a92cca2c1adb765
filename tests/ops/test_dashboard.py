"""Grafana's dashboard shows what the daemon exposes, and explains each of its panels."""

from __future__ import annotations

import json
import re

import pytest

from subscriber.metrics import catalogue
from tests.ops.queries import selectors, unknown
from tools import dashboard

DASHBOARD = json.loads(dashboard.FILE.read_text(encoding="utf-8"))
PANELS = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
QUERIES = [target["expr"].replace("$__rate_interval", "5m") for panel in PANELS for target in panel["targets"]]

PYTHON_CLIENT = {"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"}


def test_the_file_is_made_from_the_table() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), "run `make docs`"


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_parses_and_asks_only_for_series_that_there_are(query: str) -> None:
    assert set(unknown(query)) <= PYTHON_CLIENT


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_about_the_chosen_namespace(query: str) -> None:
    assert all(("namespace", "MatchOp.Re", "$namespace") in matchers for _, matchers in selectors(query))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_unit_a_description_and_the_chosen_datasource(panel: dict[str, object]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]  # type: ignore[index]
    assert str(panel["description"]).endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_rows_are_those_that_an_operator_goes_through_in_that_order() -> None:
    rows = [one["title"] for one in DASHBOARD["panels"] if one["type"] == "row"]
    assert rows == ["Promise", "Flow", "Leases and claims", "Whisper and money", "Stages", "Runtime"]
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "namespace"]


def test_no_two_panels_overlap_or_share_an_id() -> None:
    cells = [
        (grid["x"] + x, grid["y"] + y)
        for grid in (one["gridPos"] for one in DASHBOARD["panels"])
        for x in range(grid["w"])
        for y in range(grid["h"])
    ]
    assert len(cells) == len(set(cells))
    ids = [one["id"] for one in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in QUERIES for name, _ in selectors(query)}
    assert {one.name for one in catalogue()} <= shown
