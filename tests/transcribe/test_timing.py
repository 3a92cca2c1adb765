"""Times that nobody told are estimated from the sound; times that were told are made possible."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.text import clean, join
from subscriber.transcribe.timing import Stretches, estimate, least_certain, settled
from subscriber.transcript import Segment


def times(text: str, length: float, loud: Stretches) -> list[tuple[float, float, str]]:
    return [(round(one.start, 2), round(one.end, 2), one.text) for one in estimate(text, length, loud)]


def test_one_sentence_lasts_as_long_as_the_sound() -> None:
    assert times("Good morning.", 10.0, [(2.0, 3.5)]) == [(2.0, 3.5, "Good morning.")]


def test_without_a_known_sound_it_lasts_as_long_as_the_audio() -> None:
    assert times("Good morning.", 10.0, []) == [(0.0, 10.0, "Good morning.")]


def test_characters_are_spread_over_the_loud_time_only() -> None:
    """Two sentences of one length, two stretches of one length: each has its own, whatever the pause."""
    assert times("One two three. Four five six.", 30.0, [(1.0, 4.0), (20.0, 23.0)]) == [
        (1.0, 4.0, "One two three."),
        (20.0, 23.0, "Four five six."),
    ]


def test_a_sentence_begins_where_the_nearest_pause_ends() -> None:
    """By its characters the second would begin at 4.6 s, within the second stretch."""
    assert times("One two three four. Five six.", 10.0, [(0.0, 4.0), (5.0, 7.0)]) == [
        (0.0, 4.0, "One two three four."),
        (5.0, 7.0, "Five six."),
    ]


def test_of_two_sentences_near_one_pause_only_the_nearer_moves() -> None:
    told = times("Very well. I see. That is what we wanted.", 10.0, [(0.0, 1.0), (3.0, 6.0)])
    assert [start for start, _, _ in told] == [0.0, 3.0, pytest.approx(3.7, abs=0.3)]


def test_a_gap_too_short_for_a_pause_attracts_nothing() -> None:
    told = times("One two three. Four five six.", 10.0, [(0.0, 2.9), (3.0, 5.0)])
    assert told[1][0] == pytest.approx(2.5, abs=0.2)


def test_a_pause_too_far_away_attracts_nothing() -> None:
    told = times(f"{'one ' * 20}. {'two ' * 20}.", 30.0, [(0.0, 20.0), (21.0, 30.0)])
    assert told[1][0] == pytest.approx(14.5, abs=0.3)


def test_chinese_is_parted_at_its_full_stops() -> None:
    assert times("今天天气很好。我们去公园。", 9.0, [(0.0, 4.0), (5.0, 8.0)]) == [
        (0.0, 4.0, "今天天气很好。"),
        (5.0, 8.0, "我们去公园。"),
    ]


def test_an_abbreviation_is_no_sentence() -> None:
    assert [one.text for one in estimate("Dr. Smith is here. No. 5 is not.", 9.0, [])] == [
        "Dr. Smith is here.",
        "No. 5 is not.",
    ]


@given(
    st.text(max_size=200),
    st.floats(0.01, 60),
    st.lists(st.floats(-5, 70), max_size=20).map(sorted),
)
def test_estimates_lie_in_order_within_the_audio_and_lose_nothing(text: str, length: float, edges: list[float]) -> None:
    said = clean(text)
    found = estimate(said, length, list(zip(edges[::2], edges[1::2], strict=False)))
    assert join(one.text for one in found).replace(" ", "") == said.replace(" ", "")
    assert all(0 <= one.start <= one.end <= length for one in found)
    assert all(one.end <= two.start for one, two in pairwise(found))


def test_settling_keeps_what_is_possible() -> None:
    fine = (Segment(1.0, 2.0, "a"), Segment(2.0, 3.0, "b"))
    assert settled(fine, 0.0, 5.0) == fine


def test_one_estimated_part_makes_the_whole_estimated() -> None:
    assert least_certain(["model", "estimated", None]) == "estimated"
    assert least_certain(["model", None]) == "model"
    assert least_certain([None]) is None
