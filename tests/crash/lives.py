"""One message on the embedded adapters, told as often as it takes, by processes that die at a chosen effect.

The law of this file: a life is the production wiring (`app.Daemon`) on stores that outlive it. Every call that leaves
the process is an effect; a dead process has none any more. Nothing is known of the pipeline but its effects, so a new
one is died at without a line of change here.
"""

from __future__ import annotations

import atexit
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from subscriber.adapters.folder import FolderObjects
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.app import Adapters, Daemon
from subscriber.audio.pool import DecoderPool
from subscriber.compose import INBOX, OUTBOX, local_settings
from subscriber.decisions import Verdict
from subscriber.metrics import Metrics
from subscriber.model import Delivery, Job, Message, ObjectInfo, Record, State
from subscriber.signals import Signals
from subscriber.transcript import Answer, Segment, SpeechRequest
from tests.sound import wav

T = TypeVar("T")

NAME = "calls/one.wav"
LONG_AGO = timedelta(hours=1)
MOST_LIVES = 10
NO_SIGNALS = Signals()

DECODERS = DecoderPool()
"""For all lives: a decoder keeps nothing, and its process takes longer to start than a life lasts."""
atexit.register(DECODERS.close)


LEDGERS: list[SqliteLedger] = []
"""Of the stages of a test: `conftest.py` closes them after it. Each keeps three files open."""


class Killed(BaseException):
    """The process is gone: no handler of ours may see it."""


class Moment(NamedTuple):
    """Right before or right after the effect of this name that is number `number` (from 0) of its kind in a life.

    Of its kind, because two chunks of a recording have theirs at the same time.
    """

    number: int
    after: bool
    effect: str

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.effect} {self.number + 1}"


class Fate:
    """Counts the effects of one process, and ends it at its moment."""

    def __init__(self, moment: Moment | None) -> None:
        self._moment = moment
        self._lock = threading.Lock()
        self.dead = False
        self.effects: list[str] = []

    def effect(self, name: str, call: Callable[[], T]) -> T:
        """Let the effect happen, as far as we live."""
        with self._lock:
            number = self.effects.count(name)
            self._die_at(Moment(number, after=False, effect=name))
            self.effects.append(name)
        try:
            return call()
        finally:
            self._die_at(Moment(number, after=True, effect=name))

    def _die_at(self, moment: Moment) -> None:
        self.dead |= moment == self._moment
        if self.dead:
            raise Killed


class _Mortal:
    """Makes an effect of every call of a neighbour."""

    def __init__(self, name: str, neighbour: object, fate: Fate) -> None:
        self._name = name
        self._neighbour = neighbour
        self._fate = fate

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._neighbour, method)
        return lambda *args, **more: self._fate.effect(f"{self._name}.{method}", partial(call, *args, **more))


@dataclass
class Provider:
    """Counts what it is asked and says what the test has it say, by the number of the request (from 1).

    `hears_nothing_in`: seconds of sound from which on it hears no words in a request.
    """

    say: Callable[[int], Answer | Exception]
    hears_nothing_in: float = math.inf
    requests: int = 0
    answers: int = 0

    def check(self) -> None: ...

    def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None: ...

    def transcribe(self, request: SpeechRequest) -> Answer:
        self.requests += 1
        said = self.say(self.requests)
        if isinstance(said, Exception):
            raise said
        self.answers += 1
        return spoken("") if request.seconds >= self.hears_nothing_in else said


@dataclass
class Listeners:
    """Whoever is told that a job is settled."""

    heard: list[Record] = field(default_factory=list)

    def check(self) -> None: ...

    def announce(self, record: Record) -> None:
        self.heard.append(record)


@dataclass
class Sink:
    """A subscription: remembers what it is told, and the world as it was at the moment of each ack."""

    look: Callable[[], Record | None]
    told: list[str] = field(default_factory=list)
    record_at_acks: list[Record | None] = field(default_factory=list)

    def pull(self, free: int) -> Sequence[Delivery]:  # noqa: ARG002 - the port's; here deliveries are handed over
        return []

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:  # noqa: ARG002 - the port's
        self.told.append(f"extend {seconds}")

    def ack(self, subscription: str, ack_ids: Sequence[str]) -> None:  # noqa: ARG002 - the port's
        self.told.append("ack")
        self.record_at_acks.append(self.look())

    def finished(self) -> bool:
        return False


def spoken(text: str = "hello") -> Answer:
    """What a provider answers for a second of speech."""
    segments = (Segment(0.0, 1.0, text),) if text else ()
    return Answer(text, "english", 1.0, segments, (), "whisper-1", "req_1", 1.0)


