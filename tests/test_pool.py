"""The shared slots: never more on the wire than there are, fair by chunk, nothing through a closed gate."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait

import pytest

from subscriber import drain as drain_module
from subscriber.drain import LAST_BREATH_SECONDS, RESERVE_SECONDS, Drain
from subscriber.errors import Interrupted, NeighbourDown, Permanent, RateLimited
from subscriber.metrics import Metrics
from subscriber.transcribe import pool as module
from subscriber.transcribe.pool import FIRST_GUESS_SECONDS, GROW_AFTER, THREADS_A_SLOT, Lane, SlotPool
from tests.daemon import until

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Watched(threading.Condition):
    """A condition that tells for how long at most somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.patience: queue.Queue[float | None] = queue.Queue()

    def wait(self, timeout: float | None = None) -> bool:
        self.patience.put(timeout)
        return super().wait(timeout)

    def until_waited_for(self, seconds: float) -> None:
        """Return when a thread waits for so long."""
        while self.patience.get(timeout=SOON) != pytest.approx(seconds):
            pass

    def look_again(self) -> None:
        with self:
            self.notify_all()


class Request:
    """A call that tells when it is on the wire and returns when the test lets it."""

    def __init__(self, stand: Stand, outcome: Exception | None = None, takes: float = 0.0) -> None:
        self.stand = stand
        self.outcome = outcome
        self.takes = takes
        self.on_the_wire = threading.Event()
        self.answer = threading.Event()
        stand.requests.append(self)

    def __call__(self) -> str:
        self.on_the_wire.set()
        assert self.answer.wait(SOON)
        self.stand.clock.now += self.takes
        if self.outcome:
            outcome, self.outcome = self.outcome, None
            self.on_the_wire.clear()
            raise outcome
        return "answer"

    def sent(self) -> Request:
        assert self.on_the_wire.wait(SOON)
        return self


