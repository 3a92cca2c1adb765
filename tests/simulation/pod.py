"""A pod: the production daemon, from `app.Daemon` down, in one virtual process; only decoder and neighbours are not."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self, cast

from subscriber import app
from subscriber.app import Adapters, Daemon
from subscriber.audio.cut import Chunk
from subscriber.audio.facts import Facts
from subscriber.audio.upload import Upload
from subscriber.audio.wire import SAMPLE_RATE
from subscriber.config import Settings
from subscriber.metrics import Metrics
from subscriber.model import Record
from subscriber.signals import Signals
from subscriber.transcribe import asking, speech
from tests.simulation.bucket import PodsObjects
from tests.simulation.clockwork import Host
from tests.simulation.ledger import PodsLedger
from tests.simulation.patches import replaced
from tests.simulation.provider import HALF_BYTES, PodsTranscriber, sound_of
from tests.simulation.subscription import NAME, PodsSource
from tests.simulation.threads import Condition
from tests.simulation.watch import CLAIM_SECONDS, GRACE_SECONDS, LEASE_SECONDS

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Pod", "stand_ins"]


@cache
def settings(slots: int) -> Settings:
    """The daemon's settings: short leases, so that a history is short."""
    return Settings.from_environ(
        {
            "SUBSCRIBER_SUBSCRIPTION": NAME,
            "SUBSCRIBER_OUTPUT": "gs://outbox/out",
            "SUBSCRIBER_RESULT_TOPIC": "projects/project/topics/ends",
            "SUBSCRIBER_LANGUAGE": "en",
            "SUBSCRIBER_WHISPER_CONCURRENCY": str(slots),
            "SUBSCRIBER_ACK_LEASE_SECONDS": str(LEASE_SECONDS),
            "SUBSCRIBER_CLAIM_SECONDS": str(CLAIM_SECONDS),
            "SUBSCRIBER_SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS),
            "SUBSCRIBER_STALL_SECONDS": "60",
            "SUBSCRIBER_MAX_ATTEMPTS": "3",
            "SUBSCRIBER_RETRY_MIN_SECONDS": "2",
            "SUBSCRIBER_RETRY_MAX_SECONDS": "10",
            "OPENAI_BASE_URL": "http://provider/v1",
        }
    )


class _Uncounted:
    """Metrics that nobody looks at: a tenth of the time of a history."""

    def __getattr__(self, _: str) -> _Uncounted:
        return self

    def __call__(self, *_: object, **__: object) -> _Uncounted:
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


UNCOUNTED = cast("Metrics", _Uncounted())


class Pod:
    """One process from its start to its end; the next one in its place is another host."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self.host = host
        self.daemon: Daemon | None = None
        self.calls: Counter[str] = Counter()
        self.stopped_at: float | None = None
        self._events: deque[str] = deque()
        self._changed = Condition()
        world.clock.start(host, self._live)

    @property
    def paused(self) -> dict[str, str]:
        """For whom it waits, or waited when it ended."""
        return self.daemon.outages.paused if self.daemon else {}

    # What the daemon takes for its signals.

    def put(self, event: str) -> None:
        """Have the main thread find this."""
        self._events.append(event)
        self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> str:  # noqa: ARG002 - the real one's
        """Wait for the next one, however long: there is no decoder to be ended meanwhile."""
        self._changed.wait_for(lambda: self._events)
        return self._events.popleft()

    def stop(self) -> None:
        """SIGTERM."""
        if self.stopped_at is None:
            self.stopped_at = self._world.clock.now
        self.put("stop")

    def _live(self) -> None:
        world, host = self._world, self.host
        adapters = Adapters(
            source=(source := PodsSource(world, host)),
            ledger=(ledger := PodsLedger(world, host)),
            objects=(objects := PodsObjects(world, host)),
            transcriber=(transcriber := PodsTranscriber(world, host)),
            announcer=PodsAnnouncer(world),
            checks={
                "pubsub": source.check,
                "firestore": ledger.check,
                "gcs": objects.check_output,
                "whisper": transcriber.check,
            },
        )
        self.daemon = Daemon(settings(world.slots), adapters, UNCOUNTED, cast("Signals", self))
        self._look_at(self.daemon._speech._pool)
        self.daemon.serve(web=False)
        world.tell(f"{host.name} exits")
        if self.stopped_at is not None:
            world.watch.drained(self, self.stopped_at)
        host.die(world.clock.now)

    def _look_at(self, pool: Any) -> None:
        choose: Callable[[], Any] = pool._next

        def chosen() -> Any:
            lane, task = choose()
            self._world.watch.chosen(pool, lane)
            return lane, task

        pool._next = chosen


class PodsAnnouncer:
    """`ports.Announcer` as one pod reaches it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def announce(self, record: Record) -> None:
        self._world.wire.call("pubsub", partial(self._world.watch.told, record))


class _Decoders:
    """A source's bytes are its chunks' words, one a line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    @contextmanager
    def open(self, source: Any, limits: object) -> Iterator[_Decoding]:  # noqa: ARG002 - the real one's
        yield _Decoding(source.read(0, source.size))


def _as_it_is(pcm: bytes) -> Upload:
    return Upload(pcm, "wav")


class _Decoding:
    def __init__(self, data: bytes) -> None:
        self._labels = data.splitlines()
        self.facts = Facts("wav", "pcm_s16le", len(self._labels) / 2)

    def __iter__(self) -> Iterator[bytes]:
        for label in self._labels:
            yield sound_of(label.decode())


def _cut(pieces: Iterable[bytes], chunk_seconds: float) -> Iterator[Chunk]:  # noqa: ARG001 - the real one's
    start = 0
    for index, pcm in enumerate(pieces):
        seconds = len(pcm) / 2 / SAMPLE_RATE
        yield Chunk(index, start, pcm, silent=False, loud=((0.0, seconds),) if len(pcm) > HALF_BYTES else ())
        start += len(pcm) // 2


@contextmanager
def stand_ins() -> Iterator[None]:
    """Sound is not what is at stake: no decoder's process is started and nothing is encoded while the block runs."""
    others = [(app, "DecoderPool", _Decoders), (speech, "cut", _cut), (asking, "wav_or_flac", _as_it_is)]
    with replaced(others):
        yield
