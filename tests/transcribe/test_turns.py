"""Recordings with large indexes take turns; nobody else waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from subscriber.drain import Drain
from subscriber.errors import Interrupted
from subscriber.transcribe.turns import SMALL_BYTES, Turns
from tests.daemon import until

LARGE = 2 * SMALL_BYTES


class Line:
    """Turns for two large ones, and jobs that stay until they are let go of."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.drain = Drain(10)
        self.turns = Turns(self.drain, room_bytes=2 * LARGE)
        self.at_work: list[str] = []
        self.leave: dict[str, threading.Event] = {}
        self._threads = threads

    def join(self, name: str, index_bytes: int) -> Future[None]:
        """Returns when the job stands in line or is at work."""
        self.leave[name] = threading.Event()
        before = len(self.turns._line)
        future = self._threads.submit(self._job, name, index_bytes)
        until(lambda: len(self.turns._line) > before or name in self.at_work, f"{name} has come")
        return future

    def let_go(self) -> None:
        for event in self.leave.values():
            event.set()

    def _job(self, name: str, index_bytes: int) -> None:
        with self.turns.turn(index_bytes):
            self.at_work.append(name)
            self.leave[name].wait(30)


@pytest.fixture
def line() -> Iterator[Line]:
    with ThreadPoolExecutor() as threads, ExitStack() as stack:
        made = Line(threads)
        stack.callback(made.let_go)
        yield made


def test_as_many_are_at_work_as_there_is_room_for_and_the_oldest_is_next(line: Line) -> None:
    for name in "abcd":
        line.join(name, LARGE)
    until(lambda: len(line.at_work) == 2, "two are at work")
    line.leave["b"].set()
    until(lambda: len(line.at_work) == 3, "the next one is")
    assert line.at_work[2] == "c"


def test_a_small_index_never_waits(line: Line) -> None:
    for name in "abc":
        line.join(name, LARGE)
    line.join("small", SMALL_BYTES)
    line.join("none", 0)
    until(lambda: {"small", "none"} <= set(line.at_work), "both are at work")
    assert "c" not in line.at_work


def test_an_index_larger_than_all_the_room_is_decoded_alone(line: Line) -> None:
    line.join("huge", 9 * LARGE)
    until(lambda: line.at_work == ["huge"], "it is at work")
    line.join("next", LARGE)
    assert line.at_work == ["huge"]
    line.leave["huge"].set()
    until(lambda: "next" in line.at_work, "the next one is")


def test_who_waits_when_a_drain_begins_is_interrupted(line: Line) -> None:
    *_, waiting = [line.join(name, LARGE) for name in "abc"]
    line.drain.begin()
    with pytest.raises(Interrupted):
        waiting.result(30)
    assert len(line.turns._line) == 2
