"""Threads that are kept: a task begins at once, and finds nothing of an earlier one."""

from __future__ import annotations

import gc
import threading
import weakref
from contextvars import ContextVar
from functools import partial
from queue import Queue

import pytest

from subscriber.crew import Crew

SECONDS = 30.0
LEFT = ContextVar("LEFT", default="nothing")


def wait(barrier: threading.Barrier) -> None:
    barrier.wait(SECONDS)


def fail(error: type[Exception]) -> None:
    raise error


def test_tasks_run_at_the_same_time_however_many_there_are() -> None:
    together = threading.Barrier(9)
    crew = Crew("ours")
    for _ in range(8):
        crew.run(partial(wait, together))
    together.wait(SECONDS)


def test_one_thread_does_one_task_after_the_other() -> None:
    done: Queue[threading.Thread] = Queue()
    crew = Crew("ours")
    crew.run(lambda: done.put(threading.current_thread()))
    first = done.get(timeout=SECONDS)
    for _ in range(20):
        while not crew._idle:
            pass
        crew.run(lambda: done.put(threading.current_thread()))
        assert done.get(timeout=SECONDS) is first
    assert (first.name, first.daemon) == ("ours", True)


def test_a_task_finds_nothing_that_an_earlier_one_left() -> None:
    found: Queue[str] = Queue()
    crew = Crew("ours")

    def leave() -> None:
        found.put(LEFT.get())
        LEFT.set("something")

    for _ in range(5):
        crew.run(leave)
        assert found.get(timeout=SECONDS) == "nothing"


def test_what_a_task_held_is_let_go_when_it_ends() -> None:
    class Held:
        def __call__(self) -> None:
            """Done."""

    crew, held = Crew("ours"), Held()
    gone = threading.Event()
    weakref.finalize(held, gone.set)
    crew.run(held)
    del held
    gc.collect()
    assert gone.wait(SECONDS)


def test_a_task_that_raises_is_told_of_and_keeps_no_other_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Queue[threading.ExceptHookArgs] = Queue()
    monkeypatch.setattr(threading, "excepthook", told.put)
    done = threading.Event()
    crew = Crew("ours")
    crew.run(partial(fail, ZeroDivisionError))
    assert told.get(timeout=SECONDS).exc_type is ZeroDivisionError
    crew.run(done.set)
    assert done.wait(SECONDS)
