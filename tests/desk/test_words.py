"""How people write addresses and times, and how names reach a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.desk.words import Address, ago, prefix_of, readings, shown, since
from subscriber.errors import ConfigError
from tests.claims import NOW


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("gs://b/a.wav", [Address("b", "a.wav")]),
        ("gs://b/a.wav#17", [Address("b", "a.wav#17"), Address("b", "a.wav", 17)]),
        ("gs://b/x#y.wav", [Address("b", "x#y.wav")]),
        ("gs://b/x#1#2", [Address("b", "x#1#2"), Address("b", "x#1", 2)]),
        ("gs://b/#17", [Address("b", "#17")]),
        ("gs://b/a\nb#17", [Address("b", "a\nb#17"), Address("b", "a\nb", 17)]),
        ("gs://b//a", [Address("b", "/a")]),
    ],
)
def test_a_name_that_holds_a_hash_is_read_whole_first(text: str, meant: list[Address]) -> None:
    assert list(readings(text)) == meant
    assert str(meant[-1]) == text


@pytest.mark.parametrize("text", ["", "a.wav", "gs://", "gs://b", "gs://b/", "s3://b/a", "gs:///a"])
def test_what_is_no_address_is_bad_usage(text: str) -> None:
    with pytest.raises(ConfigError, match="is not gs://BUCKET/NAME"):
        readings(text)


def test_a_bare_name_belongs_to_the_default_bucket() -> None:
    assert readings("calls/a.wav", "inbox") == (Address("inbox", "calls/a.wav"),)
    assert prefix_of("calls/", "inbox") == ("inbox", "calls/")
    assert prefix_of("gs://b/calls/") == ("b", "calls/")
    assert prefix_of("gs://b") == ("b", "")
    with pytest.raises(ConfigError):
        prefix_of("calls/")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:00:00+02:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_time_is_told_as_an_age_or_as_iso_8601(text: str, meant: datetime) -> None:
    assert since(text, NOW) == meant


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-3d", "9999999d"])
def test_what_is_no_time_is_bad_usage(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s ago"), (-20, "in 20 s"), (119, "119 s ago"), (180, "3 min ago"), (-172_800, "in 2 d")],
)
def test_a_distance_in_time_has_one_unit(seconds: float, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


@given(st.text())
def test_no_name_moves_a_terminals_cursor(name: str) -> None:
    assert shown(name).isprintable()
    if name.isprintable():
        assert shown(name) == name
