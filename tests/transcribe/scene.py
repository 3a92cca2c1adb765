"""A stage for one process that transcribes: sound with pauses, a provider that counts, a cache in a folder."""

from __future__ import annotations

import math
import random
import threading
import time
from array import array
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from subscriber.adapters.folder import FolderObjects
from subscriber.audio.cut import cut
from subscriber.audio.wire import SAMPLE_RATE
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown
from subscriber.lease import HeldClaim
from subscriber.metrics import Metrics
from subscriber.model import NO_PIN, Claim, Job, Pin
from subscriber.outage import Outages
from subscriber.ports import Objects
from subscriber.transcribe.asking import Asker, Options, Question
from subscriber.transcribe.cache import ChunkCache
from subscriber.transcribe.pool import Lane, SlotPool
from subscriber.transcribe.recording import RecordingOnItsWay
from subscriber.transcribe.stall import StallClock
from subscriber.transcript import Answer, Chunk, ChunkSpan, Hints, Segment, SpeechRequest

SOON = 30.0
"""Bound of every wait for another thread; none comes near it."""

CHUNK_SECONDS = 10.0
"""The shortest that the cutter takes."""

OPTIONS = Options(("whisper-1",), "api.example.com", chunk_seconds=CHUNK_SECONDS)

Script = Callable[[SpeechRequest], Answer]


@cache
def _second(seed: int) -> bytes:
    """A tone of 0.6 s and a pause that is not quite silent; another one for every seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    step = 2 * math.pi * chance.uniform(200, 2000) / SAMPLE_RATE
    hiss = [chance.randint(-60, 60) for _ in range(997)]
    tone = [round(8000 * math.sin(step * at)) if at < 0.6 * SAMPLE_RATE else 0 for at in range(SAMPLE_RATE)]
    return array("h", [one + hiss[at % 997] for at, one in enumerate(tone)]).tobytes()


def speech(seconds: int, voice: int = 0) -> bytes:
    """PCM in which no second is like another."""
    return b"".join(_second(1000 * voice + number) for number in range(seconds))


def silence(seconds: int) -> bytes:
    """PCM without a sound."""
    return bytes(2 * SAMPLE_RATE * seconds)


def sentence(request: SpeechRequest) -> str:
    """What the provider hears by itself: other words for other sound."""
    return f"these are the words of number {sum(request.data) % 9973}"


def answer(request: SpeechRequest, text: str | None = None, language: str | None = "en") -> Answer:
    """An answer as a provider gives it; without a `text` its own sentence."""
    said = sentence(request) if text is None else text
    segments = (Segment(0.5, 1.5, said),) if said else ()
    return Answer(said, language, None, segments, (), request.model, "req_1", None)


class Provider:
    """`ports.Transcriber` that notes every request and answers as a test says."""

    def __init__(self) -> None:
        self.requests: list[SpeechRequest] = []
        self.script: Script = answer
        self.down: NeighbourDown | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """As the port says."""

    def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None:
        """As the port says."""

    def transcribe(self, request: SpeechRequest) -> Answer:
        """As the port says."""
        with self._lock:
            self.requests.append(request)
        return self.script(request)

    def told(self, field: str) -> list[Any]:
        """What a field was in each request."""
        return [request.fields.get(field) for request in self.requests]


class OnTheWire:
    """A script whose answers wait until a test lets them come."""

    def __init__(self, script: Script = answer) -> None:
        self._script = script
        self.came = threading.Semaphore(0)
        self.answer = threading.Event()

    def __call__(self, request: SpeechRequest) -> Answer:
        self.came.release()
        assert self.answer.wait(SOON)
        return self._script(request)


class Process:
    """What one process has of all this. A second one on the same folder is the next start, or the neighbour."""

    def __init__(
        self,
        folder: Path,
        provider: Provider,
        options: Options = OPTIONS,
        *,
        slots: int = 4,
        objects: Objects | None = None,
    ) -> None:
        self.provider = provider
        self.options = options
        self.metrics = Metrics(options.models)
        self.drain = Drain(60.0)
        self.objects = objects or FolderObjects({"out": folder})
        self.cache = ChunkCache(self.objects, "out", ".chunks/")
        self.outages = Outages({"whisper": self._probe}, self.drain, self.metrics)
        self.pool = SlotPool(slots, None, self.drain, self.metrics)
        self.asker = Asker(provider, self.cache, options, self.metrics)

    def _probe(self) -> None:
        if self.provider.down:
            raise self.provider.down

    def question(
        self, pcm: bytes, *, index: int = 0, start: float = 0.0, hints: Hints | None = None, salt: str = ""
    ) -> Question:
        """A chunk that is sound from its first to its last second."""
        end = start + len(pcm) / 2 / SAMPLE_RATE
        span = ChunkSpan(index, start, end, loud=((start, end),))
        return self.asker.question(pcm, span, self.asker.model(None), hints or self.options.hints, salt=salt)

    def recording(
        self, lane: Lane, held: HeldClaim | None = None, stall: StallClock | None = None
    ) -> RecordingOnItsWay:
        """One that is on its way in this lane."""
        clock = stall or StallClock(self.options.stall_seconds, self.outages.clock)
        return RecordingOnItsWay(
            self.asker,
            lane,
            held or claim(),
            self.options.hints,
            clock=clock,
            outages=self.outages,
            metrics=self.metrics,
        )

    def run(self, pcm: bytes, held: HeldClaim | None = None, options: Options | None = None) -> list[Chunk]:
        """A whole recording."""
        with self.pool.lane() as lane:
            recording = self.recording(lane, held)
            cuts = cut([pcm], (options or self.options).chunk_seconds)
            return recording.run(cuts, lambda: len(pcm) / 2 / SAMPLE_RATE)

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"subscriber_{name}", labels) or 0.0


def nothing() -> None:
    """Asks for a claim that is never lost."""


def claim(pin: Pin = NO_PIN, renew: Callable[[HeldClaim], None] = lambda _: None, *, ended: bool = False) -> HeldClaim:
    """A claim in our hands; if it has `ended` on our clock, the ledger is asked first."""
    asked_at = time.monotonic() - (1000.0 if ended else 0.0)
    return HeldClaim(Claim(Job("in", "a.wav", 1, "gs://out/"), "ours", 1, 1, 90.0, pin), asked_at, renew)
