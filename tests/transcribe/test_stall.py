"""A job that does not get on has failed; but only its own time counts, and never its length."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from subscriber.audio.cut import cut
from subscriber.audio.pool import DecoderPool
from subscriber.errors import Permanent, RateLimited, Transient
from subscriber.transcribe import recording as module
from subscriber.transcribe.pool import Lane
from subscriber.transcribe.stall import StallClock
from subscriber.transcript import Answer, Chunk, Hints, SpeechRequest
from tests.daemon import until
from tests.test_speech import Recording, made, wav
from tests.transcribe.scene import (
    CHUNK_SECONDS,
    OPTIONS,
    SOON,
    OnTheWire,
    Process,
    Provider,
    answer,
    claim,
    silence,
    speech,
)

LIMIT = 900.0
HOUR = 3600.0


class Clock:
    """Seconds that pass when a test says so; it knows who looks at it."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._looks = 0
        self._looked = threading.Condition()

    def __call__(self) -> float:
        with self._looked:
            self._looks += 1
            self._looked.notify_all()
            return self._now

    def turn(self, seconds: float) -> None:
        """Let time pass between two looks of somebody who waits, and see him look again."""
        self._seen()
        self._now += seconds
        self._seen()

    def _seen(self) -> None:
        with self._looked:
            before = self._looks
            assert self._looked.wait_for(lambda: self._looks > before + 3, SOON)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """Threads for jobs that look often when they wait."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.001)
    with ThreadPoolExecutor(2) as pool:
        yield pool


def run(process: Process, lane: Lane, pcm: bytes, clock: Clock) -> list[Chunk]:
    recording = process.recording(lane, stall=StallClock(LIMIT, clock))
    return recording.run(cut([pcm], CHUNK_SECONDS), lambda: None)


class TestClock:
    def test_the_jobs_own_time_adds_up_and_no_other(self) -> None:
        now = iter([0.0, 300.0, 9000.0, 9300.0, 20_000.0, 20_300.0, 20_301.0])
        stall = StallClock(LIMIT, lambda: next(now))
        for _ in range(2):
            stall.charge()
            stall.forgive()
        stall.charge()
        with pytest.raises(Transient) as failure:
            stall.charge()
        assert failure.value.reason == "stalled"

    def test_it_begins_anew_whenever_something_got_done(self) -> None:
        now = iter(range(0, 1_000_000, 400))
        stall = StallClock(LIMIT, lambda: next(now))
        for _ in range(100):
            stall.charge()
            stall.charge()
            stall.restart()


class TestWaiting:
    def test_a_request_of_its_own_that_does_not_end_is_a_stall(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire()
        process = Process(tmp_path, provider)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            assert wire.came.acquire(timeout=SOON)
            clock.turn(LIMIT - 1)
            assert not job.done()
            clock._now += 2
            with pytest.raises(Transient) as failure:
                job.result(SOON)
            wire.answer.set()
        assert failure.value.reason == "stalled"

    def test_behind_the_slots_of_others_it_is_none(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire()
        process = Process(tmp_path, provider, slots=1)
        other = jobs.submit(process.run, speech(9, voice=2))
        assert wire.came.acquire(timeout=SOON)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            clock.turn(HOUR)
            wire.answer.set()
            assert len(job.result(SOON)) == len(other.result(SOON)) == 1

    def test_behind_the_gate_that_a_429_has_closed_it_is_none(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if len(provider.requests) == 1:
                raise RateLimited(HOUR, "slow down")
            return answer(request)

        provider.script = script
        process = Process(tmp_path, provider)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            until(lambda: process.pool._gate_opens_at > 0 and not lane.in_flight, "the gate is closed")
            clock.turn(HOUR)
            with process.pool._changed:
                process.pool._gate_opens_at = 0.0
                process.pool._changed.notify_all()
            assert len(job.result(SOON)) == 1

    def test_while_another_job_asks_for_the_same_chunk_it_is_none(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire()
        process = Process(tmp_path, provider)
        other = jobs.submit(process.run, speech(9))
        assert wire.came.acquire(timeout=SOON)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            clock.turn(HOUR)
            wire.answer.set()
            assert [one.source for one in job.result(SOON)] == ["cache"]
        other.result(SOON)

    def test_an_answer_that_is_no_verdict_yet_is_progress_and_so_is_each_half(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        """Three requests one after the other may take longer than one is given."""
        provider = Provider()
        wires = [OnTheWire(lambda request: answer(request, "")), OnTheWire(), OnTheWire()]
        asked = iter(wires)

        def script(request: SpeechRequest) -> Answer:
            return next(asked)(request)

        provider.script = script
        process = Process(tmp_path, provider, slots=1)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            for wire in wires:
                assert wire.came.acquire(timeout=SOON)
                clock.turn(0.45 * LIMIT)  # two of them are no stall yet: the job may still look at the one before
                wire.answer.set()
            assert len(job.result(SOON)) == 1

    def test_an_answer_to_any_chunk_is_progress_also_while_the_first_is_awaited(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        provider = Provider()
        turns = {number: threading.Event() for number in range(20)}

        def script(request: SpeechRequest) -> Answer:
            assert turns[int(request.filename[6:11])].wait(SOON)
            return answer(request)

        provider.script = script
        process = Process(tmp_path, provider, replace(OPTIONS, hints=Hints("de")), slots=8)
        stall = StallClock(LIMIT, clock)
        with process.pool.lane() as lane:
            recording = process.recording(lane, stall=stall)
            job = jobs.submit(recording.run, cut([speech(40)], CHUNK_SECONDS), lambda: None)
            for number in range(1, 4):
                clock.turn(LIMIT - 1)
                assert stall._own_seconds == LIMIT - 1
                turns[number].set()
                until(lambda: stall._own_seconds == 0, "the answer is seen")
            for turn in turns.values():
                turn.set()
            assert len(job.result(SOON)) > 3

    def test_a_request_without_an_answer_is_ended_by_its_own_limit(
        self, tmp_path: Path, clock: Clock, jobs: ThreadPoolExecutor
    ) -> None:
        """Else its one repetition might be cut short, and each further attempt would pay again."""
        provider = Provider()
        came, end = threading.Semaphore(0), threading.Semaphore(0)

        def script(_: SpeechRequest) -> Answer:
            came.release()
            assert end.acquire(timeout=SOON)
            raise Transient("no_answer", "no answer")

        provider.script = script
        process = Process(tmp_path, provider)
        with process.pool.lane() as lane:
            job = jobs.submit(run, process, lane, speech(9), clock)
            for _ in range(2):
                assert came.acquire(timeout=SOON)
                clock.turn(LIMIT / 2 + 5)
                end.release()
            with pytest.raises(Permanent) as verdict:
                job.result(SOON)
        assert verdict.value.reason == "unanswered"


class TestDecoding:
    @pytest.fixture
    def decoders(self) -> Iterator[DecoderPool]:
        with DecoderPool() as pool:
            yield pool

    def test_a_file_that_is_read_and_read_and_gives_no_sound_is_a_stall(
        self, tmp_path: Path, decoders: DecoderPool
    ) -> None:
        process = Process(tmp_path, Provider())
        now = iter(range(0, 10_000_000, 400))
        process.outages.clock = lambda: float(next(now))  # type: ignore[method-assign]
        noise = Recording(random.Random(1).randbytes(4_000_000))  # noqa: S311 - no secret
        with pytest.raises(Transient) as failure:
            made(process, decoders).transcribe(claim(), noise)
        assert failure.value.reason == "stalled"

    def test_one_that_gives_sound_may_take_for_ever(self, tmp_path: Path, decoders: DecoderPool) -> None:
        """Also before there is a chunk of it."""
        process = Process(tmp_path, Provider(), replace(OPTIONS, chunk_seconds=600.0))
        now = iter(range(0, 10_000_000, 200))
        process.outages.clock = lambda: float(next(now))  # type: ignore[method-assign]
        silent = made(process, decoders).transcribe(claim(), wav(silence(600)))
        assert silent.duration == 600.0
        assert next(now) > 20 * LIMIT
