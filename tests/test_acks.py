"""Acks share calls, none waits long, and nothing stops them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from queue import Queue
from types import SimpleNamespace

import pytest
from annotated_types import Ge

from subscriber import acks as module
from subscriber.acks import Acks
from subscriber.config import Settings
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown, Refused
from subscriber.lease import RENEWALS_A_TERM
from subscriber.metrics import Metrics
from tests.test_settlement import Wire, delivery

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""


@pytest.fixture(autouse=True)
def _end_waits_for_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is; production waits for seconds."""
    monkeypatch.setattr(module, "LAST_CALL_SECONDS", (SOON, SOON))


def acks_on(wire: Wire, grace_seconds: float = 60.0) -> Acks:
    return Acks(wire, Drain(grace_seconds), Metrics())


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
    acks = acks_on(wire)

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
    with acks_on(wire) as acks:
        for number in range(2):
            acks.add([delivery(str(number))])
            assert wire.calls.get(timeout=SOON) == (f"ack {number}",)


def test_the_moment_is_far_shorter_than_what_is_left_of_the_shortest_lease() -> None:
    shortest = next(one.ge for one in Settings.model_fields["ack_lease_seconds"].metadata if isinstance(one, Ge))
    assert float(str(shortest)) * (1 - 1 / RENEWALS_A_TERM) > 50 * module.GATHER_SECONDS


def test_at_the_end_what_waits_is_acked_at_once() -> None:
    wire = Wire()
    with acks_on(wire) as acks:
        acks.add([delivery("0"), delivery("1")])
    assert wire.told == [("ack", "live", ("ack 0", "ack 1"))]
    assert not acks.alive()


def test_what_came_during_the_last_call_is_acked_by_another() -> None:
    class Slow(Heard):
        """Its first call lasts until the end has begun."""

        def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
            super().ack(subscription, ack_ids)
            with acks._changed:
                acks._changed.wait_for(lambda: acks._stopped, SOON)

    wire = Slow()
    with (acks := acks_on(wire)):
        acks.add([delivery("0")])
        assert wire.calls.get(timeout=SOON) == ("ack 0",)
        acks.add([delivery("1")])
    assert [ack_ids for _, _, ack_ids in wire.told] == [("ack 0",), ("ack 1",)]


def test_acks_go_on_after_whatever_befell_one_of_them() -> None:
    wire = Heard()
    wire.trouble = RuntimeError("a bug")
    with acks_on(wire) as acks:
        acks.add([delivery("0")])
        assert wire.calls.get(timeout=SOON) == ("ack 0",)
        acks.add([delivery("1")])
        assert wire.calls.get(timeout=SOON) == ("ack 1",)


class Picky(Heard):
    """Refuses a call that names `bad`, and stumbles over one that names `bug`."""

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        if "ack bad" in ack_ids:
            raise Refused("malformed")
        if "ack bug" in ack_ids:
            raise RuntimeError("a bug")
        super().ack(subscription, ack_ids)


def settlements(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["result"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "subscriber_settlements_total" and sample.labels["kind"] == "ack" and sample.value
    }


def test_an_ack_that_is_refused_keeps_no_other_from_being_taken() -> None:
    wire, metrics = Picky(), Metrics()
    acks = Acks(wire, Drain(60.0), metrics)
    acks.add([delivery(name) for name in ("0", "1", "bad", "3", "4")])
    acks.flush()
    assert {ack_id for _, _, ack_ids in wire.told for ack_id in ack_ids} == {"ack 0", "ack 1", "ack 3", "ack 4"}
    assert settlements(metrics) == {"ok": 4.0, "error": 1.0}


def test_whatever_befalls_one_subscription_the_others_are_told() -> None:
    wire, metrics = Picky(), Metrics()
    acks = Acks(wire, Drain(60.0), metrics)
    acks.add([replace(delivery("bug"), subscription="first"), delivery("1")])
    acks.flush()
    assert wire.told == [("ack", "live", ("ack 1",))]
    assert settlements(metrics) == {"ok": 1.0, "error": 1.0}


def test_a_second_ack_does_not_cut_the_moment_short() -> None:
    acks = acks_on(Heard())
    woken: list[int] = []

    class Counted(threading.Condition):
        def notify(self, n: int = 1) -> None:
            woken.append(n)
            super().notify(n)

    acks._changed = Counted()
    for number in range(3):
        acks.add([delivery(str(number))])
    assert len(woken) == 1


@pytest.mark.parametrize(("grace", "least", "most"), [(60.0, 0.0, 0.2), (0.0, 0.2, 9.0)])
def test_the_last_call_may_take_what_is_left_of_the_grace(
    grace: float, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not more than a call may take, and a little also where nothing is left: here the other way round."""
    monkeypatch.setattr(module, "LAST_CALL_SECONDS", (least, most))
    acks = acks_on(Wire(), grace)
    acks._drain.begin()
    waited: list[float] = []
    monkeypatch.setattr(acks, "_thread", SimpleNamespace(join=waited.append))
    acks.__exit__()
    assert waited == [0.2]


def test_an_outage_loses_acks_and_says_how_many() -> None:
    wire, metrics = Wire(), Metrics()
    wire.trouble = NeighbourDown("pubsub", "unavailable", "away")
    acks = Acks(wire, Drain(60.0), metrics)
    acks.add([delivery("0"), delivery("1")])
    acks.flush()
    assert settlements(metrics) == {"error": 2.0}
