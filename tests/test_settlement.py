"""From outcome to settlement, row by row; and what Pub/Sub does not hear does no harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from subscriber.acks import Acks
from subscriber.batches import BATCH
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown, Refused
from subscriber.lease import LeaseKeeper
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Ending, Message, Outcome, State
from subscriber.settlement import SETTLEMENT, Settlement, Settler
from tests.claims import CLAIMED

PUBLISHED = datetime(2026, 11, 1, tzinfo=UTC)
TABLE = {
    Outcome.TRANSCRIBED: Settlement.ACK,
    Outcome.DUPLICATE: Settlement.ACK,
    Outcome.GONE: Settlement.ACK,
    Outcome.SUPERSEDED: Settlement.ACK,
    Outcome.REJECTED: Settlement.ACK,
    Outcome.EXHAUSTED: Settlement.ACK,
    Outcome.EXPIRED: Settlement.ACK,
    Outcome.IGNORED: Settlement.ACK,
    Outcome.BUSY: Settlement.PARK,
    Outcome.FAILED: Settlement.DEFER,
    Outcome.EARLY: Settlement.DEFER,
    Outcome.INTERRUPTED: Settlement.DEFER,
    Outcome.LOST: Settlement.LEAVE,
}


class Wire:
    """A Source that remembers what it is told; with `trouble` it hears nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, tuple[str, ...]]] = []
        self.trouble: Exception | None = None

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        self._hear(f"extend {seconds}", subscription, ack_ids)

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        self._hear("ack", subscription, ack_ids)

    def _hear(self, what: str, subscription: str, ack_ids: Sequence[str]) -> None:
        if self.trouble:
            raise self.trouble
        self.told.append((what, subscription, tuple(ack_ids)))

    def pull(self, free: int) -> Sequence[Delivery]:
        raise AssertionError(free)

    def finished(self) -> bool:
        return False


class Counter:
    """A settler with everything around it, and deliveries leased to it."""

    def __init__(self, leased: int = 1) -> None:
        self.wire, self.metrics = Wire(), Metrics()
        self.leases = LeaseKeeper(self.wire, 60, self.metrics)
        self.acks = Acks(self.wire, Drain(60.0), self.metrics)
        self.settler = Settler(self.acks, self.leases, self.metrics)
        self.deliveries = [delivery(str(n)) for n in range(leased)]
        self.leases.hold(self.deliveries)
        self.wire.told.clear()

    def settle(self, outcome: Outcome, retry_after_seconds: float = 0.0) -> list[tuple[str, str, tuple[str, ...]]]:
        return self.settle_as(Ending(outcome, retry_after_seconds=retry_after_seconds), self.deliveries)

    def settle_as(self, ending: Ending, deliveries: Sequence[Delivery]) -> list[tuple[str, str, tuple[str, ...]]]:
        """What Pub/Sub has heard since the beginning."""
        self.settler.settle(deliveries, ending)
        self.acks.flush()
        return self.wire.told

    def outcomes(self) -> dict[str, float]:
        return self._counted("subscriber_deliveries_total", "outcome")

    def settlements(self) -> dict[str, float]:
        return self._counted("subscriber_settlements_total", "kind", "result")

    def _counted(self, name: str, *labels: str) -> dict[str, float]:
        samples = (sample for family in self.metrics.registry.collect() for sample in family.samples)
        return {
            " ".join(sample.labels[label] for label in labels): sample.value
            for sample in samples
            if sample.name == name and sample.value
        }


def delivery(
    message_id: str, ack_id: str = "", subscription: str = "live", published_at: datetime = PUBLISHED
) -> Delivery:
    return Delivery(Message(message_id, {}, b"", published_at), subscription, ack_id or f"ack {message_id}")


def test_the_table_is_total_and_as_it_was_decided() -> None:
    assert TABLE == SETTLEMENT
    assert set(SETTLEMENT) == set(Outcome)


@pytest.mark.parametrize("outcome", [one for one, settlement in TABLE.items() if settlement is Settlement.ACK])
def test_what_is_durable_is_acked(outcome: Outcome) -> None:
    counter = Counter()
    assert counter.settle(outcome) == [("ack", "live", ("ack 0",))]
    assert counter.settlements() == {"ack ok": 1.0}


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.FAILED, Outcome.EARLY, Outcome.INTERRUPTED])
def test_what_has_to_come_again_is_deferred_for_its_time(outcome: Outcome) -> None:
    counter = Counter()
    assert counter.settle(outcome, 17.0) == [("extend 17", "live", ("ack 0",))]
    assert counter.settlements() == {"defer ok": 1.0}


@pytest.mark.parametrize(
    ("wanted", "told"), [(0.0, 0), (0.001, 1), (16.2, 17), (599.5, 600), (600.0, 600), (600.1, 600), (86_400.0, 600)]
)
def test_a_deferral_is_rounded_up_and_ends_at_pubsubs_limit(wanted: float, told: int) -> None:
    assert Counter().settle(Outcome.EARLY, wanted) == [(f"extend {told}", "live", ("ack 0",))]


