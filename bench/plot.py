"""The plots of docs/performance.md, from what was measured last: `python -m bench.plot`, and after `make bench`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.races import RACES
from bench.scaling import LATENCY as SCALING_LATENCY
from bench.scaling import SLOTS_EACH, Point
from bench.store import load

__all__ = ["main"]

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 0.2
INCHES_WIDE, INCHES_HIGH = 11, 4


def main() -> None:
    """Draw what there are figures for."""
    mpl.use("agg")
    races = {name: found for name in RACES if (found := load(f"race-{name}"))}
    if races:
        _races(races).savefig(DOCS / "races.png", dpi=80)
    laws = {name: _finished(found) for name in LAWS if (found := load(name))}
    if len(laws) == len(LAWS):
        _laws(laws).savefig(DOCS / "scaling.png", dpi=80)


def _races(races: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Share of the limit, and CPU a job; bars are medians, whiskers the least and the most."""
    figure = Figure(figsize=(INCHES_WIDE, INCHES_HIGH), layout="constrained")
    share, cpu = figure.subplots(1, 2)
    contenders = list(dict.fromkeys(one["contender"] for runs in races.values() for one in runs))
    for at, contender in enumerate(contenders):
        mine = {name: [one for one in runs if one["contender"] == contender] for name, runs in races.items()}
        _bars(share, at, contender, {name: [_share(one) for one in runs] for name, runs in mine.items()})
        short = {name: [one["cpu_ms"] for one in runs] for name, runs in mine.items() if RACES[name].seconds == 1}
        _bars(cpu, at, contender, short)
    share.axhline(1.0, color="grey", linewidth=0.5)
    share.set_title("share of the limit (slots / latency)")
    cpu.set_title("CPU ms a job of 1 s, all its processes")
    cpu.legend()
    return figure


def _share(one: Mapping[str, Any]) -> float:
    return float(one["ideal_seconds"] / one["seconds"])


def _bars(axes: Axes, at: int, label: str, figures: Mapping[str, Sequence[float]]) -> None:
    """One contender's bars, beside those of the others."""
    middles = [statistics.median(values) if values else 0.0 for values in figures.values()]
    below = [middle - min(values, default=0.0) for middle, values in zip(middles, figures.values(), strict=True)]
    above = [max(values, default=0.0) - middle for middle, values in zip(middles, figures.values(), strict=True)]
    places = [place + at * WIDTH for place in range(len(figures))]
    axes.bar(places, middles, WIDTH, yerr=[below, above], label=label)
    axes.set_xlabel("slots x seconds of an answer")
    axes.set_xticks([place + 1.5 * WIDTH for place in range(len(figures))], list(figures))


def _finished(found: Sequence[Sequence[Any]]) -> list[Point]:
    """Of what was kept: a run that did not end in time has no figures."""
    return [point for point in (Point(*one) for one in found) if point.finished]


LAWS = ("slots", "daemons", "lengths", "backlog")


def _laws(laws: Mapping[str, Sequence[Point]]) -> Figure:
    figure = Figure(figsize=(INCHES_WIDE, 2 * INCHES_HIGH), layout="constrained")
    (slots, daemons), (lengths, backlog) = figure.subplots(2, 2)
    _rates(slots, laws["slots"], 1 / SCALING_LATENCY, "slots of one daemon")
    _rates(daemons, laws["daemons"], SLOTS_EACH / SCALING_LATENCY, f"daemons of {SLOTS_EACH} slots")
    _costs(lengths, laws["lengths"], "minutes of one MP3")
    _costs(backlog, laws["backlog"], "messages that wait")
    return figure


def _rates(axes: Axes, points: Sequence[Point], each: float, of: str) -> None:
    sizes = [point.size for point in points]
    axes.loglog(sizes, [point.jobs_a_second for point in points], "o-", label="jobs/s")
    axes.loglog(sizes, [each * size for size in sizes], "--", color="grey", label="the limit")
    _named(axes, of)


def _costs(axes: Axes, points: Sequence[Point], of: str) -> None:
    sizes = [point.size for point in points]
    axes.loglog(sizes, [point.pss for point in points], "o-", label="memory (PSS), MB")
    axes.loglog(sizes, [point.cpu_ms for point in points], "s-", label="CPU ms a job")
    _named(axes, of)


def _named(axes: Axes, of: str) -> None:
    axes.set_xlabel(of)
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.legend()


if __name__ == "__main__":
    main()