class Stage:
    """What outlives every process: the folders, the ledger, the provider, the listeners, the subscription."""

    def __init__(
        self,
        root: Path,
        say: Callable[[int], Answer | Exception],
        *,
        seconds: float = 1.0,
        hears_nothing_in: float = math.inf,
        **settings: str,
    ) -> None:
        self._root = root
        self._seconds = seconds
        for folder in (INBOX, OUTBOX):
            (root / folder).mkdir()
        self.objects = FolderObjects({bucket: root / bucket for bucket in (INBOX, OUTBOX)})
        self.ledger = SqliteLedger(root / "ledger.sqlite")
        LEDGERS.append(self.ledger)
        self.provider = Provider(say, hears_nothing_in)
        self.listeners = Listeners()
        self.sink = Sink(self.record)
        self.settings = local_settings(
            {f"SUBSCRIBER_{name.upper()}": value for name, value in settings.items()}, "http://provider/v1"
        )
        self.job = self.upload("sound")
        self.published_at = datetime.now(UTC)
        self._lives = 0

    def upload(self, text: str) -> Job:
        """A new generation of the recording, with sound of its own; the story goes on with it."""
        found = self.objects.stat(INBOX, NAME)
        before = found.generation if found else 0
        data = wav(text, self._seconds)
        live = self.objects.write(INBOX, NAME, data, content_type="audio/wav", metadata={}, if_generation=before)
        self.job = Job(INBOX, NAME, live.generation, self.settings.output)
        return self.job

    def live(self, moment: Moment | None = None) -> Fate:
        """One process with one delivery of the message, from the lease that a pull is followed by to the settlement."""
        self._lives += 1
        fate = Fate(moment)
        daemon = Daemon(self.settings, self._adapters(fate), Metrics(self.settings.model), NO_SIGNALS)
        lend_decoders(daemon)
        delivery = self._delivery(f"delivery {self._lives}")
        with suppress(Killed):
            for new in daemon.leases.hold([delivery]):
                daemon.worker._pipeline.handle(new)
            daemon.acks.flush()
        return fate

    def live_on(self) -> None:
        """Processes that nobody kills, until the message is acked; claims and waits are over for each."""
        for _ in range(MOST_LIVES):
            self.let_time_pass()
            self.live()
            if self.sink.told[-1] == "ack":
                return
        raise AssertionError(f"not acked in {MOST_LIVES} lives: {self.sink.told}")

    def let_time_pass(self) -> None:
        """The claim of a dead process ends, and a wait is over."""

        def past(record: Record | None, now: datetime) -> Verdict[None]:
            if record is None or record.state.final:
                return Verdict(None)
            due = record.next_attempt_at and now
            return Verdict(None, replace(record, renewed_at=now - LONG_AGO, next_attempt_at=due))

        self.ledger.transact(self.job, past)

    def record(self) -> Record | None:
        """The job's record."""
        return self.ledger.read(self.job)

    def state(self) -> State | None:
        """The job's state; None before anybody claimed it."""
        record = self.record()
        return record.state if record else None

    def stored(self) -> set[Path]:
        """The chunks whose verdicts are kept."""
        return set((self._root / OUTBOX / ".chunks").glob("*/*.json"))

    def output(self, ending: str) -> tuple[ObjectInfo, bytes] | None:
        """One of the recording's outputs, by the ending that its name has more."""
        found = self.objects.stat(OUTBOX, f"{NAME}.{ending}")
        return (found, self.objects.read(found)) if found else None

    def _adapters(self, fate: Fate) -> Adapters:
        def mortal(name: str, neighbour: T) -> T:
            return cast("T", _Mortal(name, neighbour, fate))

        return Adapters(
            source=mortal("source", self.sink),
            ledger=mortal("ledger", self.ledger),
            objects=mortal("objects", self.objects),
            transcriber=mortal("provider", self.provider),
            announcer=mortal("listeners", self.listeners),
            checks={},
        )

    def _delivery(self, ack_id: str) -> Delivery:
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": self.job.bucket,
            "objectId": self.job.name,
            "objectGeneration": str(self.job.generation),
        }
        return Delivery(Message("17", attributes, b"", self.published_at), "subscription", ack_id)


def lend_decoders(daemon: Daemon) -> None:
    """Have a daemon that never serves use the decoders of all lives."""
    daemon.decoders = daemon._speech._decoders = DECODERS


def moments(effects: Sequence[str]) -> list[Moment]:
    """Before and after each effect of a life, kind by kind."""
    counted = sorted(Counter(effects).items())
    return [
        Moment(number, after, effect) for effect, times in counted for number in range(times) for after in (False, True)
    ]
