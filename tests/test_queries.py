"""What an operator asks: ranges of names, plans, and the indexes that they need."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from subscriber.queries import Place, every_index

INDEXES = Path(__file__).parents[1] / "firestore" / "indexes"


@given(st.text(), st.text())
def test_a_prefix_holds_exactly_the_names_that_begin_so(prefix: str, name: str) -> None:
    for candidate in (name, prefix + name):
        assert Place.below("b", prefix).holds("b", candidate) == candidate.startswith(prefix)
        assert not Place.below("b", prefix).holds("another", candidate)


def test_a_prefix_that_ends_in_the_last_characters_still_has_an_end() -> None:
    assert Place.below("b", "a\U0010ffff").end == "b"
    assert Place.below("b", "\ud7ff").end == "\ue000", "half a surrogate pair is no text"
    assert Place.below("b", "\U0010ffff").end is None


@given(st.text(min_size=1), st.text())
def test_a_name_holds_itself_alone(name: str, other: str) -> None:
    for candidate in (other, name, name + other):
        assert Place.of("b", name).holds("b", candidate) == (candidate == name)


def test_the_declared_indexes_are_those_that_the_plans_need() -> None:
    declared = {
        path.name: tuple((one["field-path"], one["order"]) for one in json.loads(path.read_text()))
        for path in INDEXES.glob("*.json")
    }
    assert set(declared.values()) == every_index(), "run `make docs`"
    assert len(declared) == len(every_index())
