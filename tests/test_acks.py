"""Acks share calls, none waits long, and nothing stops them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Queue

import pytest
from annotated_types import Ge

from subscriber import acks as module
from subscriber.acks import Acks
from subscriber.config import Settings
from subscriber.lease import RENEWALS_A_TERM
from subscriber.metrics import Metrics
from tests.test_settlement import Wire, delivery

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""


@pytest.fixture(autouse=True)
def _end_waits_for_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is; production waits for a second."""
    monkeypatch.setattr(module, "LAST_TURN_SECONDS", SOON)


class Heard(Wire):
    """Tells a test of each call that it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Queue[tuple[str, ...]] = Queue()

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        self.calls.put(tuple(ack_ids))
        super().ack(subscription, ack_ids)


def test_acks_of_jobs_that_end_within_a_moment_share_a_call() -> None:
    wire = Heard()
    acks = Acks(wire, Metrics())

    class Moment(threading.Condition):
        """While it passes, further jobs end."""

        def wait(self, timeout: float | None = None) -> bool:
            if timeout is None:
                return super().wait()
            assert timeout == module.GATHER_SECONDS
            for number in range(1, 5):
                acks.add([delivery(str(number))])
            return False

    acks._changed = Moment()
    with acks:
        acks.add([delivery("0")])
        assert wire.calls.get(timeout=SOON) == ("ack 0", "ack 1", "ack 2", "ack 3", "ack 4")
    assert wire.calls.empty()


def test_an_ack_waits_for_no_other() -> None:
    wire = Heard()
    with Acks(wire, Metrics()) as acks:
        for number in range(2):
            acks.add([delivery(str(number))])
            assert wire.calls.get(timeout=SOON) == (f"ack {number}",)


def test_the_moment_is_far_shorter_than_what_is_left_of_the_shortest_lease() -> None:
    shortest = next(one.ge for one in Settings.model_fields["ack_lease_seconds"].metadata if isinstance(one, Ge))
    assert float(str(shortest)) * (1 - 1 / RENEWALS_A_TERM) > 50 * module.GATHER_SECONDS


def test_at_the_end_what_waits_is_acked_at_once() -> None:
    wire = Wire()
    with Acks(wire, Metrics()) as acks:
        acks.add([delivery("0"), delivery("1")])
    assert wire.told == [("ack", "live", ("ack 0", "ack 1"))]


def test_what_came_during_the_last_call_is_acked_by_another() -> None:
    class Slow(Heard):
        """Its first call lasts until the end has begun."""

        def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
            super().ack(subscription, ack_ids)
            with acks._changed:
                acks._changed.wait_for(lambda: acks._stopped, SOON)

    wire = Slow()
    with (acks := Acks(wire, Metrics())):
        acks.add([delivery("0")])
        assert wire.calls.get(timeout=SOON) == ("ack 0",)
        acks.add([delivery("1")])
    assert [ack_ids for _, _, ack_ids in wire.told] == [("ack 0",), ("ack 1",)]


def test_acks_go_on_after_whatever_befell_one_of_them() -> None:
    wire = Heard()
    wire.trouble = RuntimeError("a bug")
    with Acks(wire, Metrics()) as acks:
        acks.add([delivery("0")])
        assert wire.calls.get(timeout=SOON) == ("ack 0",)
        acks.add([delivery("1")])
        assert wire.calls.get(timeout=SOON) == ("ack 1",)
