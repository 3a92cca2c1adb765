"""The keepers renew what is held, survive whatever goes wrong, and tell how long ago they last succeeded.

The source and the ledger are the ports' own contracts in memory: no emulator can stall, lose or refuse on demand.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import pytest

from subscriber import lease as module
from subscriber.batches import BATCH, batches
from subscriber.decisions import Decide
from subscriber.errors import ClaimLost, NeighbourDown, Refused
from subscriber.lease import CLAIM_THREADS, ClaimKeeper, HeldClaim, Keeper, LeaseKeeper
from subscriber.metrics import Metrics
from subscriber.model import Claim, Delivery, Job, Message, Progress, Record, State
from tests.claims import CLAIM, CLAIMED, NOW

T = TypeVar("T")

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""
DOWN = NeighbourDown("firestore", "unavailable", "it is away")
Call = tuple[str, tuple[str, ...], int]


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Wire:
    """A Source that remembers what was asked of it, and obstructs on demand."""

    def __init__(self) -> None:
        self.began: list[Call] = []
        self.ended: list[Call] = []
        self.malformed: set[str] = set()
        self.raising: list[Exception | None] = []
        self.called = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        call = (subscription, tuple(ack_ids), seconds)
        self.began.append(call)
        self.called.release()
        assert self.go_on.wait(SOON)
        if self.raising and (error := self.raising.pop(0)):
            raise error
        if self.malformed & set(ack_ids):
            raise Refused("one of the ids is malformed")
        self.ended.append(call)

    def pull(self, free: int) -> Sequence[Delivery]:
        raise AssertionError(free)

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:
        raise AssertionError(subscription, ack_ids)

    def finished(self) -> bool:
        return False


class Book:
    """A Ledger in memory. `obstacle` runs before each transaction: it may wait or raise."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.asked: list[str] = []
        self.written = threading.Semaphore(0)
        self.obstacle: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def transact(self, job: Job, decide: Decide[T]) -> T:
        with self._lock:
            self.asked.append(job.name)
        self.obstacle()
        with self._lock:
            verdict = decide(self.records.get(job.id), datetime.now(UTC))
            if verdict.write:
                self.records[job.id] = verdict.write
        self.written.release()
        return verdict.answer

    def open(self, name: str = CLAIM.job.name) -> Claim:
        """A claim that holds its record."""
        claim = replace(CLAIM, job=replace(CLAIM.job, name=name), nonce=f"nonce of {name}")
        self.records[claim.job.id] = replace(CLAIMED, name=name, nonce=claim.nonce)
        return claim

    def take_over(self, claim: Claim) -> None:
        """Another worker has the job now."""
        self.records[claim.job.id] = replace(CLAIMED, nonce="another's", epoch=claim.epoch + 1)

    def of(self, claim: Claim) -> Record:
        return self.records[claim.job.id]


class Scripted(threading.Event):
    """A keeper's stop that lets it take so many turns at once, and remembers how long each should have waited."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self._turns = turns
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > self._turns


class Inline:
    """An executor whose work is done when `submit` returns."""

    def submit(self, work: Callable[..., object], *arguments: object) -> None:
        work(*arguments)

    def shutdown(self, **_: object) -> None:
        """Nothing is left."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def leases(wire: Wire, metrics: Metrics, clock: Clock) -> LeaseKeeper:  # noqa: ARG001 - the clock is set before
    return LeaseKeeper(wire, 60, metrics)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def claims(book: Book, metrics: Metrics, clock: Clock) -> ClaimKeeper:  # noqa: ARG001 - as above
    """A keeper of claims of 90 s that does its renewals within its turn."""
    keeper = ClaimKeeper(book, 90.0, metrics)
    keeper._pool.shutdown()
    keeper._pool = cast("ThreadPoolExecutor", Inline())
    return keeper


def delivery(message_id: str, ack_id: str = "", subscription: str = "live") -> Delivery:
    return Delivery(Message(message_id, {}, b"", NOW), subscription, ack_id or f"ack {message_id}")


def many(number: int, subscription: str = "live") -> list[Delivery]:
    return [delivery(str(n), subscription=subscription) for n in range(number)]


