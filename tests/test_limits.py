"""Whatever is thrown at one process: it takes what it has room for, reads what it needs, and asks once."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from subscriber.adapters.sqlite import SqliteLedger
from subscriber.app import Adapters, Daemon
from subscriber.audio.pool import DecoderPool
from subscriber.audio.wire import LONGEST_FRAME_BYTES
from subscriber.compose import local_settings
from subscriber.errors import Permanent
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Job, Message, State
from subscriber.signals import Signals
from subscriber.verdict import Decide
from tests.claims import BY_OWNER, claim
from tests.crash.lives import Stage, spoken
from tests.daemon import until

BACKLOG, PLACES = 2_000, 4
DUPLICATES = 1_000
FIVE_GB = 5 * 10**9


class Backlog:
    """A subscription with more messages than anybody has room for; it notes how many were asked for."""

    def __init__(self) -> None:
        self._waiting: Iterator[int] = iter(range(BACKLOG))
        self.asked: list[int] = []

    def pull(self, free: int) -> Sequence[Delivery]:
        self.asked.append(free)
        messages = [Message(str(n), {}, b"", datetime.now(UTC)) for n in islice(self._waiting, free)]
        return [Delivery(message, "live", f"ack of {message.id}") for message in messages]

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None: ...

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None: ...

    def finished(self) -> bool:
        return False


class Jobs:
    """A pipeline that notes how many deliveries were in its process at one time."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()
        self.handled, self.most = 0, 0

    def handle(self, delivery: Delivery) -> None:
        with self._lock:
            self.most = max(self.most, len(self._daemon.leases.held()))
            self.handled += 1
        self._daemon.leases.take([delivery])


def test_of_any_backlog_only_what_there_are_places_for_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, stage = Backlog(), Stage(tmp_path, lambda _: spoken())
    adapters = Adapters(source, stage.ledger, stage.objects, stage.provider, None, {})
    settings = local_settings({"SUBSCRIBER_MAX_JOBS": str(PLACES)}, "http://provider/v1")
    daemon = Daemon(settings, adapters, Metrics(settings.model), Signals())
    jobs = Jobs(daemon)
    monkeypatch.setattr(daemon.worker, "_pipeline", jobs)
    daemon.worker.start()
    until(lambda: jobs.handled == BACKLOG, "all of it is done")
    daemon.drain.begin()
    assert 1 <= max(source.asked) <= PLACES
    assert jobs.most <= PLACES


class CountingLedger:
    """The ledger, and how many transactions it was asked for."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self.transactions = 0

    def transact(self, job: Job, decide: Decide[object]) -> object:
        self.transactions += 1
        return self._ledger.transact(job, decide)


class Counter(Backlog):
    """Notes how many were acked, request by request."""

    acked: list[int]

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:  # noqa: ARG002 - the port's
        self.acked.append(len(ack_ids))


def test_a_thousand_duplicates_of_a_job_that_another_has_cost_two_transactions(tmp_path: Path) -> None:
    """One when the first comes, and one when it is worth looking again; in between nobody asks."""
    stage = Stage(tmp_path, lambda _: spoken())
    ledger, source = CountingLedger(stage.ledger), Counter()
    source.acked = []
    adapters = Adapters(source, ledger, stage.objects, stage.provider, None, {})  # type: ignore[arg-type]
    daemon = Daemon(stage.settings, adapters, Metrics(stage.settings.model), Signals())
    assert stage.settings.max_parked == DUPLICATES
    theirs = claim(stage.ledger, stage.job)
    first = stage._delivery("first")
    for n in range(DUPLICATES):
        copy = replace(first, message=replace(first.message, id=str(n)), ack_id=f"ack {n}")
        (new,) = daemon.leases.hold([copy])
        daemon.worker._pipeline.handle(new)
    assert (ledger.transactions, daemon.registry.waiting()) == (1, DUPLICATES)
    stage.ledger.transact(stage.job, BY_OWNER["complete"](theirs))
    (parked,) = daemon.registry._entries.values()
    parked.wake_at = 0.0  # the time has come
    woken = daemon.registry.wake()
    assert woken
    daemon.worker._pipeline.work(*woken)
    daemon.acks.flush()
    assert ledger.transactions == 2
    assert source.acked == [DUPLICATES]
    assert daemon.registry.waiting() == 0
    record = stage.ledger.read(stage.job)
    assert record
    assert (record.state, record.epoch, stage.provider.requests) == (State.DONE, theirs.epoch, 0)


class Enormous:
    """An RF64 file of five gigabytes of silence, which nobody holds; it notes what is read."""

    size = FIVE_GB

    def __init__(self, rate: int, channels: int) -> None:
        frame = channels * 2
        sound = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16)
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, FIVE_GB - 8, FIVE_GB - 80, (FIVE_GB - 80) // frame, 0)
        self._head = b"RF64\xff\xff\xff\xffWAVE" + sizes + sound + b"data\xff\xff\xff\xff"
        self.read_bytes, self.longest = 0, 0

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self.size - offset)
        self.read_bytes += size
        self.longest = max(self.longest, size)
        return self._head[offset : offset + size].ljust(size, b"\0")


def test_of_five_gigabytes_no_more_is_read_than_was_asked_for() -> None:
    source = Enormous(rate=96_000, channels=2)
    with DecoderPool() as decoders, decoders.open(source) as decoding:
        assert decoding.facts.declared_seconds == pytest.approx(FIVE_GB / 384_000, rel=0.01)
        heard = 0
        for piece in decoding:
            heard += len(piece)
            if heard >= 60 * 32_000:
                break
    assert source.longest <= LONGEST_FRAME_BYTES
    assert source.read_bytes < 2 * 60 * 384_000, "a minute, and what a decoder may be ahead"


def test_five_gigabytes_that_are_too_long_are_refused_by_their_head() -> None:
    source = Enormous(rate=8_000, channels=1)
    with DecoderPool() as decoders, pytest.raises(Permanent) as refused, decoders.open(source):
        pass
    assert refused.value.reason == "too_long"
    assert source.read_bytes < 10 * 2**20
