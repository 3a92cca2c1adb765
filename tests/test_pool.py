"""The shared slots: never more on the wire than there are, in the order of arrival, nothing through a closed gate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from subscriber import drain as drain_module
from subscriber.drain import Drain
from subscriber.errors import Interrupted, NeighbourDown, Permanent, RateLimited
from subscriber.metrics import Metrics
from subscriber.transcribe import pool as module
from subscriber.transcribe.pool import SlotPool

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Watched(threading.Condition):
    """A condition that tells when somebody waits for it, and for how long at most."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Semaphore(0)
        self.patience: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.patience.append(timeout)
        self.waiting.release()
        return super().wait(timeout)

    def look_again(self) -> None:
        with self:
            self.notify_all()


class Request:
    """A call that tells when it is on the wire and returns when the test lets it."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self.outcome = outcome
        self.on_the_wire = threading.Event()
        self.answer = threading.Event()

    def __call__(self) -> str:
        self.on_the_wire.set()
        assert self.answer.wait(SOON)
        if self.outcome:
            raise self.outcome
        return "answer"


class Stand:
    """A pool, the threads that use it, and the clock that both go by."""

    def __init__(
        self, threads: ThreadPoolExecutor, clock: Clock, slots: int, a_minute: float | None, grace: float
    ) -> None:
        self.threads = threads
        self.clock = clock
        self.drain = Drain(grace)
        self.metrics = Metrics()
        self.pool = SlotPool(slots, a_minute, self.drain, self.metrics)
        self.changed = Watched()
        self.drain.wakes(self.changed)
        self.pool._changed = self.changed
        self.requests: list[Request] = []

    def on_the_wire(self, outcome: Exception | None = None) -> tuple[Request, Future[str]]:
        """A request that has its slot."""
        request = Request(outcome)
        self.requests.append(request)
        sent = self.threads.submit(self.pool.send, request)
        assert request.on_the_wire.wait(SOON)
        return request, sent

    def waits(self, call: Callable[[], str] = lambda: "answer") -> Future[str]:
        """A request that is known to wait."""
        while self.changed.waiting.acquire(blocking=False):
            pass
        sent = self.threads.submit(self.pool.send, call)
        assert self.changed.waiting.acquire(timeout=SOON), sent.exception(0)
        return sent

    def took(self, seconds: float) -> None:
        """One request that took so long."""
        self.pool.send(lambda: self.passes(seconds))

    def passes(self, seconds: float) -> str:
        self.clock.now += seconds
        return "answer"

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
    with ThreadPoolExecutor(16) as threads:

        def make(slots: int = 1, *, a_minute: float | None = None, grace: float = 60.0) -> Stand:
            made.append(Stand(threads, clock, slots, a_minute, grace))
            return made[-1]

        yield make
        for one in made:
            one.end()


def test_a_request_is_sent_and_its_answer_returned(stand: Make) -> None:
    one = stand()
    assert one.pool.send(lambda: "answer") == "answer"
    assert (one.gauge("in_flight"), one.gauge("slots")) == (0, 1)


def test_never_more_are_on_the_wire_than_there_are_slots(stand: Make) -> None:
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

    assert all(one.threads.map(lambda _: one.pool.send(count), range(500)))
    assert most <= 3
    assert (one.pool._in_flight, list(one.pool._queue)) == (0, [])


def test_every_slot_is_used_and_the_next_request_waits_for_one(stand: Make) -> None:
    one = stand(slots=3)
    running = [one.on_the_wire() for _ in range(3)]
    assert one.gauge("in_flight") == 3
    fourth = one.waits()
    assert not fourth.done()
    running[1][0].answer.set()
    assert fourth.result(SOON) == "answer"
    assert one.gauge("in_flight") == 2


def test_those_who_wait_are_served_in_the_order_of_their_arrival(stand: Make) -> None:
    one = stand()
    first, _ = one.on_the_wire()
    order: list[int] = []
    waiters = [one.waits(noting(order, n)) for n in range(6)]
    first.answer.set()
    for waiter in waiters:
        waiter.result(SOON)
    assert order == list(range(6))


@pytest.mark.parametrize(
    "error",
    [Permanent("too_long", "x"), NeighbourDown("whisper", "unavailable", "x"), KeyError("x")],
    ids=lambda error: type(error).__name__,
)
def test_a_request_that_fails_gives_its_slot_back(stand: Make, error: Exception) -> None:
    one = stand()
    request, sent = one.on_the_wire(error)
    after = one.waits()
    request.answer.set()
    with pytest.raises(type(error)):
        sent.result(SOON)
    assert after.result(SOON) == "answer"
    assert one.gauge("in_flight") == 0


def test_a_refusal_for_the_rate_closes_the_gate_for_everybody_and_the_request_is_sent_again(stand: Make) -> None:
    one = stand(slots=4)
    asked = 0

    def limited_once() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise RateLimited(20.0, "slow down")
        return "answer"

    limited = one.waits(limited_once)
    other = one.waits()
    assert one.changed.patience == [20.0, None], "the second waits behind the first"
    one.clock.now += 19.9
    one.changed.look_again()
    assert one.changed.waiting.acquire(timeout=SOON)
    assert not limited.done()
    one.clock.now += 0.1
    one.changed.look_again()
    assert limited.result(SOON) == other.result(SOON) == "answer"
    assert asked == 2


def test_when_the_gate_opens_all_free_slots_are_used_at_once(stand: Make) -> None:
    """The first of the queue goes by the clock, and then wakes the next one: those behind it watch no clock."""
    one = stand(slots=2)
    first, second = Request(), Request()
    one.requests += [first, second]
    one.pool._opens_at = one.clock.now + 0.05
    one.waits(first)
    one.waits(second)
    one.clock.now += 0.05
    assert first.on_the_wire.wait(SOON)
    assert second.on_the_wire.wait(SOON)


def test_requests_on_the_wire_when_the_gate_closes_may_finish(stand: Make) -> None:
    one = stand(slots=2)
    request, sent = one.on_the_wire()
    one.waits(refused(RateLimited(20.0, "slow down"), "answer"))
    request.answer.set()
    assert sent.result(SOON) == "answer"


def test_of_two_refusals_the_longer_wait_counts(stand: Make) -> None:
    one = stand(slots=2)
    short, _ = one.on_the_wire(RateLimited(5.0, "slow down"))
    one.waits(refused(RateLimited(60.0, "slow down"), "answer"))
    short.answer.set()
    assert one.changed.waiting.acquire(timeout=SOON)
    one.clock.now += 59
    third = one.waits()
    assert not third.done()
    assert one.pool._opens_at == one.clock.now + 1


def test_requests_a_minute_are_spread_evenly(stand: Make) -> None:
    one = stand(slots=8, a_minute=30)
    assert one.pool.send(lambda: "answer") == "answer"
    second = one.waits()
    assert one.changed.patience == [2.0]
    third = one.waits()
    one.clock.now += 2
    one.changed.look_again()
    assert second.result(SOON) == "answer"
    assert one.changed.waiting.acquire(timeout=SOON)
    assert not third.done()
    one.clock.now += 2
    one.changed.look_again()
    assert third.result(SOON) == "answer"


def test_an_idle_time_earns_no_burst(stand: Make) -> None:
    one = stand(slots=8, a_minute=30)
    one.pool.send(lambda: "answer")
    one.clock.now += 3600
    one.pool.send(lambda: "answer")
    one.waits()
    assert one.changed.patience == [2.0]


def test_without_a_limit_nobody_waits_for_the_minute(stand: Make) -> None:
    one = stand(slots=1)
    for _ in range(100):
        one.pool.send(lambda: "answer")
    assert one.changed.patience == []


def test_in_a_drain_no_request_is_sent_that_could_not_return_in_time(stand: Make) -> None:
    one = stand(grace=30)
    one.took(10)
    one.drain.begin()
    assert one.pool.send(lambda: "answer") == "answer"
    one.took(19.9)
    asked: list[int] = []
    with pytest.raises(Interrupted):
        one.pool.send(noting(asked, 1))
    assert asked == []
    assert one.gauge("in_flight") == 0


def test_a_drain_interrupts_those_who_wait_when_the_grace_is_short(stand: Make) -> None:
    one = stand(grace=5)
    one.took(10)
    request, sent = one.on_the_wire()
    waiters = [one.waits() for _ in range(3)]
    one.drain.begin()
    for waiter in waiters:
        with pytest.raises(Interrupted):
            waiter.result(SOON)
    request.answer.set()
    assert sent.result(SOON) == "answer", "what is on the wire is paid for and may finish"
    assert list(one.pool._queue) == []


def test_a_drain_with_grace_lets_those_who_wait_go_on(stand: Make) -> None:
    one = stand(grace=60)
    one.took(10)
    request, _ = one.on_the_wire()
    waiter = one.waits()
    one.drain.begin()
    assert one.changed.waiting.acquire(timeout=SOON)
    request.answer.set()
    assert waiter.result(SOON) == "answer"


def test_who_waits_behind_a_slow_request_gives_up_while_there_is_still_time_to_release(stand: Make) -> None:
    one = stand(grace=60)
    one.took(10)
    one.on_the_wire()
    waiter = one.waits()
    one.drain.begin()
    assert one.changed.waiting.acquire(timeout=SOON)
    assert one.changed.patience[-1] == 50.0
    one.clock.now += 50
    one.changed.look_again()
    with pytest.raises(Interrupted):
        waiter.result(SOON)


def test_a_drain_does_not_wait_for_a_gate_that_opens_too_late(stand: Make) -> None:
    one = stand(grace=30)
    one.took(10)
    late = one.waits(refused(RateLimited(20.0, "slow down"), "answer"))
    one.drain.begin()
    with pytest.raises(Interrupted):
        late.result(SOON)


def test_a_drain_waits_for_a_gate_that_opens_in_time(stand: Make) -> None:
    one = stand(grace=31)
    one.took(10)
    early = one.waits(refused(RateLimited(20.0, "slow down"), "answer"))
    one.drain.begin()
    assert one.changed.waiting.acquire(timeout=SOON)
    one.clock.now += 20
    one.changed.look_again()
    assert early.result(SOON) == "answer"


def test_a_second_signal_takes_the_grace_of_those_who_wait(stand: Make) -> None:
    one = stand(grace=3600)
    one.on_the_wire()
    waiter = one.waits()
    one.drain.begin()
    assert one.changed.waiting.acquire(timeout=SOON)
    one.drain.begin()
    with pytest.raises(Interrupted):
        waiter.result(SOON)


def test_an_interrupted_waiter_leaves_the_queue_as_it_was(stand: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in the queue is given up, and those behind it move on."""
    one = stand()
    request, _ = one.on_the_wire()
    interrupted = threading.Event()
    must_wait, victim = one.pool._must_wait, threading.local()

    def choosy(ticket: object) -> float | None:
        if getattr(victim, "chosen", False) and interrupted.is_set():
            raise Interrupted("only this one")
        return must_wait(ticket)

    def send_as_victim() -> str:
        victim.chosen = True
        try:
            return one.pool.send(lambda: "answer")
        finally:
            victim.chosen = False

    monkeypatch.setattr(one.pool, "_must_wait", choosy)
    before = one.waits()
    middle = one.threads.submit(send_as_victim)
    assert one.changed.waiting.acquire(timeout=SOON)
    behind = one.waits()
    interrupted.set()
    one.changed.look_again()
    with pytest.raises(Interrupted):
        middle.result(SOON)
    assert len(one.pool._queue) == 2
    request.answer.set()
    assert before.result(SOON) == behind.result(SOON) == "answer"


def test_what_a_request_usually_takes_follows_the_answers(stand: Make) -> None:
    one = stand()
    one.took(10)
    assert one.pool._usual_seconds == 10
    one.took(20)
    assert one.pool._usual_seconds == pytest.approx(12)


@pytest.mark.parametrize("error", [NeighbourDown("whisper", "unavailable", "refused"), Permanent("too_long", "x")])
def test_refusals_teach_nothing_of_what_a_request_takes(stand: Make, error: Exception) -> None:
    """They come in milliseconds; a drain that went by them would send requests that cannot end in time."""
    one = stand(slots=1)
    one.took(10)
    for _ in range(20):
        with pytest.raises(type(error)):
            one.pool.send(refused(error))
    one.pool.send(refused(RateLimited(-1.0, "again at once"), "answer"))
    assert one.pool._usual_seconds == pytest.approx(8), "one answer of 0 s, no refusal"


def noting(order: list[int], number: int) -> Callable[[], str]:
    """A request that notes when it was sent."""

    def call() -> str:
        order.append(number)
        return "answer"

    return call


def refused(error: Exception, *then: str) -> Callable[[], str]:
    """A request that is refused once and then answered."""
    answers: list[Exception | str] = [error, *then]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call