def renewals(metrics: Metrics, kind: str) -> dict[str, float]:
    found = {
        sample.labels["result"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "subscriber_lease_renewals_total" and sample.labels["kind"] == kind and sample.value
    }
    return dict(sorted(found.items()))


def take_turns(keeper: Keeper, turns: int) -> list[float | None]:
    """Run the keeper's thread function in this thread; how long it would have waited before each turn."""
    stop = Scripted(turns)
    keeper._stop = stop
    keeper._run()
    return stop.waits


# Leases


def test_what_arrives_is_extended_before_anything_else_is_done_with_it(leases: LeaseKeeper, wire: Wire) -> None:
    first, second = delivery("1"), delivery("2")
    assert leases.hold([first, second]) == [first, second]
    assert wire.ended == [("live", ("ack 1", "ack 2"), 60)]
    assert leases.held() == [first, second]


def test_each_subscription_gets_its_own_request(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold([delivery("1", subscription="live"), delivery("1", subscription="replay")])
    assert wire.ended == [("live", ("ack 1",), 60), ("replay", ("ack 1",), 60)]


def test_a_message_that_comes_again_only_brings_its_newer_ack_id(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold([delivery("1", "stale"), delivery("2")])
    new = leases.hold([delivery("1", "newest"), delivery("3")])
    assert [one.message.id for one in new] == ["3"]
    wire.ended.clear()
    leases.turn()
    assert wire.ended == [("live", ("newest", "ack 2", "ack 3"), 60)]


def test_a_message_twice_in_one_pull_is_one_new_delivery_with_the_later_ack_id(leases: LeaseKeeper, wire: Wire) -> None:
    assert leases.hold([delivery("1", "a"), delivery("1", "b")]) == [delivery("1", "b")] == leases.held()
    assert wire.ended == [("live", ("a", "b"), 60)]


def test_a_pull_of_nothing_asks_for_nothing(leases: LeaseKeeper, wire: Wire) -> None:
    assert leases.hold([]) == []
    leases.turn()
    assert wire.began == []


def test_leases_are_renewed_at_a_third_of_their_length(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold([delivery("1")])
    assert take_turns(leases, 3) == [20.0] * 4
    assert wire.ended == [("live", ("ack 1",), 60)] * 4


def test_a_batch_holds_at_most_a_thousand_ids(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold([*many(2 * BATCH + 1), *many(1, "replay")])
    assert [(call[0], len(call[1])) for call in wire.ended] == [
        ("live", 1000),
        ("live", 1000),
        ("live", 1),
        ("replay", 1),
    ]


@pytest.mark.parametrize(
    "malformed", [{"0"}, {"7"}, {"3", "4"}, {"0", "2", "4", "6"}, {str(n) for n in range(8)}], ids=str
)
def test_malformed_ids_fail_alone_and_all_others_are_renewed(
    leases: LeaseKeeper, wire: Wire, metrics: Metrics, malformed: set[str]
) -> None:
    wire.malformed = {f"ack {message_id}" for message_id in malformed}
    leases.hold(many(8))
    extended = Counter(ack_id for _, ack_ids, _ in wire.ended for ack_id in ack_ids)
    assert extended == {f"ack {n}": 1 for n in range(8) if str(n) not in malformed}
    counted = {"ok": 8.0 - len(malformed), "refused": float(len(malformed))}
    assert renewals(metrics, "ack") == {result: number for result, number in counted.items() if number}


def test_a_half_that_fails_leaves_the_other_half_its_turn(leases: LeaseKeeper, wire: Wire) -> None:
    wire.raising = [Refused("one of the ids is malformed"), NeighbourDown("pubsub", "unavailable", "away")]
    leases.hold(many(4))
    assert wire.ended == [("live", ("ack 2", "ack 3"), 60)]


def test_one_malformed_id_in_a_thousand_is_found_by_halving(leases: LeaseKeeper, wire: Wire) -> None:
    wire.malformed = {"ack 613"}
    leases.hold(many(1000))
    assert len(wire.began) <= 21


def test_a_malformed_id_does_not_count_as_a_keeper_that_fails(leases: LeaseKeeper, wire: Wire, clock: Clock) -> None:
    wire.malformed = {"ack 1"}
    leases.hold(many(3))
    clock.now += 20
    leases.turn()
    assert leases.staleness_seconds() == 0


def test_staleness_grows_while_renewals_fail_and_ends_with_the_next_success(
    leases: LeaseKeeper, wire: Wire, clock: Clock, metrics: Metrics
) -> None:
    leases.hold(many(2))
    wire.raising = [NeighbourDown("pubsub", "unavailable", "away")] * 2
    for _ in range(2):
        clock.now += 20
        leases.turn()
    assert leases.staleness_seconds() == 40
    assert metrics.registry.get_sample_value("subscriber_lease_staleness_seconds", {"kind": "ack"}) == 40
    assert renewals(metrics, "ack") == {"error": 4.0, "ok": 2.0}
    leases.turn()
    assert leases.staleness_seconds() == 0


def test_one_subscription_that_fails_leaves_the_other_renewed_and_the_keeper_stale(
    leases: LeaseKeeper, wire: Wire, clock: Clock
) -> None:
    leases.hold([delivery("1", subscription="live"), delivery("2", subscription="replay")])
    wire.raising = [NeighbourDown("pubsub", "unavailable", "away")]
    wire.ended.clear()
    clock.now += 20
    leases.turn()
    assert wire.ended == [("replay", ("ack 2",), 60)]
    assert leases.staleness_seconds() == 20


def test_a_keeper_with_nothing_to_renew_is_not_stale(leases: LeaseKeeper, clock: Clock) -> None:
    clock.now += 500
    leases.turn()
    assert leases.staleness_seconds() == 0


def test_taking_ends_the_renewal_and_gives_the_newest_ack_ids_by_subscription(leases: LeaseKeeper, wire: Wire) -> None:
    mine, other = delivery("1", "stale"), delivery("2", subscription="replay")
    leases.hold([mine, other, delivery("3")])
    leases.hold([delivery("1", "newest")])
    assert list(batches(leases.take([mine, other]))) == [("live", ["newest"]), ("replay", ["ack 2"])]
    wire.ended.clear()
    leases.turn()
    assert wire.ended == [("live", ("ack 3",), 60)]


def test_a_delivery_that_was_taken_already_is_told_by_its_own_ack_id(leases: LeaseKeeper) -> None:
    assert leases.take([delivery("1")]) == [delivery("1")]
    assert leases.take([]) == []


def test_a_message_that_comes_again_after_it_was_taken_is_new(leases: LeaseKeeper) -> None:
    leases.hold([delivery("1", "a")])
    leases.take([delivery("1", "a")])
    assert leases.hold([delivery("1", "b")]) == [delivery("1", "b")]


def test_deferring_sets_the_time_once_and_ends_the_renewal(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold(many(2))
    wire.ended.clear()
    leases.defer([delivery("1")], 45)
    leases.turn()
    assert wire.ended == [("live", ("ack 1",), 45), ("live", ("ack 0",), 60)]


def test_a_deferral_that_fails_says_so_and_is_not_renewed(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold(many(1))
    wire.raising = [NeighbourDown("pubsub", "unavailable", "away")]
    with pytest.raises(NeighbourDown):
        leases.defer(many(1), 45)
    assert leases.held() == []


@pytest.mark.parametrize("renews", [LeaseKeeper.turn, lambda keeper: keeper.hold([delivery("1", "ack 1")])])
def test_a_deferral_is_sent_after_the_extension_that_is_on_the_wire(
    leases: LeaseKeeper, wire: Wire, renews: Callable[[LeaseKeeper], object]
) -> None:
    """Sent before, it could arrive first: then the message would be held for a whole lease with nobody at work.

    An extension is on the wire in a turn, and when a message arrives again whose worker is just about to defer it.
    """
    leases.hold([delivery("1")])
    wire.called.acquire()
    wire.go_on.clear()
    with ThreadPoolExecutor(2) as pool:
        renewal = pool.submit(renews, leases)
        assert wire.called.acquire(timeout=SOON)
        deferral = pool.submit(leases.defer, [delivery("1")], 0)
        assert not wire.called.acquire(timeout=0.2), "sent while the extension was on the wire"
        wire.go_on.set()
        renewal.result(SOON)
        deferral.result(SOON)
    assert wire.ended[1:] == [("live", ("ack 1",), 60), ("live", ("ack 1",), 0)]
    assert leases.held() == []


# What both keepers have in common


def test_whatever_a_turn_raises_the_next_one_comes(leases: LeaseKeeper, wire: Wire) -> None:
    leases.hold(many(1))
    wire.raising = [RuntimeError("a defect of ours"), MemoryError(), KeyError("gone"), None]
    assert len(take_turns(leases, 4)) == 5
    assert len(wire.ended) == 2, "one as it arrived, one in the last turn"


def test_the_thread_of_a_keeper_lives_on_after_an_exception_and_ends_with_its_block(
    wire: Wire, metrics: Metrics
) -> None:
    keeper = LeaseKeeper(wire, 1, metrics)
    keeper._every_seconds = 0.01
    wire.raising = [None, RuntimeError("a defect of ours")]
    with keeper:
        keeper.hold(many(1))
        for _ in range(4):
            assert wire.called.acquire(timeout=SOON)
        assert keeper.alive()
    keeper._thread.join(SOON)
    assert not keeper.alive()


def test_a_keeper_may_be_stopped_twice(leases: LeaseKeeper) -> None:
    with leases:
        leases.__exit__()
    assert not leases.alive()


def test_a_keeper_has_ended_when_its_block_has(leases: LeaseKeeper) -> None:
    with leases:
        assert leases._thread.is_alive()
    assert not leases._thread.is_alive()


def test_a_keeper_that_never_started_is_not_alive(leases: LeaseKeeper) -> None:
    assert not leases.alive()


def test_three_missed_turns_are_a_death(leases: LeaseKeeper, clock: Clock) -> None:
    with leases:
        clock.now += 10 + 3 * 20 - 0.1
        assert leases.alive()
        clock.now += 0.1
        assert not leases.alive()


def test_turns_that_fail_are_turns(leases: LeaseKeeper, wire: Wire, clock: Clock) -> None:
    """Pub/Sub away for hours must not restart the pod: the neighbour's outage is no death of ours."""
    leases.hold(many(1))
    with leases:
        clock.now += 1000
        wire.raising = [NeighbourDown("pubsub", "unavailable", "away")]
        take_turns(leases, 1)
        assert leases.alive()
        assert leases.staleness_seconds() == 1000


# Claims


def test_claims_are_looked_at_three_times_a_third_so_that_a_failure_is_repeated_soon(claims: ClaimKeeper) -> None:
    assert take_turns(claims, 2) == [10.0] * 3


def test_a_claim_is_renewed_at_a_third_of_its_length_and_not_before(
    claims: ClaimKeeper, book: Book, clock: Clock, metrics: Metrics
) -> None:
    claim = book.open()
    before = book.of(claim).renewed_at
    with claims.holding(claim, clock.now):
        clock.now += 29.9
        claims.turn()
        assert book.asked == []
        clock.now += 0.1
        claims.turn()
        assert book.of(claim).renewed_at > before
        claims.turn()
        assert len(book.asked) == 1
        clock.now += 30
        claims.turn()
    assert len(book.asked) == 2
    assert renewals(metrics, "claim") == {"ok": 2.0}


def test_a_claim_keeper_with_nothing_due_is_not_stale(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    clock.now += 500
    with claims.holding(book.open(), clock.now):
        claims.turn()
    assert claims.staleness_seconds() == 0


def test_progress_rides_along_with_a_renewal(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    claim = book.open()
    with claims.holding(claim, clock.now - 30) as held:
        held.progress = Progress(12.5, 60.0)
        claims.turn()
    assert book.of(claim).progress == Progress(12.5, 60.0)


def test_a_claim_is_held_while_its_block_runs_however_that_ends(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    block = claims.holding(book.open(), clock.now)
    held = block.__enter__()
    assert claims.held() == [held]
    assert not block.__exit__(KeyError, KeyError(), None)
    assert claims.held() == []


def test_a_claim_given_up_before_its_turn_in_the_pool_is_not_renewed(
    claims: ClaimKeeper, book: Book, clock: Clock
) -> None:
    with claims.holding(book.open(), clock.now) as held:
        pass
    claims._renew_quietly(held)
    assert book.asked == []


def test_a_claim_that_we_ended_ourselves_is_not_told_as_lost(
    claims: ClaimKeeper, book: Book, clock: Clock, metrics: Metrics
) -> None:
    claim = book.open()
    with claims.holding(claim, clock.now - 30) as held:
        book.records[claim.job.id] = replace(book.of(claim), state=State.DONE)
        claims.turn()
        with pytest.raises(ClaimLost):
            held.ensure()
    assert renewals(metrics, "claim") == {}


def test_a_renewal_that_comes_back_late_does_not_undo_a_release(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    with claims.holding(book.open(), clock.now - 30) as held:
        book.obstacle = lambda: setattr(held, "lost", True)
        claims.turn()
        assert held.lost


def test_the_claims_staleness_is_that_of_the_one_that_waits_longest(
    claims: ClaimKeeper, book: Book, clock: Clock
) -> None:
    """The newest success would hide one claim that fails among many that do not."""
    with claims.holding(book.open("a"), clock.now - 25), claims.holding(book.open("b"), clock.now - 30):
        claims.turn()
        assert claims.staleness_seconds() == 25


def test_a_lost_claim_is_told_and_not_asked_for_again(
    claims: ClaimKeeper, book: Book, clock: Clock, metrics: Metrics
) -> None:
    claim = book.open()
    with claims.holding(claim, clock.now - 30) as held:
        held.ensure()
        book.take_over(claim)
        claims.turn()
        assert held.lost
        with pytest.raises(ClaimLost):
            held.ensure()
        claims.turn()
    assert len(book.asked) == 1
    assert renewals(metrics, "claim") == {"lost": 1.0}
    assert book.of(claim).nonce == "another's"


def test_an_expired_claim_that_nobody_took_is_renewed(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    claim = book.open()
    book.records[claim.job.id] = replace(book.of(claim), renewed_at=datetime.now(UTC) - timedelta(hours=1))
    with claims.holding(claim, clock.now - 3600) as held:
        claims.turn()
        assert not held.lost
        assert held.renewed_at == clock.now


@pytest.mark.parametrize(
    "error", [DOWN, RuntimeError("a defect of ours"), MemoryError()], ids=lambda e: type(e).__name__
)
def test_a_renewal_that_fails_is_repeated_at_the_next_turn(
    claims: ClaimKeeper, book: Book, clock: Clock, metrics: Metrics, error: Exception
) -> None:
    book.obstacle = raising(error)
    with claims.holding(book.open(), clock.now) as held:
        clock.now += 30
        claims.turn()
        clock.now += 10
        claims.turn()
        assert claims.staleness_seconds() == 40
        assert held.renewed_at == clock.now - 40
        book.obstacle = lambda: None
        claims.turn()
        assert held.renewed_at == clock.now
    assert claims.staleness_seconds() == 0
    assert renewals(metrics, "claim") == {"error": 2.0, "ok": 1.0}


def test_one_claim_that_fails_does_not_keep_the_others_from_their_renewal(
    claims: ClaimKeeper, book: Book, clock: Clock
) -> None:
    obstacles: Iterator[Exception | None] = iter([DOWN, None])

    def first_fails() -> None:
        if error := next(obstacles):
            raise error

    book.obstacle = first_fails
    with claims.holding(book.open("a"), clock.now - 31) as a, claims.holding(book.open("b"), clock.now - 30) as b:
        claims.turn()
    assert book.asked == ["a", "b"]
    assert (a.renewed_at, b.renewed_at) == (clock.now - 31, clock.now)


def test_the_claim_that_ends_first_is_renewed_first(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    with ExitStack() as held:
        for name, age in (("young", 31), ("old", 80), ("middle", 50), ("fresh", 29)):
            held.enter_context(claims.holding(book.open(name), clock.now - age))
        claims.turn()
    assert book.asked == ["old", "middle", "young"]


def test_a_claim_counts_from_before_its_renewal_was_sent(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    """The ledger may have written at once and answered late: our own count must never end after the ledger's."""

    def slow() -> None:
        clock.now += 50

    with claims.holding(book.open(), clock.now - 30) as held:
        book.obstacle = slow
        claims.turn()
        assert held.renewed_at == clock.now - 50
        assert claims.staleness_seconds() == 50
        clock.now += 40
        held.ensure()
        assert len(book.asked) == 2, "90 s after it was sent the ledger is asked, not 90 s after the answer"


def test_a_claim_counts_from_before_it_was_asked_for(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    with claims.holding(book.open(), asked_at=clock.now - 89.9) as held:
        held.ensure()
        assert book.asked == []
        clock.now += 0.1
        held.ensure()
        assert len(book.asked) == 1


def test_within_its_time_a_claim_is_ours_without_asking(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    book.obstacle = raising(DOWN)
    with claims.holding(book.open(), clock.now) as held:
        clock.now += 89.9
        held.ensure()
    assert book.asked == []


def test_past_its_end_a_claim_that_was_taken_over_is_lost(claims: ClaimKeeper, book: Book, clock: Clock) -> None:
    claim = book.open()
    with claims.holding(claim, clock.now - 90) as held:
        book.take_over(claim)
        with pytest.raises(ClaimLost):
            held.ensure()
        assert held.lost


def test_past_its_end_a_ledger_that_is_away_leaves_the_question_open(
    claims: ClaimKeeper, book: Book, clock: Clock
) -> None:
    with claims.holding(book.open(), clock.now - 90) as held:
        book.obstacle = raising(DOWN)
        with pytest.raises(NeighbourDown):
            held.ensure()
        assert not held.lost
        book.obstacle = lambda: None
        held.ensure()


def test_a_slow_ledger_delays_no_turn_and_renews_each_of_many_claims_once(metrics: Metrics, book: Book) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> None:
        entered.release()
        assert go_on.wait(SOON)

    book.obstacle = slow
    keeper = ClaimKeeper(book, 90.0, metrics)
    with ExitStack() as held:
        for n in range(64):
            held.enter_context(keeper.holding(book.open(str(n)), asked_at=0.0))
        keeper.turn()
        for _ in range(CLAIM_THREADS):
            assert entered.acquire(timeout=SOON)
        keeper.turn()
        assert len(book.asked) == CLAIM_THREADS, "no more at one time"
        go_on.set()
        for _ in range(64):
            assert book.written.acquire(timeout=SOON)
        assert Counter(book.asked) == {str(n): 1 for n in range(64)}
    keeper._pool.shutdown()
    assert renewals(metrics, "claim") == {"ok": 64.0}


def test_renewals_that_wait_when_the_keeper_stops_are_given_up(metrics: Metrics, book: Book) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> None:
        entered.release()
        assert go_on.wait(SOON)

    book.obstacle = slow
    with ExitStack() as held:
        with ClaimKeeper(book, 90.0, metrics) as keeper:
            for n in range(64):
                held.enter_context(keeper.holding(book.open(str(n)), asked_at=0.0))
            keeper.turn()
            assert entered.acquire(timeout=SOON)
        go_on.set()
        keeper._pool.shutdown(wait=True)
        assert len(book.asked) <= CLAIM_THREADS
        take_turns(keeper, 1)


def test_the_thread_of_the_claim_keeper_renews_without_being_asked(metrics: Metrics, book: Book) -> None:
    with ClaimKeeper(book, 0.09, metrics) as keeper, keeper.holding(book.open(), asked_at=0.0) as held:
        for _ in range(3):
            assert book.written.acquire(timeout=SOON)
        assert held.renewed_at > 0
        assert keeper.alive()


def test_a_held_claim_asks_whoever_renews_it() -> None:
    asked: list[HeldClaim] = []
    held = HeldClaim(CLAIM, -1e9, asked.append)
    held.ensure()
    assert asked == [held]


def raising(error: Exception) -> Callable[[], Any]:
    def obstacle() -> None:
        raise error

    return obstacle
