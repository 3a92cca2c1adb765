"""Chunks become one transcript: exact offsets, one order, one language, one account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.transcribe.assemble import assemble, pin_language
from subscriber.transcript import SILENCE, Chunk, ChunkSpan, ChunkText, Segment, TimedWarning, Transcript, Word

LONG = "Enough words to know a language by."


def chunk(
    index: int, text: str = LONG, *, language: str | None = "en", start: float | None = None, seconds: float = 30.0
) -> Chunk:
    begun = 30.0 * index if start is None else start
    said = ChunkText(
        text=text,
        language=language,
        timing="model" if text else None,
        segments=(Segment(1.0, seconds, text),) if text else (),
        words=(Word(text[:3], 1.0, 2.0),) if text else (),
        warnings=(),
        billed_seconds=seconds,
        request_ids=(f"req_{index}",),
        model="whisper-1",
    )
    return Chunk(ChunkSpan(index, begun, begun + seconds), said, "paid")


def silence(index: int) -> Chunk:
    return Chunk(ChunkSpan(index, 30.0 * index, 30.0 * index + 30, silent=True), SILENCE, "silent")


def made(chunks: Sequence[Chunk], warnings: Sequence[TimedWarning] = ()) -> Transcript:
    return assemble(chunks, model="whisper-1", fingerprint="f", usd_per_minute=0.006, warnings=warnings)


def test_times_move_by_the_chunks_exact_start() -> None:
    start = 1234567 / 16_000
    text = made([chunk(0), chunk(1, start=start)])
    assert text.segments[1].start == start + 1.0
    assert text.words[1].start == start + 1.0
    assert text.duration == start + 30.0


def test_a_stored_time_beyond_its_chunk_stays_in_it() -> None:
    long = chunk(0)
    long = replace(long, text=replace(long.text, segments=(Segment(-5.0, 99.0, "a"),)))
    assert [(one.start, one.end) for one in made([long, chunk(1)]).segments] == [(0.0, 30.0), (31.0, 60.0)]


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["One,", "two."], "One, two."),
        (["One,", "", "two."], "One, two."),
        (["今天", "天气。", "明日は"], "今天天气。明日は"),
        (["我用GPT", "模型"], "我用GPT 模型"),
        (["他说。", "Hello", "你好"], "他说。Hello 你好"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["“One.”", "“Two.”"], "“One.” “Two.”"),
    ],
)
def test_texts_are_joined_as_their_script_does(texts: list[str], joined: str) -> None:
    assert made([chunk(number, text) for number, text in enumerate(texts)]).text == joined


def test_the_language_is_that_of_most_seconds_with_text() -> None:
    short = [chunk(number, language="de", start=10.0 * number, seconds=10.0) for number in range(2)]
    assert made([*short, chunk(2, language="en", start=20.0, seconds=30.0)]).language == "en"
    assert made([*short, chunk(2, "", language="en")]).language == "de"
    assert made([chunk(0, language=None)]).language is None


def test_what_was_cached_or_silent_costs_nothing_now() -> None:
    cached = replace(chunk(1), source="cache")
    text = made([chunk(0), cached, silence(2)])
    assert text.billed_seconds == 30.0
    assert text.cost_usd == pytest.approx(0.003)
    assert made([cached]).billed_seconds == 0.0


def test_an_unknown_length_or_price_makes_an_unknown_cost() -> None:
    unknown = chunk(1)
    unknown = replace(unknown, text=replace(unknown.text, billed_seconds=None))
    assert made([chunk(0), unknown]).billed_seconds is None
    assert assemble([chunk(0)], model="m", fingerprint="f", usd_per_minute=None).cost_usd is None


def test_warnings_carry_times_of_the_file_and_stand_in_order() -> None:
    doubted = chunk(1)
    doubted = replace(doubted, text=replace(doubted.text, warnings=(TimedWarning("loop", 2.0, 5.0, "x"),)))
    gap = TimedWarning("gap", 50.0, 60.0, "y")
    assert made([chunk(0), doubted], [gap]).warnings == (TimedWarning("loop", 32.0, 35.0, "x"), gap)


def test_silence_alone_is_an_empty_transcript() -> None:
    text = made([silence(0)])
    assert (text.text, text.timing, text.segments, text.language, text.billed_seconds) == ("", None, (), None, 0.0)
    assert made([]).duration == 0.0


class TestPin:
    def test_three_chunks_with_speech_decide(self) -> None:
        assert pin_language([chunk(0), chunk(1, language="de"), chunk(2)]) == "en"

    def test_silence_and_scraps_do_not_count(self) -> None:
        first = [silence(0), chunk(1, "You", language="cy"), chunk(2, language="de")]
        assert pin_language([*first, chunk(3, language="de")]) is None
        assert pin_language([*first, chunk(3, language="de"), chunk(4)]) == "de"

    def test_an_answer_that_is_awaited_keeps_it_open(self) -> None:
        assert pin_language([chunk(0), None, chunk(2), chunk(3)]) is None

    def test_later_chunks_do_not_change_it(self) -> None:
        assert pin_language([chunk(number) for number in range(3)] + [chunk(3, language="de")] * 9 + [None]) == "en"


@given(st.lists(st.tuples(st.floats(0.5, 31), st.lists(st.tuples(st.floats(-9, 99), st.floats(-9, 99)), max_size=5))))
def test_the_whole_files_times_are_in_order(parts: list[tuple[float, list[tuple[float, float]]]]) -> None:
    chunks, start = [], 0.0
    for number, (seconds, spans) in enumerate(parts):
        one = chunk(number, start=start, seconds=seconds)
        segments = tuple(Segment(a, b, "x") for a, b in spans)
        chunks.append(replace(one, text=replace(one.text, segments=segments)))
        start += seconds
    edges = [time for segment in made(chunks).segments for time in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert not edges or 0.0 <= edges[0] <= edges[-1] <= start
