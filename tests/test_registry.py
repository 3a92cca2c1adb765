"""Which jobs this process has: one leader a job, everybody else waits, and nothing is forgotten or counted twice."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from subscriber import registry as module
from subscriber.model import Delivery, Job, Message
from subscriber.registry import Registry, large_places

PUBLISHED = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads change as often as the interpreter can, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def job(name: str = "one.wav") -> Job:
    return Job("bucket", name, 1, "gs://out")


def delivery(message_id: str, ack_id: str = "", subscription: str = "live") -> Delivery:
    return Delivery(Message(message_id, {}, b"", PUBLISHED), subscription, ack_id or f"ack of {message_id}")


def parked(registry: Registry, name: str, *message_ids: str, wake_in: float = 5.0) -> None:
    for message_id in message_ids:
        registry.join(job(name), delivery(message_id))
    assert registry.park(job(name), wake_in)


def test_the_first_delivery_of_a_job_leads_and_the_next_ones_join() -> None:
    registry = Registry(10, max_jobs=16)
    assert registry.join(job(), delivery("1")) == "lead"
    assert registry.join(job(), delivery("2")) == "joined"
    assert registry.join(job(), delivery("3")) == "joined"
    assert registry.waiting() == 2


def test_jobs_do_not_know_each_other() -> None:
    registry = Registry(10, max_jobs=16)
    assert registry.join(job("a"), delivery("1")) == "lead"
    assert registry.join(job("b"), delivery("2")) == "lead"
    assert registry.finish(job("a")) == [delivery("1")]
    assert registry.finish(job("b")) == [delivery("2")]


def test_finishing_gives_the_leading_delivery_first_and_forgets_the_job() -> None:
    registry = Registry(10, max_jobs=16)
    for message_id in ("leader", "second", "third"):
        registry.join(job(), delivery(message_id))
    assert registry.finish(job()) == [delivery("leader"), delivery("second"), delivery("third")]
    assert registry.finish(job()) == []
    assert registry.waiting() == 0
    assert registry.join(job(), delivery("4")) == "lead"


def test_the_same_message_again_replaces_its_older_delivery_and_keeps_its_place() -> None:
    registry = Registry(10, max_jobs=16)
    registry.join(job(), delivery("leader", "stale"))
    registry.join(job(), delivery("second"))
    assert registry.join(job(), delivery("leader", "newest")) == "joined"
    assert registry.waiting() == 1
    assert registry.finish(job()) == [delivery("leader", "newest"), delivery("second")]


def test_one_message_id_in_two_subscriptions_is_two_deliveries() -> None:
    registry = Registry(10, max_jobs=16)
    registry.join(job(), delivery("1", subscription="live"))
    assert registry.join(job(), delivery("1", subscription="replay")) == "joined"
    assert len(registry.finish(job())) == 2


def test_too_many_waiting_deliveries_are_turned_away_but_leaders_and_known_messages_are_not() -> None:
    registry = Registry(2, max_jobs=16)
    registry.join(job("a"), delivery("1"))
    assert [registry.join(job("a"), delivery(str(n))) for n in (2, 3, 4)] == ["joined", "joined", "full"]
    assert registry.waiting() == 2
    assert registry.join(job("a"), delivery("3", "newest")) == "joined"
    assert registry.join(job("b"), delivery("5")) == "lead"
    assert registry.join(job("b"), delivery("6")) == "full"


def test_the_bound_counts_the_deliveries_of_all_jobs_together() -> None:
    registry = Registry(3, max_jobs=16)
    parked(registry, "a", "1", "2")
    registry.join(job("b"), delivery("3"))
    assert registry.join(job("b"), delivery("4")) == "joined"
    assert registry.join(job("b"), delivery("5")) == "full"
    assert not registry.park(job("b"), 5.0)
    assert registry.waiting() == 3


def test_finishing_makes_room_again() -> None:
    registry = Registry(1, max_jobs=16)
    parked(registry, "a", "1")
    registry.join(job("b"), delivery("2"))
    assert registry.join(job("b"), delivery("3")) == "full"
    registry.finish(job("a"))
    assert registry.join(job("b"), delivery("3")) == "joined"


def test_a_parked_job_counts_its_leader_as_waiting_and_a_woken_one_does_not(clock: Clock) -> None:
    registry = Registry(10, max_jobs=16)
    parked(registry, "a", "1", "2")
    assert registry.waiting() == 2
    clock.now += 5
    assert registry.wake()
    assert registry.waiting() == 1


def test_a_parked_job_wakes_at_its_time_and_not_before(clock: Clock) -> None:
    registry = Registry(10, max_jobs=16)
    parked(registry, "a", "1")
    assert registry.wake() is None
    clock.now += 4.999
    assert registry.wake() is None
    clock.now += 0.001
    assert registry.wake() == (job("a"), delivery("1"))
    assert registry.wake() is None, "it is in work now"


def test_parked_jobs_wake_in_the_order_of_their_times(clock: Clock) -> None:
    registry = Registry(10, max_jobs=16)
    for name, wake_in in (("late", 9.0), ("soon", 3.0), ("middle", 6.0)):
        parked(registry, name, name, wake_in=wake_in)
    clock.now += 100
    woken = [found[0].name for _ in range(3) if (found := registry.wake())]
    assert woken == ["soon", "middle", "late"]


def test_a_woken_job_is_led_by_its_first_message_with_the_newest_ack_id(clock: Clock) -> None:
    registry = Registry(10, max_jobs=16)
    parked(registry, "a", "1", "2")
    registry.join(job("a"), delivery("1", "newest"))
    clock.now += 5
    assert registry.wake() == (job("a"), delivery("1", "newest"))


def test_a_delivery_of_a_parked_job_waits_with_it(clock: Clock) -> None:
    registry = Registry(10, max_jobs=16)
    parked(registry, "a", "1")
    assert registry.join(job("a"), delivery("2")) == "joined"
    clock.now += 5
    registry.wake()
    assert registry.join(job("a"), delivery("3")) == "joined"
    assert [found.message.id for found in registry.finish(job("a"))] == ["1", "2", "3"]


def test_a_woken_job_may_be_parked_again(clock: Clock) -> None:
    registry = Registry(1, max_jobs=16)
    parked(registry, "a", "1")
    clock.now += 5
    registry.wake()
    assert registry.park(job("a"), 5.0)
    assert registry.wake() is None
    clock.now += 5
    assert registry.wake()


def test_a_drain_takes_all_parked_jobs_in_one_step_and_leaves_those_in_work(clock: Clock) -> None:
    """A job that woke between a look and a finish would be settled under the thread that works on it."""
    registry = Registry(10, max_jobs=16)
    parked(registry, "a", "1", "2")
    parked(registry, "b", "3")
    parked(registry, "woken", "4", wake_in=0.0)
    assert registry.wake() == (job("woken"), delivery("4"))
    assert registry.finish_waiting() == [[delivery("1"), delivery("2")], [delivery("3")]]
    clock.now += 100
    assert registry.wake() is None
    assert registry.finish_waiting() == []
    assert registry.finish(job("woken")) == [delivery("4")]


@pytest.mark.parametrize(("max_jobs", "large"), [(1, 1), (2, 1), (3, 2), (4, 3), (7, 6), (8, 6), (16, 12), (1000, 750)])
def test_a_quarter_of_the_places_is_kept_for_small_jobs_and_one_of_two_or_three(max_jobs: int, large: int) -> None:
    assert large_places(max_jobs) == large


class TestLargeJobs:
    """Of four places three may be theirs."""

    @pytest.fixture
    def registry(self) -> Registry:
        made = Registry(2, max_jobs=4)
        for name in "abc":
            assert made.join(job(name), delivery(name), large=True) == "lead"
        return made

    def test_one_more_waits_and_a_small_one_does_not(self, registry: Registry) -> None:
        assert registry.join(job("d"), delivery("d"), large=True) == "queued"
        assert registry.wake() is None
        assert registry.join(job("small"), delivery("small")) == "lead"

    def test_the_one_that_came_first_is_woken_first_as_soon_as_a_place_is_free(
        self, registry: Registry, clock: Clock
    ) -> None:
        for name in "de":
            registry.join(job(name), delivery(name), large=True)
            clock.now += 1
        registry.join(job("small"), delivery("small"))
        registry.finish(job("small"))
        assert registry.wake() is None, "it had no place for a large one"
        registry.finish(job("b"))
        assert registry.wake() == (job("d"), delivery("d"))
        assert registry.wake() is None
        registry.finish(job("d"))
        assert registry.wake() == (job("e"), delivery("e"))

    def test_one_that_is_parked_leaves_its_place_and_needs_one_to_wake(self, registry: Registry, clock: Clock) -> None:
        assert registry.park(job("a"), 5.0)
        assert registry.join(job("d"), delivery("d"), large=True) == "lead"
        clock.now += 6
        assert registry.wake() is None
        registry.finish(job("d"))
        assert registry.wake() == (job("a"), delivery("a"))

    def test_a_small_one_that_is_parked_wakes_without(self, registry: Registry, clock: Clock) -> None:
        registry.join(job("d"), delivery("d"), large=True)
        parked(registry, "small", "small")
        clock.now += 6
        assert registry.wake() == (job("small"), delivery("small"))

    def test_the_queue_has_a_bound_of_its_own(self, registry: Registry) -> None:
        for name in "defg":
            registry.join(job(name), delivery(name), large=True)
        assert registry.waiting() == 4
        again = [registry.join(job("d"), delivery(f"again {n}"), large=True) for n in range(3)]
        assert again == ["joined", "joined", "full"], "as MAX_PARKED says"

    def test_no_more_is_taken_than_could_wait(self, registry: Registry) -> None:
        assert registry.room(threads=3) == 4
        assert registry.room(threads=4) == 3, "a thread without a job may bring another large one"
        for name in "def":
            registry.join(job(name), delivery(name), large=True)
        assert registry.room(threads=3) == 1
        assert registry.room(threads=4) == 0

    def test_a_drain_takes_them_with_those_that_are_parked(self, registry: Registry) -> None:
        registry.join(job("d"), delivery("d"), large=True)
        registry.join(job("d"), delivery("again"))
        parked(registry, "small", "small")
        assert registry.finish_waiting() == [[delivery("d"), delivery("again")], [delivery("small")]]


@pytest.mark.usefixtures("eager_switches")
def test_of_many_threads_that_join_a_job_exactly_one_leads() -> None:
    registry = Registry(10_000, max_jobs=16)
    together = threading.Barrier(16)

    def join_all(thread: int) -> list[str]:
        together.wait(timeout=30)
        return [registry.join(job(str(n)), delivery(f"{thread}/{n}")) for n in range(300)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(join_all, range(16)))
    for n in range(300):
        assert Counter(answer[n] for answer in answers) == {"lead": 1, "joined": 15}
        assert len(registry.finish(job(str(n)))) == 16
    assert registry.waiting() == 0


@pytest.mark.usefixtures("eager_switches")
def test_however_many_threads_join_and_park_the_bound_holds() -> None:
    registry = Registry(20, max_jobs=16)
    together = threading.Barrier(16)

    def crowd(thread: int) -> list[str]:
        together.wait(timeout=30)
        return [registry.join(job("crowded"), delivery(f"{thread}/{n}")) for n in range(50)]

    def park_own(thread: int) -> bool:
        registry.join(job(f"own {thread}"), delivery(f"own {thread}"))
        together.wait(timeout=30)
        return registry.park(job(f"own {thread}"), 60.0)

    with ThreadPoolExecutor(16) as pool:
        crowds = [pool.submit(crowd, thread) for thread in range(8)]
        owns = [pool.submit(park_own, thread) for thread in range(8)]
        answers = Counter(answer for each in crowds for answer in each.result(timeout=60))
        granted = sum(own.result(timeout=60) for own in owns)
    assert answers["lead"] == 1
    assert answers["joined"] + granted == registry.waiting() == 20


@pytest.mark.usefixtures("eager_switches")
def test_every_parked_job_is_woken_once_or_taken_by_the_drain_never_both() -> None:
    registry = Registry(10_000, max_jobs=16)
    for n in range(400):
        parked(registry, str(n), str(n), wake_in=0.0)
    together = threading.Barrier(4)

    def wake_all() -> list[str]:
        together.wait(timeout=30)
        return [found[1].message.id for _ in range(100) if (found := registry.wake())]

    def drain() -> list[str]:
        together.wait(timeout=30)
        return [one.message.id for deliveries in registry.finish_waiting() for one in deliveries]

    with ThreadPoolExecutor(4) as pool:
        wakers = [pool.submit(wake_all) for _ in range(3)]
        drained = pool.submit(drain).result(timeout=60)
        woken = [found for waker in wakers for found in waker.result(timeout=60)]
    assert sorted([*woken, *drained], key=int) == [str(n) for n in range(400)]
