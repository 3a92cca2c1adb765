"""What a query asks for, and what the daemon would answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import promql_parser

from subscriber.metrics import Metrics

__all__ = ["selectors", "unknown"]

Matcher = tuple[str, str, str]
"""Label, operator, value."""

TARGET = {"instance", "job", "namespace", "pod"}
"""Labels that a scrape adds."""


def selectors(query: str) -> Iterator[tuple[str, list[Matcher]]]:
    """Every metric that a query names, with its matchers. Raises ValueError where the query does not parse."""
    yield from _within(promql_parser.parse(query))


def _within(expr: Any) -> Iterator[tuple[str, list[Matcher]]]:
    match expr:
        case promql_parser.VectorSelector():
            yield str(expr.name), [(one.name, str(one.op), one.value) for one in expr.matchers.matchers]
        case promql_parser.MatrixSelector():
            yield from _within(expr.vector_selector)
        case promql_parser.Call():
            for one in expr.args:
                yield from _within(one)
        case promql_parser.BinaryExpr():
            yield from _within(expr.lhs)
            yield from _within(expr.rhs)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.SubqueryExpr():
            yield from _within(expr.expr)


@functools.cache
def exposed() -> dict[str, list[dict[str, str]]]:
    """The labels of every series that a daemon with a budget shows from its start, by the sample's name."""
    metrics = Metrics(("whisper-1", "gpt-transcribe"))
    metrics.show_budget()
    found: dict[str, list[dict[str, str]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def unknown(query: str) -> list[str]:
    """What a query asks for of our metrics that no daemon exposes: a name, or a label's value."""
    missing = []
    for name, matchers in selectors(query):
        series = exposed().get(name, [])
        ours = [one for one in matchers if one[0] not in TARGET]
        wanted = [(label, value) for label, _, text in ours for value in text.split("|")]
        missing += [name] if not series else []
        missing += [
            f"{name}{{{label}={value!r}}}"
            for label, value in wanted
            if series and not any(re.fullmatch(value, one.get(label, "\n")) for one in series)
        ]
    return missing
