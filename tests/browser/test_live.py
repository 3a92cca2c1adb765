"""The status page of the real daemon at work: its figures are those of /metrics, and its end does not go unnoticed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.browser.chromium import Browser
from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import wav

PRICE = 0.006
MANY, LOT = 1_000, 50


def url(daemon: Daemon) -> str:
    return f"http://127.0.0.1:{daemon.port}/"


def number(text: str) -> float:
    found = re.search(r"[\d.]+", text)
    assert found, text
    return float(found[0])


def test_its_figures_are_those_of_the_metrics(scene: Scene, screen: Browser) -> None:
    daemon = scene.start(whisper_concurrency=2, price_usd_per_minute=PRICE, budget_usd_per_day=5, language="en")
    daemon.ready()
    for name in ("one", "two", "three"):
        scene.world.upload(f"calls/{name}.wav", wav(name, 20))
    scene.world.upload("calls/no.wav", b"RIFF and no more")
    daemon.counts(3, "jobs_total", result="done")
    daemon.counts(1, "jobs_total", result="dead")
    scene.control.hold()
    scene.world.upload("calls/<i>on its way.wav", wav("on its way", 20))
    daemon.counts(1, "whisper_in_flight")
    screen.open(url(daemon))
    screen.shows("#jobs .file", lambda text: text == "<i>on its way.wav", "is in work")

    def same(selector: str, metric: str, **labels: str) -> None:
        until(lambda: number(screen.text(selector)) == daemon.metrics(metric, **labels), f"{selector} is {metric}")

    same("#in-flight", "jobs_in_flight")
    same("#limit", "jobs_limit")
    same("#slots", "whisper_in_flight")
    same("#slots-limit", "whisper_slots")
    same("#plot-done-sum", "jobs_total", result="done")
    assert "1 dead" in screen.text("#plot-done-sum")
    assert number(screen.text("#money")) == pytest.approx(daemon.metrics("cost_usd_total"), rel=0.06)
    assert daemon.metrics("cost_usd_total") == pytest.approx(PRICE, rel=0.06)
    left = 5 - daemon.metrics("budget_remaining_usd")
    assert number(screen.text("#money-more")) == pytest.approx(left, rel=0.06)
    assert screen.text("#failed .badge") == "undecodable"
    assert {one.text for one in screen.all("#finished .file")} == {"one.wav", "two.wav", "three.wav"}
    scene.control.release()


def told(screen: Browser, level: str) -> Callable[[], bool]:
    return lambda: screen.text("#level") == level


def test_it_goes_with_the_daemon_through_a_pause_a_silence_a_drain_and_its_end(scene: Scene, screen: Browser) -> None:
    daemon = scene.start(whisper_concurrency=2, shutdown_grace_seconds=30)
    daemon.ready()
    screen.open(url(daemon))
    assert screen.text("h1") == "Well: nothing to do"
    scene.control.mode("quota")
    scene.world.upload("one.wav", wav("one", 5))
    until(told(screen, "Paused"), "the page says that it is paused")
    assert "billing" in screen.text("#detail")
    daemon.stop()
    until(told(screen, "No answer"), "the page says that it hears nothing")
    assert "nothing heard since" in screen.text("#headline")
    assert screen.driver.title.startswith("No answer")
    daemon.cont()
    until(told(screen, "Paused"), "the page hears it again")
    scene.control.mode(None)
    until(told(screen, "Well"), "the page says that it goes on")
    daemon.counts(1, "jobs_total", result="done")
    scene.control.hold()
    scene.world.upload("two.wav", wav("two", 5))
    daemon.counts(1, "whisper_in_flight")
    daemon.term()
    until(told(screen, "Draining"), "the page says that it drains")
    assert screen.text("h1") == "Draining: 1 job left"
    scene.control.release()
    until(told(screen, "No answer"), "the page says that it is gone")
    assert "The daemon may be gone" in screen.text("#detail")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_survives_a_thousand_jobs_in_flight(scene: Scene, screen: Browser) -> None:
    """All of them are claimed and wait for one answer; the page goes on when they end."""
    daemon = scene.start(max_jobs=MANY, whisper_concurrency=1, language="en")
    daemon.ready()
    scene.control.hold()
    for first in range(0, MANY, LOT):
        add(scene, daemon, range(first, first + LOT))
    screen.open(url(daemon))
    assert screen.text("#in-flight") == str(MANY)
    assert screen.text("#jobs-count") == f"({MANY})"
    assert screen.text("#jobs-more") == f"… and {MANY - 60} more, which began later."
    assert len(screen.all("#jobs > li")) == 60
    scene.control.release()
    until(lambda: number(screen.text("#plot-done-sum")) == MANY, "the page says that all are done", seconds=400)
    screen.shows("h1", lambda text: text == "Well: nothing to do", "is well again")


def add(scene: Scene, daemon: Daemon, numbers: range) -> None:
    """Upload a lot and wait for its claims: the ledger's emulator does not bear a thousand transactions at once."""
    recording = wav("one of many", 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: scene.world.upload(f"calls/{number:04}.wav", recording), numbers))
    until(lambda: claimed(daemon) == numbers.stop, f"{numbers.stop} are claimed", seconds=120)


def claimed(daemon: Daemon) -> int:
    told = json.loads(daemon.get("/api/status")[1])
    return len(told["jobs"]) + int(told["jobs_more"])
