"""Draws docs/dashboard.png: `python -m tests.ops.picture`.

A real Prometheus scrapes a real daemon through two minutes with failures in them, and matplotlib draws what each panel
of the dashboard asks for. That is not how Grafana draws it; the data and the queries are the same.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from subscriber import emulators as servers
from subscriber.whisper_server import Control, Server, StubEngine
from tests.ops.prometheus import Prometheus, prometheus
from tests.process.scenes import Scene
from tests.sound import wav
from tests.world import World, fresh, new_world
from tools import dashboard

PICTURE = Path(__file__).parents[2] / "docs" / "dashboard.png"
RATE_INTERVAL = "10s"
SETTINGS = {"whisper_concurrency": 4, "price_usd_per_minute": 0.006, "budget_usd_per_day": 5, "retry_min_seconds": 1}


def main() -> None:
    """Run, scrape, draw."""
    with ExitStack() as stack:
        project = stack.enter_context(servers.emulators(os.environ, project=fresh("picture")))
        world = stack.enter_context(new_world(project))
        server = stack.enter_context(Server(StubEngine(latency=0.5), control=True))
        scene = stack.enter_context(Scene(world, server.url, Control(server.url)))
        daemon = scene.start(**SETTINGS)
        daemon.ready()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scraping = stack.enter_context(prometheus(folder, daemon.port))
        began = time.time()
        two_minutes(world, scene.control)
        draw(scraping, began, time.time())
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB", file=sys.stderr)


def two_minutes(world: World, control: Control) -> None:
    """Uploads all the time; from the 40th second on 25 without money, then some errors, a limit, files of no use."""
    faults = {40: "quota", 65: None}
    for second in range(120):
        if second in faults:
            control.mode(faults[second])
        if second == 80:
            control.fault("rate_limit", times=3, retry_after=1)
            control.fault("server_error", times=3)
        if second % 20 == 7:
            world.upload(f"{second}.wav", b"RIFF and no more")
        length = random.Random(second).choice((3, 8, 20, 70))  # noqa: S311 - no secret
        world.upload(f"call-{second}.wav", wav(f"{second // 2}", length))
        time.sleep(1)


def draw(scraping: Prometheus, start: float, end: float) -> None:
    """All panels in their rows."""
    lines = list(_lines())
    heights = [0.15 if isinstance(line, str) else 1 for line in lines]
    figure = plt.figure(figsize=(18, 2.3 * sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(lines), dashboard.COLUMNS, height_ratios=heights)
    for number, line in enumerate(lines):
        if isinstance(line, str):
            head = figure.add_subplot(grid[number, :])
            head.axis("off")
            head.text(0, 0, line, fontsize=15, weight="bold")
            continue
        for column, panel in enumerate(line):
            _plot(figure.add_subplot(grid[number, column]), panel, scraping, start, end)
    figure.savefig(PICTURE, dpi=55)
    # Few colours make a small file.
    with Image.open(PICTURE) as drawn:
        drawn.convert("RGB").quantize(48, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


def _lines() -> Iterator[str | list[dict[str, Any]]]:
    for title, panels in dashboard.rows().items():
        yield title
        for first in range(0, len(panels), dashboard.COLUMNS):
            yield panels[first : first + dashboard.COLUMNS]


def _plot(axes: Axes, panel: dict[str, Any], scraping: Prometheus, start: float, end: float) -> None:
    for legend, query in panel["queries"].items():
        asked = query.replace("$__rate_interval", RATE_INTERVAL).replace("$namespace", ".*")
        for series in scraping.range(asked, start, end, 1):
            points = [(when - start, float(value)) for when, value in series["values"]]
            name = legend
            for label, value in series["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            # What stays at nothing would only fill the legend.
            if any(value and not math.isnan(value) for value in chain(*(point[1:] for point in points))):
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.5)
    axes.set_title(f"{panel['title']} [{panel['unit']}]", fontsize=11, loc="left")
    axes.set_xlim(0, end - start)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=7, loc="upper left", framealpha=0.6)


if __name__ == "__main__":
    main()
