"""Who gets a place that is given back, while the pull loop waits for messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from subscriber.app import Adapters, Daemon
from subscriber.compose import local_settings
from subscriber.errors import NeighbourDown
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Job, Message
from subscriber.signals import Signals
from tests.crash.lives import Stage, spoken
from tests.daemon import PATIENCE_SECONDS, until

SOON = 30.0


class LongPoll:
    """A source that brings its deliveries at once, and then never answers a pull."""

    def __init__(self, *names: str) -> None:
        self._first = [Delivery(Message(name, {}, b"", datetime.now(UTC)), "live", f"ack of {name}") for name in names]
        self.polls, self.over = threading.Event(), threading.Event()

    def pull(self, free: int) -> Sequence[Delivery]:
        taken, self._first = self._first[:free], self._first[free:]
        if not taken:
            self.polls.set()
            self.over.wait(2 * PATIENCE_SECONDS)
        return taken

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None: ...

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None: ...

    def finished(self) -> bool:
        return False


class Jobs:
    """A pipeline of large jobs, each as long as the test wants."""

    def __init__(self, daemon: Daemon) -> None:
        self._registry = daemon.registry
        self.begun: list[str] = []
        self.end = threading.Semaphore(0)

    def handle(self, delivery: Delivery) -> None:
        job = Job("in", delivery.message.id, 1, "gs://out")
        if self._registry.join(job, delivery, large=True) == "lead":
            self.work(job, delivery)

    def work(self, job: Job, delivery: Delivery) -> None:  # noqa: ARG002 - as the pipeline's
        self.begun.append(job.name)
        assert self.end.acquire(timeout=SOON)
        self._registry.finish(job)


@pytest.fixture
def source() -> Iterator[LongPoll]:
    made = LongPoll("a", "b")
    yield made
    made.over.set()


@pytest.fixture
def daemon(tmp_path: Path, source: LongPoll) -> Daemon:
    """Of two places, one of them for large jobs; the first large job has it, and the second waits."""
    stage = Stage(tmp_path, lambda _: spoken())
    adapters = Adapters(source, stage.ledger, stage.objects, stage.provider, None, {})
    settings = local_settings({"SUBSCRIBER_MAX_JOBS": "2"}, "http://provider/v1")
    return Daemon(settings, adapters, Metrics(settings.model), Signals())


@pytest.fixture
def jobs(daemon: Daemon, source: LongPoll, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    made = Jobs(daemon)
    monkeypatch.setattr(daemon.worker, "_pipeline", made)
    daemon.worker.start()
    assert source.polls.wait(SOON)
    until(lambda: (len(made.begun), daemon.registry.waiting()) == (1, 1), "one is in work, and one waits")
    yield made
    for _ in range(2):
        made.end.release()
    daemon.drain.begin()


def test_a_large_job_that_waits_goes_on_as_soon_as_the_one_before_it_ends(daemon: Daemon, jobs: Jobs) -> None:
    """The thread that gives the place back takes it: the pull may last some seconds more."""
    jobs.end.release()
    until(lambda: len(jobs.begun) == 2, "the second one is begun")
    assert sorted(jobs.begun) == ["a", "b"]
    assert daemon.registry.waiting() == 0
    jobs.end.release()
    until(lambda: not daemon.worker._in_work, "both are done")


@pytest.mark.parametrize("trouble", ["a drain", "an outage"])
def test_but_not_in(daemon: Daemon, jobs: Jobs, trouble: str) -> None:
    if trouble == "a drain":
        daemon.drain.begin()
    else:
        daemon.outages.pause(NeighbourDown("whisper", "unavailable", "503"))
    jobs.end.release()
    until(lambda: not daemon.worker._in_work, "the first one is done")
    assert (len(jobs.begun), daemon.registry.waiting()) == (1, 1)
