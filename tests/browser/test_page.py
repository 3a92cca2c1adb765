"""The status page as a person meets it: in Chromium, on daemons that stand still so that each figure is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from subscriber.app import Daemon
from subscriber.errors import NeighbourDown
from subscriber.model import Claim, Ending, Job, Outcome, Progress, Record, State
from tests.browser.chromium import PHONE, Browser
from tests.daemon import until
from tests.standing import BUCKET, serving, standing

HOSTILE = (
    "<img src=x onerror=document.title='owned'>.wav",
    "<script>document.title='owned'</script>.wav",
    "&lt;b&gt;'\"`${1}.wav",
    "javascript:alert(1)//.wav",
)
LONGEST = "x" * 1_000 + ".wav"


def failed(daemon: Daemon, name: str, message: str = "the answer never came") -> None:
    claim = Claim(Job(BUCKET, name, 1, "gs://outbox"), "nonce", 1, 1, 90)
    daemon._metrics.book.see_ending(Ending(Outcome.FAILED, "no_answer", message, 45.0, claim=claim), "1", 3.25)


def done(daemon: Daemon, name: str) -> None:
    now = datetime.now(UTC)
    claim = Claim(Job(BUCKET, name, 1, "gs://outbox"), "nonce", 1, 1, 90)
    record = Record(BUCKET, name, 1, "gs://outbox", State.DONE, 1, "", "", now, 90, now, cost_usd=0.0125)
    daemon._metrics.book.see_ending(Ending(Outcome.TRANSCRIBED, claim=claim, record=record), "1", 12.5)


def texts(screen: Browser, selector: str) -> Sequence[str]:
    return [one.text for one in screen.all(selector)]


def overflow(screen: Browser) -> object:
    return screen.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_names_with_markup_in_them_are_inert_wherever_they_stand(screen: Browser, tmp_path: Path) -> None:
    with standing(tmp_path, HOSTILE) as daemon, serving(daemon) as url:
        for name in HOSTILE:
            failed(daemon, name, f"the answer for {name} never came")
            done(daemon, name)
        daemon.outages.pause(NeighbourDown("whisper", "unavailable", HOSTILE[0]))
        screen.open(url)
        assert "owned" not in screen.driver.title
        assert HOSTILE[0] in screen.text("#detail")
        for part in ("jobs", "failed", "finished"):
            shown = screen.run(f"return [...document.querySelectorAll('#{part} .whole')].map((one) => one.textContent)")
            assert isinstance(shown, list)
            assert all(any(f"gs://{BUCKET}/{name}" in text for text in shown) for name in HOSTILE)
        assert screen.all("img, main script, main a") == []


def test_what_turns_the_reading_order_round_or_cannot_be_seen_is_spelled_out(screen: Browser, tmp_path: Path) -> None:
    names = ["invoice\u202egpj.wav", "a\u200bb\n\x1b[31m.wav", "\u2066left\u2069.wav", "קול.wav"]
    with standing(tmp_path, names) as daemon, serving(daemon) as url:
        screen.open(url)
        assert texts(screen, "#jobs .file") == [
            "invoice\\u{202E}gpj.wav",
            "a\\u{200B}b\\u{A}\\u{1B}[31m.wav",
            "\\u{2066}left\\u{2069}.wav",
            "קול.wav",
        ]
        assert len(screen.all("#jobs .file .escape")) == 6
        turned = screen.run("return getComputedStyle(document.querySelector('#jobs .file')).unicodeBidi")
        assert turned == "isolate"


def test_a_thousand_jobs_are_told_of_without_being_listed(screen: Browser, tmp_path: Path) -> None:
    names = [f"calls/{number:04}.wav" for number in range(1_000)]
    with standing(tmp_path, names) as daemon, serving(daemon) as url:
        screen.open(url)
        assert screen.text("#jobs-count") == "(1000)"
        assert screen.text("#jobs-more") == "… and 940 more, which began later."
        assert len(screen.all("#jobs > li")) == 60
        assert texts(screen, "#jobs .file")[:7] == [*(f"{number:04}.wav" for number in range(6)), ""]
        screen.one("#jobs-all").click()
        screen.shows("#jobs-all", lambda text: text == "Show fewer", "turns round")
        assert texts(screen, "#jobs .file")[-1] == "0059.wav"


def test_each_job_has_a_bar_a_stage_and_a_time(screen: Browser, tmp_path: Path) -> None:
    with standing(tmp_path, ["one.wav", "two.wav"]) as daemon, serving(daemon) as url:
        one, two = daemon.claims.held()
        one.stage, one.progress, one.claim = "transcribe", Progress(30.0, 120.0), replace(one.claim, attempt=3)
        screen.open(url)
        assert texts(screen, "#jobs .when") == ["25 %", ""]
        first, second = texts(screen, "#jobs .facts")
        assert first.startswith("attempt 3 · transcribing · ")
        assert second.startswith("opening · ")
        bars = screen.run("return [...document.querySelectorAll('#jobs progress')].map((bar) => bar.position)")
        assert bars == [0.25, -1]
        two.progress = Progress(10.0, 10.0)
        until(lambda: texts(screen, "#jobs .when") == ["25 %", "100 %"], "the second one moves on")


def test_an_open_row_stays_open_while_its_figures_change(screen: Browser, tmp_path: Path) -> None:
    with standing(tmp_path, ["it's.wav"]) as daemon, serving(daemon) as url:
        screen.open(url)
        screen.one("#jobs summary").click()
        assert screen.text("#jobs .explain") == f"subscriber explain 'gs://{BUCKET}/it'\"'\"'s.wav#1'"
        daemon.claims.held()[0].progress = Progress(1.0, 2.0)
        screen.shows("#jobs .when", lambda text: text == "50 %", "is half-way")
        assert screen.one("#jobs details").get_attribute("open") == "true"


def test_failures_say_why_and_when_they_are_tried_again(screen: Browser, tmp_path: Path) -> None:
    with standing(tmp_path) as daemon, serving(daemon) as url:
        screen.open(url)
        assert screen.text("#failed-empty") == "Nothing has failed."
        for number in range(3):
            failed(daemon, f"calls/{number}.wav")
        screen.shows("#level", lambda text: text == "Look", "asks for a look")
        assert screen.text("#failed .badge").startswith("no_answer, again in 4")
        assert screen.text("#failed .message") == "the answer never came"
        assert "3 attempts failed" in screen.text("h1")
        assert "SubscriberAttemptsFail" in screen.text("#remedy")


@pytest.mark.parametrize("dark", [False, True], ids=["by day", "by night"])
def test_a_pause_is_told_by_word_shape_and_colour_with_its_remedy(screen: Browser, tmp_path: Path, dark: bool) -> None:
    screen.look(PHONE, dark=dark)
    with standing(tmp_path) as daemon, serving(daemon) as url:
        screen.open(url)
        assert (screen.text("h1"), screen.driver.title) == ("Well: nothing to do", "Well: nothing to do · subscriber")
        well = screen.run("return getComputedStyle(document.querySelector('.shape')).color")
        daemon.outages.pause(NeighbourDown("whisper", "billing", "insufficient_quota"))
        screen.shows("h1", lambda text: text == "Paused: waiting for the provider", "says it")
        assert screen.one("#shape").get_attribute("href") == "#shape-paused"
        assert screen.run("return getComputedStyle(document.querySelector('.shape')).color") != well
        assert "billing: insufficient_quota" in screen.text("#detail")
        assert "Settle the account" in screen.text("#remedy")
        assert screen.run("return document.querySelector('header').getBoundingClientRect().bottom < innerHeight")


def test_a_phone_needs_no_scrolling_sideways_whatever_the_names_are(screen: Browser, tmp_path: Path) -> None:
    screen.look((320, 640))
    with standing(tmp_path, [LONGEST, "\u202e" * 300, *HOSTILE]) as daemon, serving(daemon) as url:
        failed(daemon, LONGEST, LONGEST)
        done(daemon, LONGEST)
        screen.open(url)
        for summary in screen.all("summary"):
            summary.click()
        assert overflow(screen) == 0


@pytest.mark.parametrize("dark", [False, True], ids=["by day", "by night"])
def test_every_text_can_be_read_by_weak_eyes(screen: Browser, tmp_path: Path, dark: bool) -> None:
    """WCAG's AA: a contrast of 4.5 for texts of this size."""
    screen.look(PHONE, dark=dark)
    with standing(tmp_path, ["one\u202e.wav"]) as daemon, serving(daemon) as url:
        failed(daemon, "two.wav")
        done(daemon, "three.wav")
        screen.open(url)
        for level in ("well", "look", "paused", "trouble", "draining", "starting"):
            screen.run(f"document.documentElement.dataset.level = '{level}'")
            assert screen.run(FAINT_TEXTS) == []


