from __future__ import annotations

import pytest

from subscriber.audio.timeline import Timeline


def test_what_encoders_round_is_no_gap() -> None:
    timeline = Timeline(0, None)
    assert [timeline.place(at, 0.02) for at in (0.0, 0.021, 0.039, 0.1)] == [0, 0, 0, 0]


def test_lost_packets_add_up_to_a_gap() -> None:
    timeline = Timeline(0, None)
    steps = [timeline.place(number * 0.04, 0.02) for number in range(6)]
    assert steps == [0, 0, 0, 0, 0, pytest.approx(0.1)]


def test_a_jump_back_is_followed_and_what_comes_after_it_is_no_gap() -> None:
    timeline = Timeline(0, None)
    assert [timeline.place(at, 5.0) for at in (0.0, 5.0, 0.0, 5.0)] == [0, 0, -10, 0]


def test_sound_that_begins_after_the_picture_begins_late() -> None:
    assert Timeline(1.4, None).place(3.4, 0.02) == pytest.approx(2)


def test_frames_without_a_time_follow_each_other() -> None:
    timeline = Timeline(0, None)
    assert [timeline.place(None, 1.0), timeline.place(1.0, 1.0)] == [0, 0]


@pytest.mark.parametrize(
    ("declared", "at", "believed"), [(60, 55, True), (60, 70, False), (None, 3000, True), (None, 9000, False)]
)
def test_a_gap_beyond_the_files_own_end_is_not_believed(declared: float | None, at: float, *, believed: bool) -> None:
    timeline = Timeline(0, declared)
    assert timeline.believes(timeline.place(at, 0.02)) is believed
