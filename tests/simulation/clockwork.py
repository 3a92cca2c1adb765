"""The virtual clock and the threads that live by it: seconds pass when everybody waits, never by themselves.

A thread is a greenlet. It runs until it waits; then whatever is due next happens. So a history is the same every time,
and the code that runs in it is the daemon's own, with its own `with` blocks and loops.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

__all__ = ["Clockwork", "Host", "Thread"]


class Host:
    """One process: its own clocks, and whether it runs, is stopped (SIGSTOP) or is no more."""

    def __init__(self, name: str, started_at: float = 0.0, wall_skew: float = 0.0) -> None:
        self.name = name
        self.wall_skew = wall_skew
        self.dead = False
        self.died_at = float("inf")
        self.frozen = False
        self.held_up: list[Callable[[], None]] = []
        self._started_at = started_at

    def die(self, now: float) -> None:
        """Do nothing more, not even clean up."""
        self.dead, self.died_at = True, now

    def __repr__(self) -> str:
        return self.name

    def monotonic(self, now: float) -> float:
        """Its monotonic clock: nobody else's counts from the same moment. It goes on while the process is stopped."""
        return now - self._started_at


class Thread:
    """A thread of one host. `ticket` grows with each wait: what comes too late for one does not end the next."""

    def __init__(self, host: Host, body: Callable[[], None], hub: greenlet) -> None:
        self.host = host
        self.ticket = 0
        self.greenlet = greenlet(lambda _: body(), hub)

    @property
    def alive(self) -> bool:
        """Whether it has not come to its end."""
        return not self.greenlet.dead


class Clockwork:
    """What is due, in order. `now` in seconds; whatever happens in one step happens at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running: Thread | None = None
        self._hub = getcurrent()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._threads: list[Thread] = []

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Have something happen later."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), happens))

    def step(self) -> None:
        """Let the next thing happen."""
        at, _, happens = heapq.heappop(self._due)
        self.now = max(self.now, at)
        happens()

    def start(self, host: Host, body: Callable[[], None]) -> Thread:
        """A thread that begins in its turn."""
        thread = Thread(host, body, self._hub)
        self._threads.append(thread)
        self.after(0.0, partial(self._go_on, thread, thread.ticket, None))
        return thread

    def me(self) -> Thread:
        """The thread that runs. What is dead already runs no further."""
        assert self.running, "only a virtual thread can wait"
        if self.running.host.dead:
            raise GreenletExit
        return self.running

    def wait(self, seconds: float | None = None) -> Any:
        """Wait in the running thread: what it was woken with, or None after so many seconds."""
        me = self.me()
        if seconds is not None:
            self.after(max(0.0, seconds), partial(self._go_on, me, me.ticket, None))
        word = self._hub.switch()
        if me.host.dead:
            raise GreenletExit
        return word

    def wake(self, thread: Thread, ticket: int, word: Any, after_seconds: float = 0.0) -> None:
        """End the wait that this ticket stands for, unless it has ended."""
        self.after(after_seconds, partial(self._go_on, thread, ticket, word))

    def thaw(self, host: Host) -> None:
        """SIGCONT: all that has come in the meantime comes now."""
        host.frozen = False
        held_up, host.held_up = host.held_up, []
        for happens in held_up:
            self.after(0.0, happens)

    def end(self) -> None:
        """Nobody lives on: whoever waits is ended, without another effect."""
        for thread in self._threads:
            thread.host.dead = True
        for thread in self._threads:
            self.running = thread
            thread.greenlet.throw(GreenletExit)
        self.running = None

    def _go_on(self, thread: Thread, ticket: int, word: Any) -> None:
        if thread.ticket != ticket or thread.host.dead:
            return
        if thread.host.frozen:
            thread.host.held_up.append(partial(self._go_on, thread, ticket, word))
            return
        thread.ticket += 1
        self.running = thread
        thread.greenlet.switch(word)
        self.running = None