FAINT_TEXTS = """
const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([red, green, blue]) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
function behind(node) {
  for (; node; node = node.parentElement) {
    const colour = parts(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
const faint = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.closest("svg, template, style, script")) continue;
  const lights = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((one, other) => other - one);
  const contrast = (lights[0] + 0.05) / (lights[1] + 0.05);
  if (contrast < 4.5) faint.push(`${node.tagName}.${node.className} ${node.textContent.slice(0, 20)}: ${contrast}`);
}
return faint;
"""


def test_the_plots_say_in_words_what_they_show(screen: Browser, tmp_path: Path) -> None:
    with standing(tmp_path) as daemon, serving(daemon) as url:
        done(daemon, "one.wav")
        failed(daemon, "two.wav")
        daemon._metrics.see_in_flight(3)
        daemon._metrics.spend("whisper-1", 0.25)
        screen.open(url)
        labels = [plot.get_attribute("aria-label") for plot in screen.all(".plot")]
        assert labels == [
            "Finished in the last hour: 1 done · 1 tried again",
            "Jobs in flight in the last hour: now 3, most 3",
            "Cost of the last hour: $0.25",
        ]
        up, down = (screen.one(f"#plot-done .{part}").get_attribute("d") or "" for part in ("bars", "bad"))
        assert up.startswith("M236 28v-27h3")
        assert down.startswith("M236 28v27h3")
