"""An outage costs time and nothing else; a call that fails while its neighbour is well is its job's own failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from subscriber import outage as module
from subscriber.app import Adapters, Daemon
from subscriber.decisions import Decide
from subscriber.drain import Drain
from subscriber.errors import (
    NEIGHBOURS,
    ConfigError,
    Gone,
    Interrupted,
    NeighbourDown,
    Permanent,
    RateLimited,
    Transient,
)
from subscriber.metrics import Metrics
from subscriber.model import Job, State
from subscriber.outage import LET_GO_SECONDS, OWN_FAILURES, Outages
from subscriber.ports import Ledger
from subscriber.signals import Signals
from subscriber.transcript import Answer
from tests.claims import claims_of
from tests.crash.lives import Stage, lend_decoders, spoken

T = TypeVar("T")

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Neighbour:
    """Answers calls and probes, or refuses them with `trouble`; `ill` refuses only calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trouble: Exception | None = None
        self.ill = 0
        self.calls = self.probes = 0

    def probe(self) -> None:
        self.probes += 1
        if self.trouble:
            raise self.trouble

    def call(self) -> str:
        self.calls += 1
        if self.trouble:
            raise self.trouble
        if self.ill:
            self.ill -= 1
            raise NeighbourDown(self.name, "unavailable", "a 500")
        return f"{self.name} answers"

    def fall(self, reason: str = "unavailable") -> None:
        self.trouble = NeighbourDown(self.name, reason, "nobody there")


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


class Street:
    """All neighbours, their outages, and what tells of them."""

    def __init__(self) -> None:
        self.whisper, self.gcs = Neighbour("whisper"), Neighbour("gcs")
        self.firestore, self.pubsub = Neighbour("firestore"), Neighbour("pubsub")
        self.all = (self.whisper, self.gcs, self.firestore, self.pubsub)
        self.drain = Drain(60.0)
        self.metrics = Metrics()
        self.outages = Outages({one.name: one.probe for one in self.all}, self.drain, self.metrics)
        self.changed = Watched()
        self.drain.wakes(self.changed)
        self.outages._changed = self.changed

    def ride(self, neighbour: Neighbour) -> str:
        return self.outages.ride(neighbour.name, neighbour.call)

    def gauge(self, reason: str = "unavailable") -> float | None:
        return self.metrics.registry.get_sample_value("subscriber_provider_paused", {"reason": reason})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture
def street(clock: Clock, pool: ThreadPoolExecutor) -> Iterator[Street]:  # noqa: ARG001 - the clock is set before
    """A street whose end lets everybody go who still waits, so that a test may fail and not hang."""
    made = Street()
    yield made
    made.drain.begin()


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with capture_logs() as captured:
        yield captured


def test_a_call_that_succeeds_is_made_once_and_nobody_is_probed(street: Street) -> None:
    assert street.ride(street.whisper) == "whisper answers"
    assert (street.whisper.calls, street.whisper.probes) == (1, 0)
    assert street.outages.paused == {}


def test_a_failure_while_the_probe_passes_is_no_outage(street: Street, lines: list[EventDict]) -> None:
    street.whisper.ill = OWN_FAILURES - 1
    assert street.ride(street.whisper) == "whisper answers"
    assert (street.whisper.calls, street.whisper.probes) == (OWN_FAILURES, OWN_FAILURES - 1)
    assert street.outages.paused == {}
    assert street.gauge() == 0
    assert lines == []


def test_the_jobs_clock_stands_still_while_anybody_is_down(street: Street, clock: Clock) -> None:
    began = street.outages.clock()
    clock.now += 5
    for neighbour in (street.whisper, street.gcs):
        neighbour.fall()
        street.outages.suspect(neighbour.trouble)  # type: ignore[arg-type] # it has some
        clock.now += 100
    assert street.outages.clock() == began + 5
    for neighbour in (street.whisper, street.gcs):
        neighbour.trouble = None
        street.outages.probe()
        assert street.outages.clock() == began + 5
        clock.now += 7 if neighbour is street.gcs else 100
    assert street.outages.clock() == began + 12


@pytest.mark.parametrize(
    ("name", "reason"),
    [("whisper", "provider_error"), ("gcs", "storage_error"), ("firestore", "ledger_error"), ("pubsub", "unexpected")],
)
def test_a_call_that_keeps_failing_while_its_neighbour_is_well_is_its_jobs_own_failure(
    street: Street, name: str, reason: str
) -> None:
    neighbour: Neighbour = getattr(street, name)
    neighbour.ill = 100
    with pytest.raises(Transient, match=f"{name} is well, but not for this: a 500") as failed:
        street.ride(neighbour)
    assert failed.value.reason == reason
    assert neighbour.calls == OWN_FAILURES
    assert street.outages.paused == {}


