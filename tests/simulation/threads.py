"""Python's own `threading`, `time` and their kin, on the virtual clock: what the daemon's modules find in their place.

The law of this file: a thread is interrupted only where it waits, so a condition's lock is never contended and costs
nothing here. Races between two lines of one process are not what is looked for; those between processes are.
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

from subscriber.log import get_logger
from tests.claims import NOW
from tests.simulation import clockwork
from tests.simulation.clockwork import Clockwork
from tests.simulation.patches import replaced

__all__ = ["at", "installed", "live_by", "wall_time"]

_world = SimpleNamespace(clock=Clockwork(), chance=Random(0), log=None)  # noqa: S311 - a history must come again


def live_by(clock: Clockwork, chance: Random, log: Any) -> None:
    """From now on everything here goes by this clock, draws from this chance and writes to this log."""
    _world.clock, _world.chance, _world.log = clock, chance, log


def at(seconds: float) -> datetime:
    """A moment of the virtual clock as the neighbours' clocks show it."""
    return NOW + timedelta(seconds=seconds)


def wall_time() -> datetime:
    """What the running process takes for the time of day."""
    clock = _world.clock
    return at(clock.now + (clock.running.host.wall_skew if clock.running else 0.0))


def _monotonic() -> float:
    clock = _world.clock
    return float(clock.running.host.monotonic(clock.now) if clock.running else clock.now)


class Thread:
    """`threading.Thread`."""

    def __init__(self, *, target: Callable[..., Any], args: tuple[Any, ...] = (), **_: Any) -> None:
        self._run = partial(target, *args)
        self._thread: clockwork.Thread | None = None
        self._ended = Event()

    def start(self) -> None:
        self._thread = _world.clock.start(_world.clock.me().host, self._to_its_end)

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.alive

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)

    def _to_its_end(self) -> None:
        self._run()
        self._ended.set()


class Condition:
    """`threading.Condition`."""

    def __init__(self, *_: Any) -> None:
        self._waiting: deque[tuple[clockwork.Thread, int]] = deque()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        me = _world.clock.me()
        mine = (me, me.ticket)
        self._waiting.append(mine)
        woken = _world.clock.wait(None if timeout == threading.TIMEOUT_MAX else timeout)
        if mine in self._waiting:
            self._waiting.remove(mine)
        return bool(woken)

    def wait_for(self, holds: Callable[[], Any], timeout: float | None = None) -> bool:
        ends_at = _world.clock.now + timeout if timeout is not None else None
        while not holds():
            if ends_at is not None and _world.clock.now >= ends_at:
                return False
            self.wait(None if ends_at is None else ends_at - _world.clock.now)
        return True

    def notify(self, number: int = 1) -> None:
        while self._waiting and number:
            _world.clock.wake(*self._waiting.popleft(), True)
            number -= 1

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Lock:
    """`threading.Lock`: whoever comes second waits, also across the first one's calls to a neighbour."""

    def __init__(self) -> None:
        self._taken = False
        self._freed = Condition()

    def __enter__(self) -> bool:
        while self._taken:
            self._freed.wait()
        self._taken = True
        return True

    def __exit__(self, *_: object) -> None:
        self._taken = False
        self._freed.notify()


class Event:
    """`threading.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._changed = Condition()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        return self._changed.wait_for(self.is_set, timeout)


class Future(concurrent.futures.Future[Any]):
    """`concurrent.futures.Future`, whose waiters wait virtually."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: Any = Condition()


class ThreadPoolExecutor:
    """`concurrent.futures.ThreadPoolExecutor`: so many at once, the others in their order."""

    def __init__(self, max_workers: int, **_: Any) -> None:
        self._free = max_workers
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, work: Callable[..., Any], *args: Any) -> Future:
        future = Future()
        self._waiting.append(lambda: future.set_result(work(*args)))
        if self._free:
            self._free -= 1
            Thread(target=self._work).start()
        return future

    def shutdown(self, **_: Any) -> None:
        self._waiting.clear()

    def _work(self) -> None:
        while self._waiting:
            self._waiting.popleft()()
        self._free += 1


def _wait(futures: Iterable[Future], timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
    """`concurrent.futures.wait`."""
    all_of_them, changed = list(futures), Condition()
    enough = any if return_when == concurrent.futures.FIRST_COMPLETED else all
    if not enough(future.done() for future in all_of_them):
        for future in all_of_them:
            future.add_done_callback(lambda _: changed.notify_all())
        changed.wait_for(lambda: enough(future.done() for future in all_of_them), timeout)
    return SimpleNamespace(done={future for future in all_of_them if future.done()})


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # an ordinary one
        return wall_time().astimezone(tz or UTC)


def _logger() -> Any:
    return _world.log


_TIME = SimpleNamespace(
    monotonic=_monotonic,
    time=lambda: wall_time().timestamp(),
    sleep=lambda seconds: _world.clock.wait(seconds),  # noqa: PLW0108 - looked up anew
    perf_counter=_monotonic,
)
_THREADING = SimpleNamespace(
    Thread=Thread, Condition=Condition, Lock=Lock, Event=Event, TIMEOUT_MAX=threading.TIMEOUT_MAX
)
_RANDOM = SimpleNamespace(random=lambda: _world.chance.random())  # noqa: PLW0108 - looked up anew
_UUID = SimpleNamespace(uuid4=lambda: uuid.UUID(int=_world.chance.getrandbits(128)))

_IN_THEIR_PLACE: dict[str, tuple[Any, Any]] = {
    "time": (time, _TIME),
    "threading": (threading, _THREADING),
    "uuid": (uuid, _UUID),
    "random": (sys.modules["random"], _RANDOM),
    "datetime": (datetime, _Datetime),
    "Future": (concurrent.futures.Future, Future),
    "ThreadPoolExecutor": (concurrent.futures.ThreadPoolExecutor, ThreadPoolExecutor),
    "wait": (concurrent.futures.wait, _wait),
    "get_logger": (get_logger, _logger),
}

_ELSEWHERE = ("subscriber.adapters", "subscriber.metrics", "subscriber.log", "subscriber.documents")
"""What never waits, or is not part of a history."""


@contextmanager
def installed() -> Iterator[None]:
    """Have every module of the daemon find the virtual ones, as long as the block runs."""
    others = [
        (module, name, virtual)
        for module in _modules()
        for name, (real, virtual) in _IN_THEIR_PLACE.items()
        if vars(module).get(name) is real
    ]
    with replaced(others):
        yield


def _modules() -> list[ModuleType]:
    ours = [name for name in sys.modules if name.startswith("subscriber.") and not name.startswith(_ELSEWHERE)]
    return [sys.modules[name] for name in ours]
