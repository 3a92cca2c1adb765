"""Whatever the provider answers, or does not: outputs that every reader reads, or one clear reason, and a true bill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.daemon import Daemon, until
from tests.process.endings import TEXTS, is_dead, is_done, lives
from tests.process.scenes import Scene
from tests.render.parsers import Shown, read_by_others, read_srt, read_vtt
from tests.sound import chunks, heard, said, wav

SETTINGS = {"formats": "json,txt,srt,vtt", "max_attempts": 2, "retry_min_seconds": 0.1, "retry_max_seconds": 1}
FORMATS = {"json", "txt", "srt", "vtt"}

pytestmark = pytest.mark.usefixtures("no_fault_is_left")


@pytest.fixture(scope="module")
def daemon(common_scene: Scene) -> Daemon:
    """One for all tests of this file but those that change what it knows of its models."""
    started = common_scene.start(output=f"{common_scene.world.output}/{TEXTS}", **SETTINGS)
    started.ready()
    return started


# Answers that are believed


@pytest.mark.parametrize(
    ("fault", "timing", "warnings"),
    [
        ("past_end", "model", []),
        ("unordered", "estimated", ["times"]),
        ("nan_times", "estimated", ["times"]),
        ("bad_times", "estimated", ["times", "loop"]),
        ("no_segments", "estimated", []),
    ],
)
def test_missing_and_impossible_times_are_mended_and_never_paid_for_again(
    common_scene: Scene, daemon: Daemon, fault: str, timing: str, warnings: list[str]
) -> None:
    name = f"{fault}.wav"
    with bill(daemon, ok=1, billed=6.0):
        document = faulty(common_scene, daemon, name, fault, 6)
    assert said(wav(name, 6)) in document["text"]
    assert (document["timing"], [warning["kind"] for warning in document["warnings"]]) == (timing, warnings)
    assert " ".join(line for cue in shown(common_scene, name) for line in cue.lines) == document["text"]


def test_arrows_tags_and_empty_lines_in_a_text_break_no_file(common_scene: Scene, daemon: Daemon) -> None:
    with bill(daemon, ok=1, billed=6.0):
        document = faulty(common_scene, daemon, "markup.wav", "markup", 6)
    assert document["text"] == "a --> b <b>bold</b> & <i>more</i> 00:00:01.000 --> 00:00:02.000"
    text = " ".join(line for cue in shown(common_scene, "markup.wav") for line in cue.lines)
    assert text == document["text"].replace("-->", "→")
    assert common_scene.outputs(f"{TEXTS}/markup.wav")["txt"].data.decode() == document["text"] + "\n"


def test_a_script_without_spaces_is_cut_into_lines_that_fit(common_scene: Scene, daemon: Daemon) -> None:
    document = faulty(common_scene, daemon, "cjk.wav", "cjk", 6)
    cues = shown(common_scene, "cjk.wav")
    assert "".join(line for cue in cues for line in cue.lines) == document["text"]
    assert max(len(line) for cue in cues for line in cue.lines) <= 21


# Answers that are not


def test_an_answer_that_is_none_costs_an_attempt(common_scene: Scene, daemon: Daemon) -> None:
    name = "html once.wav"
    common_scene.control.fault("html", sha256=heard(wav(name)))
    with bill(daemon, failed=1, ok=1, billed=1.0, possibly_billed=1.0):
        generation = common_scene.world.upload(name, wav(name))
        failed = daemon.says("attempt", generation=str(generation))
        assert (failed["outcome"], failed["reason"]) == ("failed", "bad_answer")
        daemon.says("attempt", generation=str(generation), outcome="transcribed", attempt=2)
    assert is_done(common_scene, name, generation)["text"] == said(wav(name))


def test_a_recording_that_gets_no_other_answer_is_given_up_alone(common_scene: Scene, daemon: Daemon) -> None:
    name = "html always.wav"
    common_scene.control.mode("html", sha256=heard(wav(name)))
    with bill(daemon, failed=2, possibly_billed=2.0):
        generation = common_scene.world.upload(name, wav(name))
        daemon.says("attempt", generation=str(generation), outcome="exhausted")
    assert "bad_answer" in is_dead(common_scene, name, generation, {"exhausted"})["message"]
    assert daemon.ready() == {"ok": True, "state": "pulling"}


# Answers that never come


@pytest.mark.parametrize("fault", ["drop", "drop_upload"])
def test_a_connection_that_breaks_is_asked_once_more_and_counted(
    common_scene: Scene, daemon: Daemon, fault: str
) -> None:
    name = f"{fault}.wav"
    common_scene.control.fault(fault)
    with bill(daemon, failed=1, ok=1, billed=1.0, possibly_billed=1.0):
        document = lives(common_scene, daemon, name, wav(name))
    assert document["text"] == said(wav(name))
    assert document["usage"]["billed_seconds"] == 1.0


def test_a_second_break_ends_the_recording_because_both_may_have_been_billed(
    common_scene: Scene, daemon: Daemon
) -> None:
    name = "broken.wav"
    common_scene.control.mode("drop", sha256=heard(wav(name)))
    with bill(daemon, failed=2, possibly_billed=2.0):
        generation = common_scene.world.upload(name, wav(name))
        line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["reason"], line["attempt"]) == ("rejected", "unanswered", 1)
    assert "the connection broke" in is_dead(common_scene, name, generation, {"unanswered"})["message"]


def test_an_answer_of_a_million_characters_is_not_read_and_ends_its_recording_alone(
    common_scene: Scene, daemon: Daemon
) -> None:
    name = "million.wav"
    common_scene.control.mode("million", sha256=heard(wav(name)))
    with bill(daemon, failed=2, possibly_billed=2.0):
        generation = common_scene.world.upload(name, wav(name))
        daemon.says("attempt", generation=str(generation), outcome="rejected")
    assert "more than 1048576 bytes" in is_dead(common_scene, name, generation, {"unanswered"})["message"]
    assert daemon.ready() == {"ok": True, "state": "pulling"}


@pytest.mark.parametrize("fault", ["drop_upload", "html"])
def test_a_provider_that_answers_nobody_is_an_outage_and_condemns_nobody(
    common_scene: Scene, daemon: Daemon, fault: str
) -> None:
    name = f"in an outage of {fault}.wav"
    expected = bill(daemon, failed=1, ok=1, billed=1.0, possibly_billed=1.0)
    with expected, paused(common_scene, daemon, fault, "unavailable"):
        generation = common_scene.world.upload(name, wav(name))
        daemon.ready("paused")
        common_scene.control.mode(None)
        line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["attempt"]) == ("transcribed", 1)
    assert is_done(common_scene, name, generation)["text"] == said(wav(name))


@pytest.mark.slow
def test_an_answer_that_does_not_come_in_time_is_asked_for_once_more(common_scene: Scene, daemon: Daemon) -> None:
    """A second of sound has 70 s."""
    names = {"hang once.wav": "hang", "trickle once.wav": "trickle"}
    for name, fault in names.items():
        common_scene.control.fault(fault, sha256=heard(wav(name)))
    with bill(daemon, failed=2, ok=2, billed=2.0, possibly_billed=2.0):
        generations = {name: common_scene.world.upload(name, wav(name)) for name in names}
        for generation in generations.values():
            line = daemon.says("attempt", 150, generation=str(generation))
            assert (line["outcome"], line["attempt"]) == ("transcribed", 1)
    for name, generation in generations.items():
        assert is_done(common_scene, name, generation)["text"] == said(wav(name))


# Refusals


@pytest.mark.parametrize("fault", ["too_large", "too_long"])
def test_a_chunk_that_is_too_much_is_asked_for_in_halves(common_scene: Scene, daemon: Daemon, fault: str) -> None:
    with bill(daemon, rejected=1, ok=2, billed=7.0):  # each half is rounded up to a second
        document = faulty(common_scene, daemon, f"{fault}.wav", fault, 6)
    assert document["text"].count("speech") == 2
    assert document["usage"]["billed_seconds"] == 7.0


@pytest.mark.parametrize("fault", ["too_large", "too_long"])
def test_what_is_too_much_in_halves_too_is_dead(common_scene: Scene, daemon: Daemon, fault: str) -> None:
    name = f"{fault} at any length.wav"
    common_scene.control.mode(fault)
    billed = daemon.metrics("billed_seconds_total")
    generation = common_scene.world.upload(name, wav(name, 6))
    line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["reason"]) == ("rejected", fault)
    answered(daemon)
    assert daemon.metrics("billed_seconds_total") == billed
    assert is_dead(common_scene, name, generation, {fault})["message"]


def test_a_429_is_waited_out_with_fewer_slots_and_costs_no_attempt(common_scene: Scene, daemon: Daemon) -> None:
    name, slots = "rate limited.wav", daemon.metrics("whisper_slots")
    common_scene.control.fault("rate_limit", retry_after=1.5, sha256=heard(wav(name)))
    with bill(daemon, rate_limited=1, ok=1, billed=1.0):
        lives(common_scene, daemon, name, wav(name))
    (line,) = [line for line in daemon.said("attempt") if str(line["job"]).endswith(name)]
    assert float(line["seconds"]) >= 1.5
    assert daemon.metrics("whisper_slots") == slots / 2


def test_a_429_about_money_is_a_pause_and_costs_no_attempt(common_scene: Scene, daemon: Daemon) -> None:
    name = "unpaid.wav"
    with paused(common_scene, daemon, "quota", "billing"), bill(daemon, down=1, ok=1, billed=1.0):
        generation = common_scene.world.upload(name, wav(name))
        assert daemon.ready("paused")["why"]["whisper"].startswith("billing: ")
        assert daemon.metrics("provider_paused", reason="billing") == 1
        common_scene.control.mode(None)
        line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["attempt"]) == ("transcribed", 1)
    assert is_done(common_scene, name, generation)["text"] == said(wav(name))


# Models


def test_a_model_that_is_gone_is_replaced_loudly_for_the_whole_recording(scene: Scene) -> None:
    started = scene.start(output=f"{scene.world.output}/{TEXTS}", chunk_seconds=10, whisper_concurrency=1, **SETTINGS)
    started.ready()
    long = wav("long", 25)
    first, *others = chunks(long, 10)
    scene.control.mode("model_gone", model="whisper-1", sha256=others[-1])
    generation = scene.world.upload("long.wav", long)
    line = started.says("attempt", generation=str(generation), outcome="transcribed")
    assert line["attempt"] == 1, "the fallback is nobody's failure"
    (gone,) = started.said("model_gone")
    assert (gone["severity"], gone["model"], gone["next_model"]) == ("ERROR", "whisper-1", "gpt-transcribe")
    document = is_done(scene, "long.wav", generation)
    assert (document["engine"]["model"], document["timing"]) == ("gpt-transcribe", "estimated")
    assert {chunk["source"] for chunk in document["chunks"]} == {"paid"}
    assert scene.control.status()["bodies"][first] == 2, "anew from its start: no transcript of two models"
    assert started.metrics("whisper_requests_total", model="whisper-1", result="down") == 1
    assert shown(scene, "long.wav")


@pytest.mark.parametrize("model", ["gpt-transcribe", "stub"])
def test_a_model_that_gives_only_text_has_estimated_times_in_every_file(scene: Scene, model: str) -> None:
    """What is known of gpt-transcribe is asked for at once; of an unknown model it is learnt, once."""
    started = scene.start(output=f"{scene.world.output}/{TEXTS}", model=model, **SETTINGS)
    started.ready()
    scene.control.mode("refuse_verbose", model="stub")
    for name in ("one.wav", "two.wav"):
        document = lives(scene, started, name, wav(name, 4))
        assert (document["timing"], document["text"]) == ("estimated", said(wav(name, 4)))
        assert " ".join(line for cue in shown(scene, name) for line in cue.lines) == document["text"]
    asked = [request["response_format"] for request in scene.control.status()["requests"]]
    assert asked == ["json", "json"] if model == "gpt-transcribe" else ["verbose_json", "json", "json"]


def faulty(scene: Scene, daemon: Daemon, name: str, fault: str, seconds: float = 1.0) -> Any:
    """What becomes of a recording whose first answer is this fault."""
    scene.control.fault(fault, sha256=heard(wav(name, seconds)))
    return lives(scene, daemon, name, wav(name, seconds))


@contextmanager
def paused(scene: Scene, daemon: Daemon, fault: str, reason: str) -> Iterator[None]:
    """Everybody's requests run into the fault; one pause comes of it, and is over."""
    pauses = len(daemon.said("paused", reason=reason))
    scene.control.mode(fault)
    yield
    daemon.ready()
    assert daemon.metrics("provider_paused") == 0
    assert len(daemon.said("paused", reason=reason)) == pauses + 1