class Stand:
    """A pool and the clock that it goes by."""

    def __init__(self, clock: Clock, slots: int, a_minute: float | None, grace: float) -> None:
        self.clock = clock
        self.drain = Drain(grace)
        self.metrics = Metrics()
        self.pool = SlotPool(slots, a_minute, self.drain, self.metrics)
        self.changed = Watched()
        self.drain.wakes(self.changed)
        self.pool._changed = self.changed
        self.requests: list[Request] = []

    def blocks(self, lane: Lane, outcome: Exception | None = None, takes: float = 0.0) -> tuple[Request, Future[str]]:
        """A request that has its slot."""
        request = Request(self, outcome, takes)
        future = lane.submit(request)
        return request.sent(), future

    def ask(self, lane: Lane, number: int = 1, *, takes: float = 0.0) -> None:
        """So many requests, one after the other, that are answered at once."""
        for _ in range(number):
            assert lane.submit(lambda: self._passes(takes)).result(SOON) == "answer"
            self.until_idle()

    def until_idle(self) -> None:
        """Return when nothing is on the wire, and nobody is done with an answer either."""
        self.until(self._idle)

    def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds of the pool. Not by waiting with its threads: a request wakes one of those who wait."""

        def settled() -> bool:
            with self.changed:
                return holds()

        until(settled, "it holds of the pool", SOON)

    def _idle(self) -> bool:
        return not self.pool._in_flight and not any(lane.in_flight for lane in self.pool._lanes)

    def _passes(self, seconds: float) -> str:
        self.clock.now += seconds
        return "answer"

    def passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.changed.look_again()

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"subscriber_whisper_{name}")

    def end(self) -> None:
        """Let everybody go, so that a test may fail and not hang."""
        self.drain.begin()
        self.drain.begin()
        for request in self.requests:
            request.answer.set()


Make = Callable[..., Stand]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(drain_module, "time", clock)
    made: list[Stand] = []

    def make(slots: int = 1, *, a_minute: float | None = None, grace: float = 60.0) -> Stand:
        made.append(Stand(clock, slots, a_minute, grace))
        return made[-1]

    yield make
    for one in made:
        one.end()


def noting(order: list[str], name: str) -> Callable[[], str]:
    """A request that notes when it was sent."""

    def call() -> str:
        order.append(name)
        return "answer"

    return call


class TestSlots:
    def test_a_request_is_sent_and_its_answer_returned(self, stand: Make) -> None:
        one = stand()
        with one.pool.lane() as lane:
            assert lane.submit(lambda: "answer").result(SOON) == "answer"
            one.until_idle()
        assert (one.gauge("in_flight"), one.gauge("slots")) == (0, 1)

    def test_never_more_are_on_the_wire_than_there_are_slots(self, stand: Make) -> None:
        one = stand(slots=3)
        lock, now, most = threading.Lock(), 0, 0

        def count() -> str:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            with lock:
                now -= 1
            return "answer"

        lanes = [one.pool.lane() for _ in range(5)]
        futures = [lane.submit(count) for _ in range(100) for lane in lanes]
        assert [future.result(SOON) for future in futures] == ["answer"] * 500
        assert most <= 3
        assert one.pool._threads <= 3 * THREADS_A_SLOT

    def test_every_slot_is_used_and_the_next_request_waits_for_one(self, stand: Make) -> None:
        one = stand(slots=3)
        lane = one.pool.lane()
        running = [one.blocks(lane) for _ in range(3)]
        assert one.gauge("in_flight") == 3
        fourth = Request(one)
        future = lane.submit(fourth)
        assert not fourth.on_the_wire.is_set()
        running[1][0].answer.set()
        fourth.sent()
        assert one.gauge("in_flight") == 3
        fourth.answer.set()
        assert future.result(SOON) == "answer"

    @pytest.mark.parametrize(
        "error",
        [Permanent("too_long", "x"), NeighbourDown("whisper", "unavailable", "x"), KeyError("x")],
        ids=lambda error: type(error).__name__,
    )
    def test_a_request_that_fails_gives_its_slot_back_and_its_error_to_who_waits(
        self, stand: Make, error: Exception
    ) -> None:
        one = stand()
        lane = one.pool.lane()
        request, failing = one.blocks(lane, error)
        after = lane.submit(lambda: "answer")
        request.answer.set()
        assert failing.exception(SOON) is error
        assert after.result(SOON) == "answer"


class TestThen:
    def test_an_answer_is_turned_into_the_result_when_its_slot_is_free_again(self, stand: Make) -> None:
        one = stand()
        lane = one.pool.lane()
        storing, stored = threading.Event(), threading.Event()

        def store(answer: str) -> str:
            storing.set()
            assert stored.wait(SOON)
            return answer + " stored"

        first = lane.submit(lambda: "first", store)
        assert storing.wait(SOON)
        assert lane.submit(lambda: "second").result(SOON) == "second"
        assert not first.done()
        stored.set()
        assert first.result(SOON) == "first stored"

    def test_what_fails_after_the_answer_reaches_who_waits(self, stand: Make) -> None:
        one = stand()
        lane = one.pool.lane()

        def fail(answer: str) -> str:
            raise KeyError(answer)

        assert isinstance(lane.submit(lambda: "answer", fail).exception(SOON), KeyError)
        assert lane.submit(lambda: "answer").result(SOON) == "answer"


class TestFairness:
    def test_a_slot_goes_to_the_job_with_the_fewest_requests_on_the_wire(self, stand: Make) -> None:
        one = stand(slots=2)
        old, young, third = (one.pool.lane() for _ in range(3))
        one.blocks(old)
        blocker, _ = one.blocks(third)
        order: list[str] = []
        futures = [old.submit(noting(order, "old")), young.submit(noting(order, "young"))]
        blocker.answer.set()
        wait(futures, SOON)
        assert order == ["young", "old"]

    def test_of_jobs_with_as_many_the_oldest_is_served_first(self, stand: Make) -> None:
        one = stand()
        old, young, third = (one.pool.lane() for _ in range(3))
        blocker, _ = one.blocks(third)
        order: list[str] = []
        futures = [young.submit(noting(order, "young")), old.submit(noting(order, "old"))]
        blocker.answer.set()
        wait(futures, SOON)
        assert order == ["old", "young"]

    def test_one_jobs_requests_go_in_their_order(self, stand: Make) -> None:
        one = stand()
        lane = one.pool.lane()
        blocker, _ = one.blocks(lane)
        order: list[str] = []
        futures = [lane.submit(noting(order, f"{number}")) for number in range(6)]
        blocker.answer.set()
        wait(futures, SOON)
        assert order == ["0", "1", "2", "3", "4", "5"]

    def test_a_short_job_behind_a_long_one_gets_the_next_slot(self, stand: Make) -> None:
        one = stand(slots=3)
        long, short = one.pool.lane(), one.pool.lane()
        requests = [Request(one) for _ in range(10)]
        for request in requests:
            long.submit(request)
        for request in requests[:3]:
            request.sent()
        voice_note = Request(one)
        short.submit(voice_note)
        requests[0].answer.set()
        voice_note.sent()
        assert [request.on_the_wire.is_set() for request in requests] == [True] * 3 + [False] * 7

    def test_a_long_job_alone_has_every_slot(self, stand: Make) -> None:
        one = stand(slots=4)
        lane = one.pool.lane()
        for _ in range(4):
            one.blocks(lane)
        assert one.gauge("in_flight") == 4

    def test_jobs_share_what_may_be_decoded_ahead(self, stand: Make) -> None:
        one = stand(slots=4)
        lane = one.pool.lane()
        assert [lane.has_room(held) for held in (0, 7, 8)] == [True, True, False]
        others = [one.pool.lane() for _ in range(3)]
        assert [lane.has_room(held) for held in (1, 2)] == [True, False]
        more = [one.pool.lane() for _ in range(9)]
        assert [lane.has_room(held) for held in (1, 2)] == [True, False], "each has the next one at hand"
        for other in [*others, *more]:
            other.__exit__()
        assert lane.has_room(7)


class TestGate:
    def test_a_refusal_for_the_rate_closes_the_gate_for_everybody_and_the_request_goes_again(self, stand: Make) -> None:
        one = stand(slots=4)
        lane, other = one.pool.lane(), one.pool.lane()
        request, limited = one.blocks(lane, RateLimited(20.0, "slow down"))
        request.answer.set()
        one.changed.until_waited_for(20.0)
        order: list[str] = []
        second = other.submit(noting(order, "other"))
        one.passes(19.9)
        one.changed.until_waited_for(0.1)
        assert (order, request.on_the_wire.is_set(), limited.done()) == ([], False, False)
        one.passes(0.1)
        assert limited.result(SOON) == second.result(SOON) == "answer"

    @pytest.mark.parametrize("end", ["the gate opens", "a drain"])
    def test_who_has_a_slot_and_has_not_sent_yet_waits_too(self, stand: Make, end: str) -> None:
        """Between slot and sending it is looked whether the answer has come elsewhere: that takes its time."""
        one = stand(slots=4)
        lane = one.pool.lane()
        looked = threading.Event()

        def prepared() -> bool:
            assert looked.wait(SOON)
            return lane.waited_for_gate()

        asked = lane.submit(prepared)
        refused, _ = one.blocks(lane, RateLimited(20.0, "slow down"))
        refused.answer.set()
        one.changed.until_waited_for(20.0)
        one.clock.now += 5.0
        looked.set()
        one.changed.until_waited_for(15.0)
        assert not asked.done()
        if end == "a drain":
            one.drain.begin()
            with pytest.raises(Interrupted, match="draining"):
                asked.result(SOON)
        else:
            one.passes(15.0)
            assert asked.result(SOON)
            assert not lane.waited_for_gate()

    def test_who_was_refused_goes_before_what_its_job_asks_next(self, stand: Make) -> None:
        one = stand()
        lane = one.pool.lane()
        order: list[str] = []
        refusal = [RateLimited(20.0, "slow down")]

        def limited() -> str:
            if refusal:
                raise refusal.pop()
            return noting(order, "refused")()

        blocker, _ = one.blocks(lane)
        futures = [lane.submit(limited), lane.submit(noting(order, "next"))]
        blocker.answer.set()
        one.changed.until_waited_for(20.0)
        one.passes(20.0)
        wait(futures, SOON)
        assert order == ["refused", "next"]

    def test_requests_on_the_wire_when_the_gate_closes_may_finish(self, stand: Make) -> None:
        one = stand(slots=2)
        lane = one.pool.lane()
        running, answered = one.blocks(lane)
        refused, _ = one.blocks(lane, RateLimited(20.0, "slow down"))
        refused.answer.set()
        one.until(lambda: one.pool._in_flight == 1)
        running.answer.set()
        assert answered.result(SOON) == "answer"

    def test_of_two_refusals_the_longer_wait_counts(self, stand: Make) -> None:
        one = stand(slots=2)
        lane = one.pool.lane()
        short, _ = one.blocks(lane, RateLimited(5.0, "slow down"))
        long, _ = one.blocks(lane, RateLimited(60.0, "slow down"))
        long.answer.set()
        one.until(lambda: one.pool._in_flight == 1)
        short.answer.set()
        one.changed.until_waited_for(60.0)
        one.passes(59.0)
        one.changed.until_waited_for(1.0)
        assert not short.on_the_wire.is_set()

    def test_refusals_that_come_together_halve_the_slots_once(self, stand: Make) -> None:
        one = stand(slots=8)
        lane = one.pool.lane()
        limited = [one.blocks(lane, RateLimited(20.0, "slow down")) for _ in range(8)]
        one.clock.now += 1
        for request, _ in limited:
            request.answer.set()
        one.changed.until_waited_for(20.0)
        one.until_idle()
        assert one.gauge("slots") == 4

    def test_a_refusal_that_comes_when_the_gate_is_open_again_is_no_second_one(self, stand: Make) -> None:
        """It was sent with the others, when there were twice the slots."""
        one = stand(slots=8)
        lane = one.pool.lane()
        early, late = (one.blocks(lane, RateLimited(1.0, "slow down"))[0] for _ in range(2))
        one.clock.now += 1
        early.answer.set()
        one.changed.until_waited_for(1.0)
        one.passes(5.0)
        early.sent()
        late.answer.set()
        one.changed.until_waited_for(1.0)
        assert one.gauge("slots") == 4

    def test_refused_again_the_slots_are_halved_again_down_to_one(self, stand: Make) -> None:
        one = stand(slots=4)
        lane = one.pool.lane()
        seen = []
        for _ in range(4):
            one.clock.now += 1
            request, answered = one.blocks(lane, RateLimited(1.0, "slow down"))
            request.answer.set()
            one.changed.until_waited_for(1.0)
            seen.append(one.gauge("slots"))
            one.passes(1.0)
            assert answered.result(SOON) == "answer"
            one.until_idle()
        assert seen == [2, 1, 1, 1]

    def test_fewer_slots_mean_fewer_requests_on_the_wire(self, stand: Make) -> None:
        one = stand(slots=2)
        lane = one.pool.lane()
        one.clock.now += 1
        request, _ = one.blocks(lane, RateLimited(1.0, "slow down"))
        request.answer.set()
        one.changed.until_waited_for(1.0)
        request.answer.clear()
        next_one = Request(one)
        lane.submit(next_one)
        one.passes(1.0)
        request.sent()
        assert not next_one.on_the_wire.is_set()
        request.answer.set()
        next_one.sent()

    def test_answers_bring_the_slots_back_one_by_one_and_never_more_than_there_were(self, stand: Make) -> None:
        one = stand(slots=4)
        lane = one.pool.lane()
        one.clock.now += 1
        request, limited = one.blocks(lane, RateLimited(1.0, "slow down"))
        request.answer.set()
        one.changed.until_waited_for(1.0)
        one.passes(1.0)
        assert limited.result(SOON) == "answer"  # the first of the successes
        one.until_idle()
        one.ask(lane, 2 * GROW_AFTER - 2)
        assert one.gauge("slots") == 2
        one.ask(lane)
        assert one.gauge("slots") == 3
        one.ask(lane, 3 * GROW_AFTER)
        assert one.gauge("slots") == 4
        one.ask(lane, 8 * GROW_AFTER)
        assert one.gauge("slots") == 4


class TestRequestsAMinute:
    def test_they_are_spread_evenly(self, stand: Make) -> None:
        one = stand(slots=8, a_minute=30)
        lane = one.pool.lane()
        one.ask(lane)
        second, third = Request(one), Request(one)
        lane.submit(second)
        lane.submit(third)
        one.changed.until_waited_for(2.0)
        assert not second.on_the_wire.is_set()
        one.passes(2.0)
        second.sent()
        one.changed.until_waited_for(2.0)
        assert not third.on_the_wire.is_set()
        one.passes(2.0)
        third.sent()

    def test_an_idle_time_earns_no_burst(self, stand: Make) -> None:
        one = stand(slots=8, a_minute=30)
        lane = one.pool.lane()
        one.ask(lane)
        one.clock.now += 3600
        one.ask(lane)
        request = Request(one)
        lane.submit(request)
        one.changed.until_waited_for(2.0)
        assert not request.on_the_wire.is_set()

    def test_without_a_limit_nobody_waits_for_the_minute(self, stand: Make) -> None:
        one = stand()
        one.ask(one.pool.lane(), 100)
        assert one.clock.now == 1000.0


class TestDrain:
    def test_no_request_is_sent_that_could_not_return_in_time(self, stand: Make) -> None:
        one = stand(grace=30)
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        one.drain.begin()
        one.ask(lane, takes=19.9)
        asked: list[str] = []
        with pytest.raises(Interrupted):
            lane.submit(noting(asked, "late")).result(SOON)
        assert asked == []
        assert one.gauge("in_flight") == 0

    def test_who_waits_is_let_go_and_who_is_on_the_wire_finishes_and_is_stored(self, stand: Make) -> None:
        one = stand(grace=5)
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        request = Request(one)
        kept: list[str] = []
        paid = lane.submit(request, kept.append)
        request.sent()
        waiters = [lane.submit(lambda: "answer") for _ in range(3)]
        one.drain.begin()
        for waiter in waiters:
            with pytest.raises(Interrupted):
                waiter.result(SOON)
        request.answer.set()
        paid.result(SOON)
        assert kept == ["answer"]

    def test_with_grace_enough_those_who_wait_go_on(self, stand: Make) -> None:
        one = stand(grace=60)
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        request, _ = one.blocks(lane)
        waiter = lane.submit(lambda: "answer")
        one.drain.begin()
        request.answer.set()
        assert waiter.result(SOON) == "answer"

    def test_who_waits_behind_a_slow_request_gives_up_while_there_is_still_time_to_release(self, stand: Make) -> None:
        one = stand(grace=60)
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        one.blocks(lane)
        waiter = lane.submit(lambda: "answer")
        one.drain.begin()
        one.changed.until_waited_for(50.0 - RESERVE_SECONDS)
        one.passes(50.0 - RESERVE_SECONDS)
        with pytest.raises(Interrupted):
            waiter.result(SOON)

    @pytest.mark.parametrize(("grace", "sent"), [(30.0 + RESERVE_SECONDS, False), (31.0 + RESERVE_SECONDS, True)])
    def test_a_gate_is_waited_for_only_if_it_opens_in_time(self, stand: Make, grace: float, sent: bool) -> None:
        one = stand(grace=grace)
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        request, limited = one.blocks(lane, RateLimited(20.0, "slow down"))
        request.answer.set()
        one.changed.until_waited_for(20.0)
        one.drain.begin()
        if sent:
            one.changed.until_waited_for(1.0)
            one.passes(20.0)
            assert limited.result(SOON) == "answer"
        else:
            with pytest.raises(Interrupted):
                limited.result(SOON)

    def test_a_second_signal_takes_the_grace_of_those_who_wait(self, stand: Make) -> None:
        one = stand(grace=3600)
        lane = one.pool.lane()
        one.blocks(lane)
        waiter = lane.submit(lambda: "answer")
        one.drain.begin()
        one.changed.until_waited_for(3600.0 - RESERVE_SECONDS - FIRST_GUESS_SECONDS)
        one.drain.begin()
        with pytest.raises(Interrupted):
            waiter.result(SOON)

    def test_a_pod_that_knows_no_answer_yet_sends_nothing_in_a_short_grace(self, stand: Make) -> None:
        """What it sent would be paid, and its answer would come to nobody."""
        one = stand(grace=FIRST_GUESS_SECONDS + 1.0)
        lane = one.pool.lane()
        one.drain.begin()
        with pytest.raises(Interrupted):
            lane.submit(lambda: "answer").result(SOON)

    def test_what_a_request_usually_takes_follows_the_answers(self, stand: Make) -> None:
        one = stand()
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        assert one.pool._usual_seconds == 10
        one.ask(lane, takes=20)
        assert one.pool._usual_seconds == pytest.approx(12)

    @pytest.mark.parametrize(
        "error",
        [NeighbourDown("whisper", "unavailable", "refused"), Permanent("too_long", "x"), RateLimited(0.0, "again")],
        ids=lambda error: type(error).__name__,
    )
    def test_refusals_teach_nothing_of_what_a_request_takes(self, stand: Make, error: Exception) -> None:
        """They come in milliseconds; a drain that went by them would send requests that cannot end in time."""
        one = stand()
        lane = one.pool.lane()
        one.ask(lane, takes=10)
        refused: list[Exception] = [error]

        def refuse() -> str:
            if refused:
                raise refused.pop()
            return one._passes(10)

        wait([lane.submit(refuse)], SOON)
        one.until_idle()
        assert one.pool._usual_seconds == pytest.approx(10)


class TestClosedLane:
    def test_what_waits_is_cancelled_and_the_slot_goes_to_others(self, stand: Make) -> None:
        one = stand()
        other = one.pool.lane()
        asked: list[str] = []
        with one.pool.lane() as lane:
            request, _ = one.blocks(lane)
            waiter = lane.submit(noting(asked, "closed"))
        with pytest.raises(CancelledError):
            waiter.result(SOON)
        request.answer.set()
        one.ask(other)
        assert asked == []

    def test_what_is_on_the_wire_is_paid_and_therefore_stored(self, stand: Make) -> None:
        one = stand()
        request = Request(one)
        kept: list[str] = []
        with one.pool.lane() as lane:
            paid = lane.submit(request, kept.append)
            request.sent()
        request.answer.set()
        paid.result(SOON)
        assert kept == ["answer"]

    def test_a_request_of_it_that_is_refused_for_the_rate_is_not_sent_again(self, stand: Make) -> None:
        one = stand()
        with one.pool.lane() as lane:
            request, limited = one.blocks(lane, RateLimited(0.0, "slow down"))
        request.answer.set()
        with pytest.raises(CancelledError):
            limited.result(SOON)
        assert not request.on_the_wire.is_set()

    def test_in_a_drain_it_is_closed_when_its_answers_are_stored(self, stand: Make) -> None:
        one = stand(grace=60)
        lane = one.pool.lane()
        request = Request(one)
        kept: list[str] = []
        lane.submit(request, kept.append)
        request.sent()
        one.drain.begin()
        closing = threading.Thread(target=lane.__exit__)
        closing.start()
        one.changed.until_waited_for(60.0 - LAST_BREATH_SECONDS)
        request.answer.set()
        closing.join(SOON)
        assert kept == ["answer"]

    def test_in_a_drain_a_refusal_for_the_rate_ends_the_wait(self, stand: Make) -> None:
        """The job has gone; whoever shares its request must not wait for it for ever."""
        one = stand(grace=60)
        lane = one.pool.lane()
        request, limited = one.blocks(lane, RateLimited(0.0, "slow down"))
        one.drain.begin()
        closing = threading.Thread(target=lane.__exit__)
        closing.start()
        one.changed.until_waited_for(60.0 - LAST_BREATH_SECONDS)
        request.answer.set()
        with pytest.raises(CancelledError):
            limited.result(SOON)
        closing.join(SOON)
        assert not closing.is_alive()

    def test_a_drain_without_grace_waits_for_nothing(self, stand: Make) -> None:
        one = stand(grace=0)
        lane = one.pool.lane()
        one.blocks(lane)
        one.drain.begin()
        lane.__exit__()
