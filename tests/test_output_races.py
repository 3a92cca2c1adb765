"""Writers of one output that crash, and that interrupt each other at any call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import ClaimLost, Superseded
from tests.outbox import SET, Meeting, Watched, claim, transcribe


class Crash(BaseException):
    """What a SIGKILL looks like from inside."""


def crash_at(number: int | None) -> Meeting:
    def crash(call: int, _: str) -> None:
        if call == number:
            raise Crash

    return crash


OWNERS = st.tuples(st.integers(1, 3), st.integers(1, 3))
CRASHES = st.none() | st.integers(0, 12)


@contextmanager
def folder() -> Iterator[FolderObjects]:
    with tempfile.TemporaryDirectory() as root:
        yield FolderObjects({"outbox": Path(root)})


def the_set_belongs_to(owner: tuple[int, int], objects: FolderObjects) -> bool:
    outbox = Watched(objects)
    return outbox.json_is_true() and {outbox.owner(f"texts/{name}") for name in SET} == {owner}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(OWNERS, CRASHES), min_size=1, max_size=5))
def test_a_json_is_true_after_every_step_of_any_writers_and_crashes(
    runs: list[tuple[tuple[int, int], int | None]],
) -> None:
    with folder() as objects:
        for owner, crash in runs:
            outbox = Watched(objects, before=crash_at(crash))

            def look(number: int, call: str, outbox: Watched = outbox) -> None:
                assert outbox.json_is_true(), f"after call {number}, {call}"

            outbox.after = look
            with suppress(Crash, Superseded, ClaimLost):
                transcribe(outbox, claim(*owner))
        highest = max(owner for owner, _ in runs)
        transcribe(Watched(objects), claim(*highest))
        assert the_set_belongs_to(highest, objects)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(OWNERS, st.integers(0, 8), CRASHES), min_size=2, max_size=3, unique_by=lambda run: run[0]))
def test_the_highest_owner_has_the_whole_set_however_writers_interrupt_each_other(
    runs: list[tuple[tuple[int, int], int, int | None]],
) -> None:
    """Each writer is interrupted at some call by the whole run of the next one; all but the highest may crash."""
    highest = max(owner for owner, _, _ in runs)
    waiting = iter(runs)

    def run_next(objects: FolderObjects) -> None:
        for owner, interrupted_at, crash in waiting:
            crash_now = crash_at(None if owner == highest else crash)

            def meet(number: int, call: str, at: int = interrupted_at, fall: Meeting = crash_now) -> None:
                if number == at:
                    run_next(objects)
                fall(number, call)

            with suppress(Crash, Superseded, ClaimLost):
                transcribe(Watched(objects, before=meet), claim(*owner))

    with folder() as objects:
        run_next(objects)
        assert the_set_belongs_to(highest, objects)