@contextmanager
def bill(daemon: Daemon, *, billed: float = 0.0, possibly_billed: float = 0.0, **results: int) -> Iterator[None]:
    """By so much the metrics grow: requests by their result, seconds that were billed or may have been."""

    def metered() -> dict[str, float]:
        kinds = ("ok", "rejected", "rate_limited", "down", "failed")
        requests = {kind: daemon.metrics("whisper_requests_total", result=kind) for kind in kinds}
        seconds = {name: daemon.metrics(f"{name}_seconds_total") for name in ("billed", "possibly_billed")}
        return requests | seconds

    before = metered()
    yield
    answered(daemon)
    grown = {name: value - before[name] for name, value in metered().items()}
    wanted = {**dict.fromkeys(before, 0), **results, "billed": billed, "possibly_billed": possibly_billed}
    assert grown == pytest.approx(wanted)


def answered(daemon: Daemon) -> None:
    """Return when nothing is on the wire: of two halves one may have ended the recording."""
    until(lambda: daemon.metrics("whisper_in_flight") == 0, "nothing is on the wire")


def shown(scene: Scene, name: str) -> list[Shown]:
    """The cues of both subtitle files, which our strict readers and two foreign ones read alike."""
    outputs = scene.outputs(f"{TEXTS}/{name}")
    assert outputs.keys() == FORMATS
    cues = read_srt(outputs["srt"].data)
    assert cues == read_vtt(outputs["vtt"].data) == read_by_others(outputs["srt"].data, outputs["vtt"].data)
    duration = json.loads(outputs["json"].data)["duration"]
    assert all(0 <= cue.start < cue.end for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)
    assert not cues or cues[0].start <= duration * 1000
    return cues
