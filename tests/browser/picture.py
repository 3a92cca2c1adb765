"""Draws docs/status.png: `python -m tests.browser.picture`.

A real daemon with real work on the emulators, some of it failing, and its page as a desk sees it by day and a phone by
night.
"""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from subscriber import emulators as servers
from subscriber.whisper_server import Control, Server, StubEngine
from tests.browser.chromium import Browser, browser
from tests.daemon import Daemon
from tests.process.scenes import Scene
from tests.sound import wav
from tests.world import World, fresh, new_world

PICTURE = Path(__file__).parents[2] / "docs" / "status.png"
SETTINGS = {"whisper_concurrency": 4, "price_usd_per_minute": 0.006, "budget_usd_per_day": 5, "language": "en"}
DESK, PHONE = (1000, 860), (390, 860)
GAP, COLOURS = 24, 128


def main() -> None:
    """Work, look, draw."""
    with ExitStack() as stack:
        project = stack.enter_context(servers.emulators(os.environ, project=fresh("picture")))
        world = stack.enter_context(new_world(project))
        server = stack.enter_context(Server(StubEngine(latency=1.5), control=True))
        scene = stack.enter_context(Scene(world, server.url, Control(server.url)))
        daemon = scene.start(**SETTINGS)
        daemon.ready()
        screen = stack.enter_context(browser())
        three_minutes(world, daemon)
        draw(screen, f"http://127.0.0.1:{daemon.port}/")
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB", file=sys.stderr)


def three_minutes(world: World, daemon: Daemon) -> None:
    """Calls of some length, two files of no use, and at the end long ones that are on their way."""
    for number in range(32):
        world.upload(f"calls/2026/11/{number:02}-support.wav", wav(f"call {number}", 4 + 11 * (number % 5)))
        if number in {9, 21}:
            world.upload(f"calls/2026/11/{number:02}-cut-off.wav", b"RIFF and no more")
        time.sleep(2 + 2 * (number % 4))
    for number, name in enumerate(("board-meeting.wav", "lecture 3, part two.wav", "Interview mit Herrn Zöller.wav")):
        world.upload(f"long/{name}", wav(name, 400 + 100 * number))
    daemon.counts(1, "whisper_in_flight")
    time.sleep(18)


def draw(screen: Browser, url: str) -> None:
    """By day and by night, side by side."""
    parts = []
    for size, dark in ((DESK, False), (PHONE, True)):
        screen.look(size, dark=dark)
        screen.open(url)
        parts.append(Image.open(io.BytesIO(screen.driver.get_screenshot_as_png())).convert("RGB"))
    sheet = Image.new("RGB", (sum(part.width for part in parts) + GAP, max(part.height for part in parts)), "#8b9096")
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (parts[0].width + GAP, 0))
    # Few colours make a small file.
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
