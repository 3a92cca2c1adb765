"""Subtitles that every player reads and people can follow, whatever was transcribed."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.render import render_srt, render_vtt
from subscriber.text import clean
from subscriber.transcript import Segment
from tests.render.parsers import Shown, read_by_others, read_srt, read_vtt
from tests.render.samples import transcript


def shown(*segments: Segment) -> list[Shown]:
    """The cues that both formats agree on."""
    srt, vtt = render_srt(transcript(*segments)).data, render_vtt(transcript(*segments)).data
    assert read_srt(srt) == read_vtt(vtt) == read_by_others(srt, vtt)
    return read_srt(srt)


def test_the_bytes_of_both_formats() -> None:
    said = transcript(Segment(0.0, 1.5, "One & <two>."), Segment(3661.25, 3663.0, "Three."))
    assert render_srt(said).data.decode() == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne & <two>.\n\n2\n01:01:01,250 --> 01:01:03,000\nThree.\n"
    )
    assert render_vtt(said).data.decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne &amp; &lt;two>.\n\n01:01:01.250 --> 01:01:03.000\nThree.\n"
    )


def test_nothing_said_is_nothing_shown() -> None:
    assert render_srt(transcript()).data == b""
    assert render_vtt(transcript(Segment(0.0, 9.0, " \n"))).data == b"WEBVTT\n"


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [
        (59.9996, "00:01:00,000"),
        (0.9996, "00:00:01,000"),
        (3599.9999, "01:00:00,000"),
        (59.9994, "00:00:59,999"),
        (362439.5, "00:00:00,000"),  # over 100 hours: nobody's time
        (35999.25, "09:59:59,250"),
    ],
)
def test_a_time_is_rounded_once(seconds: float, clock: str) -> None:
    assert f"\n{clock} --> " in render_srt(transcript(Segment(seconds, seconds + 1, "One."))).data.decode()


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("a --> b", ("a → b",)),
        ("one\n\ntwo\r\nthree\u2028four\x85five", ("one two three four five",)),
        ("00:00:01.000 --> 00:00:02.000", ("00:00:01.000 → 00:00:02.000",)),
        ("<v Bob>Hi</v> &amp; NOTE", ("<v Bob>Hi</v> &amp; NOTE",)),
        ("\ufeffzero\x00 \x1b[1mbold", ("zero [1mbold",)),
        ("--\x00>", ("→",)),
        ("مرحبا بالعالم", ("مرحبا بالعالم",)),
        ("half \ud83d pair", ("half pair",)),
    ],
)
def test_no_text_can_end_or_begin_a_cue(said: str, lines: tuple[str, ...]) -> None:
    assert [cue.lines for cue in shown(Segment(0.0, 5.0, said))] == [lines]


class TestLines:
    def test_two_are_about_equal(self) -> None:
        said = "We planted the beans in the second week of spring and then it rained."
        assert shown(Segment(0.0, 6.0, said))[0].lines == (
            "We planted the beans in the second",
            "week of spring and then it rained.",
        )

    def test_what_does_not_fit_is_parted_after_a_sentence_or_a_clause(self) -> None:
        said = (
            "The rain came early this year, and the slugs came with it. "
            "Next time we will cover the young plants at night."
        )
        assert [" ".join(cue.lines) for cue in shown(Segment(0.0, 8.0, said))] == [
            "The rain came early this year, and the slugs came with it.",
            "Next time we will cover the young plants at night.",
        ]

    def test_chinese_and_japanese_part_anywhere_but_before_a_full_stop(self) -> None:
        said = "今天天气很好我们去公园散步吧然后我们一起吃饭。明日は雨が降るそうです。"
        cues = shown(Segment(0.0, 9.0, said))
        assert "".join(line for cue in cues for line in cue.lines) == said
        assert all(len(line) <= 21 and line[0] not in "。ー" for cue in cues for line in cue.lines)

    def test_a_word_longer_than_a_line_is_parted_between_what_is_seen_as_characters(self) -> None:
        family = "👨\u200d👩\u200d👧"
        cues = shown(Segment(0.0, 9.0, "e\u0301" * 30 + family * 12))
        lines = [line for cue in cues for line in cue.lines]
        assert "".join(lines) == "e\u0301" * 30 + family * 12
        assert all(line[0] in "e👨" for line in lines)


class TestTimes:
    def test_what_is_said_for_a_moment_is_shown_with_what_follows(self) -> None:
        assert [cue.lines for cue in shown(Segment(1.0, 1.3, "Yes."), Segment(1.4, 4.0, "I know."))] == [
            ("Yes. I know.",)
        ]

    def test_or_long_enough_to_be_read(self) -> None:
        assert shown(Segment(1.0, 1.3, "Yes."), Segment(3.0, 4.0, "I know.")) == [
            Shown(1000, 1830, ("Yes.",)),
            Shown(3000, 4000, ("I know.",)),
        ]

    def test_fast_speech_makes_them_lag_and_a_pause_lets_them_catch_up(self) -> None:
        words = "Somebody talks so fast that nobody can read all of it."
        cues = shown(Segment(0.0, 2.0, words), Segment(2.0, 4.0, words), Segment(20.0, 24.0, "At last."))
        assert [cue.start for cue in cues] == [0, 2750, 20000]

    def test_a_long_segment_of_few_words_is_gone_when_they_are_said(self) -> None:
        assert shown(Segment(0.0, 30.0, "Thank you."))[0].end == 5000

    def test_a_slow_segment_is_shown_in_steps(self) -> None:
        cues = shown(Segment(0.0, 20.0, "We will now, all of us together, be very quiet for a while."))
        assert len(cues) >= 3
        assert all(cue.end - cue.start <= 7000 for cue in cues)

    def test_overlapping_segments_follow_each_other(self) -> None:
        cues = shown(Segment(0.0, 6.0, "One two three."), Segment(3.0, 9.0, "Four five six."))
        assert [(cue.start, cue.end) for cue in cues] == [(0, 3000), (3000, 9000)]


times = st.one_of(st.floats(-5, 400), st.floats(), st.sampled_from([math.nan, math.inf, 1e300]))
scripts = st.sampled_from(
    [
        "Thank you. ",
        "今天天气很好。",
        "コーヒーを、",
        "a --> b",
        "\n\n",
        "<i>",
        "&amp;",
        "👩\u200d👩\u200d👧",
        "مرحبا ",
        "é" * 50,
    ]
)
texts = st.one_of(st.text(max_size=300), st.lists(scripts, max_size=40).map("".join))
segments = st.lists(st.builds(Segment, times, times, texts), max_size=12)


@given(segments)
def test_whatever_comes_in_people_can_read_it(said: list[Segment]) -> None:
    cues = shown(*said)
    for cue in cues:
        assert len(cue.lines) <= 2
        assert all(len(line) <= 42 for line in cue.lines)
        assert 830 <= cue.end - cue.start <= 7000
        assert len(" ".join(cue.lines)) / (cue.end - cue.start) * 1000 <= 20
    assert all(one.end <= two.start for one, two in pairwise(cues))


@given(segments)
def test_not_a_character_is_lost(said: list[Segment]) -> None:
    told = "".join(line for cue in shown(*said) for line in cue.lines)
    assert told.replace(" ", "") == "".join(clean(one.text).replace("-->", "→") for one in said).replace(" ", "")