@pytest.mark.parametrize(
    "error",
    [Permanent("too_long", "x"), Transient("no_answer", "x"), RateLimited(3, "x"), Gone("x"), RuntimeError("x")],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_is_passed_on_at_once(street: Street, error: Exception) -> None:
    street.whisper.trouble = error
    with pytest.raises(type(error)) as raised:
        street.ride(street.whisper)
    assert raised.value is error
    assert (street.whisper.calls, street.whisper.probes) == (1, 0)


def test_an_outage_pauses_all_callers_until_the_probe_passes(
    street: Street, pool: ThreadPoolExecutor, lines: list[EventDict], clock: Clock
) -> None:
    """One line as it begins, one as it ends, however many callers meet it; nothing is asked for meanwhile."""
    street.whisper.fall()
    riders = [pool.submit(street.ride, street.whisper) for _ in range(5)]
    for _ in riders:
        assert street.changed.waiting.acquire(timeout=SOON)
    calls = street.whisper.calls
    assert street.whisper.probes == 1
    assert street.outages.paused == {"whisper": "unavailable: nobody there"}
    assert street.gauge() == 1
    clock.now += 42.04
    street.outages.probe()
    assert street.outages.paused
    assert street.whisper.calls == calls, "nothing is spent in a pause"
    street.whisper.trouble = None
    street.outages.probe()
    assert [rider.result(SOON) for rider in riders] == ["whisper answers"] * 5
    assert street.outages.paused == {}
    assert street.gauge() == 0
    assert lines == [
        {
            "event": "paused",
            "log_level": "error",
            "neighbour": "whisper",
            "reason": "unavailable",
            "error": "nobody there",
        },
        {"event": "resumed", "log_level": "info", "neighbour": "whisper", "paused_seconds": 42.0},
    ]


def test_a_caller_in_a_pause_waits_before_it_asks(street: Street, pool: ThreadPoolExecutor) -> None:
    street.outages.pause(NeighbourDown("gcs", "forbidden", "no right"))
    rider = pool.submit(street.ride, street.gcs)
    assert street.changed.waiting.acquire(timeout=SOON)
    assert street.gcs.calls == 0
    street.outages.probe()
    assert rider.result(SOON) == "gcs answers"


def test_one_neighbours_outage_is_no_others(street: Street) -> None:
    street.outages.pause(NeighbourDown("whisper", "billing", "no money"))
    assert street.ride(street.gcs) == "gcs answers"
    assert street.ride(street.firestore) == "firestore answers"


def test_only_those_that_are_down_are_probed(street: Street) -> None:
    street.outages.probe()
    assert [one.probes for one in street.all] == [0, 0, 0, 0]
    street.outages.pause(NeighbourDown("gcs", "unavailable", "away"))
    street.outages.probe()
    assert [one.probes for one in street.all] == [0, 1, 0, 0]


def test_two_neighbours_down_at_once_come_back_one_by_one(street: Street, lines: list[EventDict]) -> None:
    """The metric knows reasons, not neighbours: it falls with the last one."""
    for neighbour in (street.whisper, street.gcs):
        neighbour.fall()
        street.outages.suspect(NeighbourDown(neighbour.name, "unavailable", "a 500"))
    street.whisper.trouble = None
    street.outages.probe()
    assert list(street.outages.paused) == ["gcs"]
    assert street.gauge() == 1
    street.gcs.trouble = None
    street.outages.probe()
    assert street.gauge() == 0
    told = [(line["event"], line["neighbour"]) for line in lines]
    assert told == [("paused", "whisper"), ("paused", "gcs"), ("resumed", "whisper"), ("resumed", "gcs")]


def test_two_reasons_at_once_are_two_gauges(street: Street) -> None:
    street.outages.pause(NeighbourDown("whisper", "billing", "no money"))
    street.outages.pause(NeighbourDown("gcs", "forbidden", "no right"))
    street.gcs.fall("forbidden")
    street.outages.probe()
    assert (street.gauge("billing"), street.gauge("forbidden"), street.gauge()) == (0, 1, 0)


def test_the_pause_says_what_the_probe_found_not_what_the_call_met(street: Street) -> None:
    street.whisper.fall("billing")
    street.outages.suspect(NeighbourDown("whisper", "unavailable", "a 500"))
    assert street.outages.paused == {"whisper": "billing: nobody there"}
    assert (street.gauge("billing"), street.gauge("unavailable")) == (1, 0)


def test_a_second_pause_of_the_same_neighbour_changes_nothing(
    street: Street, lines: list[EventDict], clock: Clock
) -> None:
    street.outages.pause(NeighbourDown("whisper", "billing", "no money"))
    clock.now += 60
    street.outages.pause(NeighbourDown("whisper", "forbidden", "no right"))
    street.outages.suspect(NeighbourDown("whisper", "unavailable", "a 500"))
    assert street.outages.paused == {"whisper": "billing: no money"}
    assert street.whisper.probes == 0
    street.outages.probe()
    assert [line.get("paused_seconds") for line in lines] == [None, 60.0]


def test_a_neighbour_may_go_and_come_any_number_of_times(street: Street, pool: ThreadPoolExecutor) -> None:
    for _ in range(5):
        street.whisper.fall()
        rider = pool.submit(street.ride, street.whisper)
        assert street.changed.waiting.acquire(timeout=SOON)
        street.whisper.trouble = None
        street.outages.probe()
        assert rider.result(SOON) == "whisper answers"
    assert street.gauge() == 0


def test_a_call_that_fails_again_after_the_pause_is_waited_for_again(street: Street, pool: ThreadPoolExecutor) -> None:
    street.whisper.fall()
    rider = pool.submit(street.ride, street.whisper)
    assert street.changed.waiting.acquire(timeout=SOON)
    street.whisper.trouble, street.whisper.ill = None, 1
    street.outages.probe()
    assert rider.result(SOON) == "whisper answers"
    assert street.whisper.calls == 3


@pytest.mark.parametrize("when", ["before the call", "after it"])
def test_a_drain_interrupts_those_who_wait_at_once(street: Street, pool: ThreadPoolExecutor, when: str) -> None:
    street.whisper.fall()
    if when == "before the call":
        street.outages.pause(NeighbourDown("whisper", "unavailable", "away"))
    riders = [pool.submit(street.ride, street.whisper) for _ in range(3)]
    for _ in riders:
        assert street.changed.waiting.acquire(timeout=SOON)
    street.drain.begin()
    for rider in riders:
        with pytest.raises(Interrupted, match="whisper is down"):
            rider.result(SOON)


def test_in_a_drain_nobody_begins_to_wait_and_work_that_can_be_done_is(street: Street) -> None:
    street.outages.pause(NeighbourDown("whisper", "unavailable", "away"))
    street.drain.begin()
    with pytest.raises(Interrupted):
        street.ride(street.whisper)
    assert street.ride(street.gcs) == "gcs answers"
    assert street.whisper.calls == 0


def test_after_fifteen_minutes_a_job_lets_go_free_of_charge(
    street: Street, pool: ThreadPoolExecutor, clock: Clock
) -> None:
    street.whisper.fall()
    patient = pool.submit(street.ride, street.whisper)
    assert street.changed.waiting.acquire(timeout=SOON)
    assert street.changed.patience == [LET_GO_SECONDS] == [900.0]
    clock.now += 899.9
    late = pool.submit(street.ride, street.whisper)
    assert street.changed.waiting.acquire(timeout=SOON)
    assert street.changed.patience[1] == pytest.approx(0.1), "counted from the pause, not from the call"
    clock.now += 0.1
    with street.changed:
        street.changed.notify_all()
    for rider in (patient, late):
        with pytest.raises(Interrupted):
            rider.result(SOON)
    with pytest.raises(Interrupted):
        street.ride(street.whisper)
    assert street.outages.paused, "the pause itself goes on"


@pytest.mark.parametrize("trouble", [ConfigError("OUTPUT", "no such bucket", "make it")], ids=["ConfigError"])
def test_what_is_misconfigured_while_we_run_is_a_pause(street: Street, trouble: Exception) -> None:
    """A bucket deleted under us must not end the pod, and a thousand files must not end dead for it."""
    street.gcs.trouble = trouble
    street.outages.suspect(NeighbourDown("gcs", "unavailable", "a 404"))
    assert street.outages.paused == {"gcs": f"forbidden: {trouble}"}
    street.outages.probe()
    assert street.outages.paused
    street.gcs.trouble = None
    street.outages.probe()
    assert street.outages.paused == {}


def test_an_error_with_a_probe_of_its_own_lasts_as_long_as_that_one_fails(street: Street) -> None:
    other_bucket = Neighbour("gcs")
    other_bucket.fall("forbidden")
    refused = NeighbourDown("gcs", "forbidden", "not on this bucket", probe=other_bucket.probe)
    street.outages.pause(refused)
    street.outages.probe()
    assert street.outages.paused
    other_bucket.trouble = None
    street.outages.probe()
    assert street.outages.paused == {}
    assert street.gcs.probes == 0


def test_a_call_that_meets_another_neighbours_outage_waits_for_that_one(
    street: Street, pool: ThreadPoolExecutor
) -> None:
    """A job whose claim has ended asks the ledger before it pays: the ledger's outage is not the provider's refusal."""
    street.firestore.fall()
    calls: list[str] = []

    def ask_and_pay() -> str:
        street.firestore.call()
        calls.append("paid")
        return street.whisper.call()

    rider = pool.submit(street.outages.ride, "whisper", ask_and_pay)
    assert street.changed.waiting.acquire(timeout=SOON)
    assert list(street.outages.paused) == ["firestore"]
    street.firestore.trouble = None
    street.outages.probe()
    assert rider.result(SOON) == "whisper answers"
    assert calls == ["paid"]
    assert street.whisper.probes == 0


def test_a_call_that_met_another_neighbours_outage_still_waits_for_its_own(
    street: Street, pool: ThreadPoolExecutor
) -> None:
    street.firestore.fall()
    calls: list[str] = []

    def ask_and_pay() -> str:
        calls.append("asked")
        street.firestore.call()
        return street.whisper.call()

    rider = pool.submit(street.outages.ride, "whisper", ask_and_pay)
    assert street.changed.waiting.acquire(timeout=SOON)
    street.whisper.fall()
    street.outages.pause(NeighbourDown("whisper", "unavailable", "away"))
    street.firestore.trouble = None
    street.outages.probe()
    assert street.changed.waiting.acquire(timeout=SOON)
    assert calls == ["asked"]
    street.whisper.trouble = None
    street.outages.probe()
    assert rider.result(SOON) == "whisper answers"


def test_a_call_that_another_neighbour_keeps_failing_is_told_by_that_ones_name(street: Street) -> None:
    street.firestore.ill = 100
    with pytest.raises(Transient, match="firestore is well") as failed:
        street.outages.ride("whisper", street.firestore.call)
    assert failed.value.reason == "ledger_error"


def test_callers_that_fail_together_probe_one_after_the_other(street: Street, pool: ThreadPoolExecutor) -> None:
    """An outage that a hundred jobs meet at once must not become a hundred paid canaries."""
    at_once, most = 0, 0
    asked, go_on = threading.Semaphore(0), threading.Event()

    def slow_probe() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        asked.release()
        assert go_on.wait(SOON)
        at_once -= 1
        raise NeighbourDown("whisper", "unavailable", "nobody there")

    street.outages = Outages({"whisper": slow_probe}, street.drain, street.metrics)
    suspects = [pool.submit(street.outages.suspect, NeighbourDown("whisper", "unavailable", "a 500")) for _ in range(6)]
    assert asked.acquire(timeout=SOON)
    go_on.set()
    for suspect in suspects:
        suspect.result(SOON)
    assert most == 1
    assert not asked.acquire(blocking=False), "the first answer is everybody's"


class AwayLedger:
    """The real ledger of a stage, behind a neighbour that may go away."""

    def __init__(self, ledger: Ledger, neighbour: Neighbour) -> None:
        self._ledger = ledger
        self._neighbour = neighbour

    def transact(self, job: Job, decide: Decide[T]) -> T:
        self._neighbour.call()
        return self._ledger.transact(job, decide)


@pytest.mark.parametrize("when", ["before the provider is asked", "while the provider answers"])
def test_a_ledger_that_stays_away_beyond_the_claims_end_costs_neither_money_nor_an_attempt(
    tmp_path: Path,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    when: str,
) -> None:
    """Past its claim's end a job asks the ledger before it goes on; an answer that is paid is kept until then."""
    firestore, changed = Neighbour("firestore"), Watched()

    def away_beyond_the_end(number: int = 0) -> Answer:  # noqa: ARG001 - the number of a request
        if when == "while the provider answers":
            go_away()
        return spoken()

    def go_away() -> None:
        (held,) = daemon.claims.held()
        held.renewed_at -= 3600
        firestore.fall()

    stage = Stage(tmp_path, away_beyond_the_end)
    checks = {one: firestore.probe if one == "firestore" else lambda: None for one in NEIGHBOURS}
    ledger, objects = AwayLedger(stage.ledger, firestore), stage.objects
    adapters = Adapters(stage.sink, ledger, objects, stage.provider, stage.listeners, checks)
    daemon = Daemon(stage.settings, adapters, Metrics(stage.settings.model), Signals())
    lend_decoders(daemon)
    daemon.outages._changed = changed
    daemon.drain.wakes(changed)
    request.addfinalizer(daemon.drain.begin)
    if when == "before the provider is asked":
        asker = daemon._speech._asker
        begin, moment = asker.begin, iter([go_away])
        monkeypatch.setattr(asker, "begin", lambda *asked: (next(moment, lambda: None)(), begin(*asked))[1])
    work = pool.submit(daemon.worker._pipeline.handle, stage._delivery("an ack id"))
    assert changed.waiting.acquire(timeout=SOON), work.result(0)
    assert list(daemon.outages.paused) == ["firestore"]
    firestore.trouble = None
    daemon.outages.probe()
    work.result(SOON)
    record = stage.record()
    assert record
    assert (record.state, record.attempts, claims_of(record)) == (State.DONE, 0, 1)
    assert stage.provider.requests == 1
    daemon.acks.flush()
    assert stage.sink.told == ["ack"]