def test_a_lost_job_touches_neither_message_nor_lease() -> None:
    counter = Counter()
    assert counter.settle(Outcome.LOST) == []
    assert counter.settlements() == {}


@pytest.mark.parametrize("outcome", Outcome)
def test_whatever_the_outcome_no_lease_is_renewed_any_more(outcome: Outcome) -> None:
    counter = Counter(leased=3)
    counter.settle(outcome)
    assert counter.leases.held() == []


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("trouble", [NeighbourDown("pubsub", "unavailable", "away"), Refused("malformed")])
def test_a_settlement_that_fails_is_counted_and_raises_nothing(outcome: Outcome, trouble: Exception) -> None:
    """The message comes again and meets its record."""
    counter = Counter(leased=2)
    counter.wire.trouble = trouble
    counter.settle(outcome)
    kind = {Settlement.ACK: "ack", Settlement.LEAVE: None}.get(TABLE[outcome], "defer")
    assert counter.settlements() == ({f"{kind} error": 2.0} if kind else {})
    assert sum(counter.outcomes().values()) == 2
    assert counter.leases.held() == []


@pytest.mark.parametrize("outcome", Outcome)
def test_those_who_waited_are_settled_alike_but_only_one_is_transcribed(outcome: Outcome) -> None:
    counter = Counter(leased=4)
    counter.settle(outcome, 5.0)
    if outcome is Outcome.TRANSCRIBED:
        assert counter.outcomes() == {"transcribed": 1.0, "duplicate": 3.0}
    else:
        assert counter.outcomes() == {outcome: 4.0}
    told = [ack_ids for _, _, ack_ids in counter.wire.told]
    assert told == ([] if outcome is Outcome.LOST else [("ack 0", "ack 1", "ack 2", "ack 3")])


def test_a_message_that_came_after_the_jobs_end_is_not_acked_with_it() -> None:
    """An operator may have reopened the job meanwhile: its message would be lost."""
    counter = Counter(leased=2)
    ended = replace(CLAIMED, state=State.DEAD, completed_at=PUBLISHED + timedelta(minutes=1))
    late = delivery("late", published_at=PUBLISHED + timedelta(minutes=1, seconds=0.1))
    counter.leases.hold([late])
    counter.wire.told.clear()
    told = counter.settle_as(Ending(Outcome.EXHAUSTED, record=ended), [*counter.deliveries, late])
    assert told == [("extend 0", "live", ("ack late",)), ("ack", "live", ("ack 0", "ack 1"))]
    assert counter.outcomes() == {"exhausted": 2.0, "early": 1.0}


def test_the_message_that_the_job_was_claimed_by_is_acked_with_it() -> None:
    counter = Counter()
    ended = replace(CLAIMED, state=State.DEAD, completed_at=PUBLISHED)
    assert counter.settle_as(Ending(Outcome.EXHAUSTED, record=ended), counter.deliveries) == [
        ("ack", "live", ("ack 0",))
    ]


def test_each_subscription_is_told_of_its_own_messages() -> None:
    counter = Counter()
    both = [delivery("1", subscription="live"), delivery("1", subscription="replay")]
    told = counter.settle_as(Ending(Outcome.TRANSCRIBED), both)
    assert told == [("ack", "live", ("ack 1",)), ("ack", "replay", ("ack 1",))]


def test_a_message_that_came_again_meanwhile_is_settled_by_its_newest_ack_id() -> None:
    counter = Counter()
    counter.leases.hold([delivery("0", "newest")])
    counter.wire.told.clear()
    assert counter.settle(Outcome.TRANSCRIBED) == [("ack", "live", ("newest",))]


def test_nothing_to_settle_is_nothing_told() -> None:
    counter = Counter(leased=0)
    assert counter.settle(Outcome.REJECTED) == []
    assert counter.outcomes() == {}


def test_the_time_of_a_settlement_is_measured() -> None:
    counter = Counter()
    counter.settle(Outcome.TRANSCRIBED)
    sample = counter.metrics.registry.get_sample_value("subscriber_stage_seconds_count", {"stage": "settle"})
    assert sample == 1


def test_what_waits_for_its_ack_is_renewed_no_more() -> None:
    """A drain hands back whatever is leased to us still: not what is as good as acked."""
    counter = Counter(leased=2)
    counter.settler.settle(counter.deliveries, Ending(Outcome.TRANSCRIBED))
    assert (counter.leases.held(), counter.wire.told) == ([], [])


def test_more_acks_than_a_call_may_have_take_several() -> None:
    counter = Counter(leased=BATCH + 1)
    assert [len(ids) for _, _, ids in counter.settle(Outcome.TRANSCRIBED)] == [BATCH, 1]
