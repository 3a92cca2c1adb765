"""A provider that bills: each chunk says whose it is, and every request that was worked on costs, heard of or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from subscriber.errors import NeighbourDown, Permanent, RateLimited, Transient
from subscriber.transcript import Answer, Segment, SpeechRequest
from tests.simulation.clockwork import Host
from tests.simulation.wire import NoAnswer

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["DOUBTFUL", "PodsTranscriber", "Provider", "Request", "label_of", "sound_of"]

USUAL_SECONDS = (1.0, 2.2)

DOUBTFUL = " in halves"
"""Ends the label of a chunk whose first answer has no words."""

LABEL_END = b"\x00"

HALF_BYTES = 32_000
"""A second of sound, half of the least that is asked for again in halves."""

HALVES = (" first half", " second half")


def sound_of(label: str) -> bytes:
    """Sound that begins with its label; that of a chunk to be asked for in halves has one in each of them."""
    if not label.endswith(DOUBTFUL):
        return (label.encode() + LABEL_END).ljust(HALF_BYTES // 2, LABEL_END)
    whole = label.removesuffix(DOUBTFUL)
    return b"".join((f"{whole}{half}".encode() + LABEL_END).ljust(HALF_BYTES, LABEL_END) for half in HALVES)


def label_of(pcm: bytes) -> str:
    """The words of a chunk, which its sound begins with."""
    label = pcm.partition(LABEL_END)[0].decode()
    return label.removesuffix(HALVES[0]) + DOUBTFUL if len(pcm) > HALF_BYTES else label


def words_of(label: str) -> str:
    """What is said in it, as far as the provider hears it: of a doubtful chunk only its halves have words."""
    if label.endswith(DOUBTFUL):
        return ""
    name, generation, index, *half = label.split(" ")
    return {(): f"{name} {generation} {index}", ("first", "half"): f"{name} {generation}"}.get(tuple(half), index)


def first_of(label: str) -> str | None:
    """The recording that begins with this chunk."""
    name, _, index, *_ = label.split(" ")
    return name if index == "0" else None


def takes_one(left: dict[str, int], label: str) -> bool:
    """Whether this request is one of those that are to go wrong."""
    name = first_of(label)
    if name is None or not left.get(name):
        return False
    left[name] -= 1
    return True


@dataclass
class Request:
    """One request that was sent for a chunk: what became of it is all that may excuse another one."""

    host: Host
    sent_at: float
    over: bool = False
    unusual: bool = False
    billed: bool = False
    unanswered: bool = False
    answered_at: float | None = None

    def bill(self) -> None:
        """Whatever becomes of the answer."""
        self.billed = True


class Provider:
    """What it was asked, by chunk, and how it treats each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self.in_flight: dict[Host, int] = defaultdict(int)
        self.closed_until: dict[Host, float] = defaultdict(float)
        self.takes = USUAL_SECONDS
        """From a request to its answer, at least and at most."""
        self.limited = 0.0
        """Share of the requests that are told to wait."""
        self.failing: dict[str, int] = {}
        """Recording -> how many of the next requests for its first chunk fail, while all others are answered."""
        self.mute: dict[str, int] = {}
        """Recording -> how many of the next requests for its first chunk are billed and never answered."""
        self.refused: set[str] = set()
        """Recordings whose first chunk is no audio to it."""

    def work(self, label: str, request: Request) -> Answer:
        """Answer, and bill for it."""
        if takes_one(self.failing, label):
            self._world.watch.job_failed(label)
            raise NeighbourDown("whisper", "unavailable", f"500 for {label}")
        if first_of(label) in self.refused:
            self._world.watch.job_failed(label)
            raise Permanent("audio_rejected", f"{label} is no audio")
        request.bill()
        words = words_of(label)
        segments = (Segment(0.0, 0.4, words),) if words else ()
        return Answer(words, "en", None, segments, (), "whisper-1", label, 1.0)


class PodsTranscriber:
    """`ports.Transcriber` as one pod reaches it."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def check(self) -> None:
        self._world.wire.call("whisper", lambda: None)

    def probe(self, model: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG002 - the port's
        self.check()

    def transcribe(self, request: SpeechRequest) -> Answer:
        provider, label = self._world.provider, label_of(request.data)
        self._world.watch.sent(self._host, label)
        mine = Request(self._host, self._world.clock.now)
        provider.requests[label].append(mine)
        provider.in_flight[self._host] += 1
        try:
            return self._ask(label, mine, request.timeout_seconds)
        finally:
            provider.in_flight[self._host] -= 1
            mine.over = not self._host.dead

    def _ask(self, label: str, mine: Request, timeout_seconds: float) -> Answer:
        try:
            self._be_limited()
            return self._wait_for(label, mine, timeout_seconds)
        except NoAnswer as error:
            mine.unanswered = True
            self._world.watch.job_failed(label)
            raise Transient("no_answer", str(error)) from error

    def _be_limited(self) -> None:
        world, provider = self._world, self._world.provider
        if world.chance.random() < provider.limited:
            world.wire.call("whisper", lambda: None)
            seconds = world.chance.uniform(0.5, 4.0)
            provider.closed_until[self._host] = world.clock.now + seconds
            raise RateLimited(seconds, "slow down")

    def _wait_for(self, label: str, mine: Request, timeout_seconds: float) -> Answer:
        world, provider = self._world, self._world.provider
        if takes_one(provider.mute, label):
            mine.unusual = True
            world.wire.call("whisper", mine.bill)
            world.clock.wait(mine.sent_at + timeout_seconds - world.clock.now)
            raise NoAnswer("whisper", "unavailable", "no answer in time")
        takes_seconds = world.chance.uniform(*provider.takes)
        mine.unusual = provider.takes != USUAL_SECONDS
        answer = world.wire.call("whisper", partial(provider.work, label, mine), timeout_seconds, takes_seconds)
        mine.answered_at = world.clock.now
        return answer
