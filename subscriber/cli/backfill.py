"""`backfill`: has the daemon told of what it never heard of, at a steady rate; or says what that would take.

The law of this file: whatever ends it, it says how to go on. Standard output is for the result; bars, progress and how
to go on are for standard error.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice

from rich.console import Console
from rich.live import Live

from subscriber import config
from subscriber.bars import Bar, bars
from subscriber.cli.forecast import forecast
from subscriber.compose_desk import desk, means
from subscriber.desk.backfilling import WANTED, Candidate, Scope, Totals, notify, remedies, survey
from subscriber.desk.estimate import MOST_PROBES, Sample, assumed_speed, seen_speed
from subscriber.desk.tools import Desk
from subscriber.desk.words import prefix_of, shown, since, typed
from subscriber.errors import SubscriberError
from subscriber.model import ObjectInfo, State
from subscriber.queries import Wanted

__all__ = ["Wish", "run_backfill"]

RECENT_RECORDS = 300
"""One page of the ledger tells how fast jobs are done."""

LINE_EVERY = 100
"""Published ones; a line of log for each would be as long as the list of objects."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The options, as they were typed."""

    place: str
    per_minute: int
    after: str
    since: str | None
    limit: int | None
    verify_outputs: bool

    def command(self) -> str:
        """How it is typed again."""
        options = {
            "--after": self.after,
            "--rate": str(self.per_minute),
            "--since": self.since,
            "--limit": str(self.limit or ""),
        }
        words = [typed(word) for option, value in options.items() if value for word in (option, value)]
        verify = ["--verify-outputs"] if self.verify_outputs else []
        return " ".join(["subscriber backfill", typed(self.place), *words, *verify])


@dataclass(slots=True)
class Account:
    """What was met so far; `last` is the name behind which to go on."""

    last: str
    totals: Totals = field(default_factory=Totals)
    wanted: int = 0

    def add(self, candidate: Candidate) -> None:
        """Count it."""
        self.totals[candidate.standing, candidate.reason] += 1
        self.wanted += candidate.wanted
        self.last = candidate.found.name


def run_backfill(wish: Wish, *, dry_run: bool) -> int:
    """0 when all that is wanted is published, or was only counted; 1 when it was stopped. Raises ConfigError."""
    with _stoppable(), desk(config.environ()) as tools:
        moment = since(wish.since, tools.clock()) if wish.since else None
        scope = Scope(*prefix_of(wish.place), wish.after, moment, wish.verify_outputs)
        backfill = _Backfill(tools, wish, scope)
        return backfill.estimate() if dry_run else backfill.publish()


class _Backfill:
    """One run of the command."""

    def __init__(self, tools: Desk, wish: Wish, scope: Scope) -> None:
        self._tools = tools
        self._wish = wish
        self._scope = scope
        self._console = Console(stderr=True, highlight=False)

    def estimate(self) -> int:
        """Look at everything, change nothing, and say what it would take."""
        account, sample, probed = Account(self._scope.after), Sample(), 0
        with means(config.environ(), self._tools.objects) as known:
            done = Wanted(states=frozenset({State.DONE}))
            speed = seen_speed(islice(self._tools.records.search(done), RECENT_RECORDS)) or assumed_speed(known)

            def probe(found: ObjectInfo) -> float | None:
                nonlocal probed
                probed += 1
                return known.probe(found)

            with self._shown(lambda: [_looking(account), Bar("headers", probed, MOST_PROBES, str(probed))]):
                for candidate in self._wanted(account):
                    sample.add(candidate.found)
                estimate = sample.estimate(probe)
        _print_account(account, self._scope, "would be published")
        for line in forecast(estimate, known, speed, self._wish.per_minute):
            print(line)
        return 0

    def publish(self) -> int:
        """Have the daemon told of everything that is wanted."""
        _ = self._tools.notifier  # a missing topic is told before anything is looked at
        total = self._counted() if self._console.is_terminal else None
        account = Account(self._scope.after)
        try:
            with self._shown(lambda: [Bar("published", account.wanted, total, f"{account.wanted} of {total}")]):
                self._go(account)
        except KeyboardInterrupt:
            self._print_stopped(account)
            return 1
        except SubscriberError:
            self._print_stopped(account)
            raise
        _print_account(account, self._scope, "published")
        if account.wanted == self._wish.limit:
            print(f"--limit is reached; go on with\n  {replace(self._wish, after=account.last).command()}")
        return 0

    def _go(self, account: Account) -> None:
        """Publish at an even pace: what was late is not made up for."""
        interval, due = 60 / self._wish.per_minute, time.monotonic()
        for candidate in self._wanted(account):
            time.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + interval
            notify(self._tools, candidate)
            if not self._console.is_terminal and (account.wanted + 1) % LINE_EVERY == 0:
                name = shown(f"gs://{candidate.found.bucket}/{candidate.found.name}")
                print(f"published {account.wanted + 1}, up to {name}", file=sys.stderr, flush=True)

    def _counted(self) -> int:
        """How many there are to be published: whoever looks at a bar wants to know its end."""
        account = Account(self._scope.after)
        with self._shown(lambda: [_looking(account)]):
            for _ in self._wanted(account):
                pass
        return account.wanted

    def _wanted(self, account: Account) -> Iterator[Candidate]:
        """The wanted ones, each counted once whoever takes it is done with it."""
        for candidate in survey(self._tools, self._scope):
            if candidate.wanted:
                yield candidate
            account.add(candidate)
            if account.wanted == self._wish.limit:
                return

    def _shown(self, rows: Callable[[], list[Bar]]) -> AbstractContextManager[object]:
        """Bars while the block runs, for whoever looks."""
        if not self._console.is_terminal:
            return nullcontext()
        return Live(get_renderable=lambda: bars(rows()), console=self._console, transient=True)

    def _print_stopped(self, account: Account) -> None:
        left = self._wish.limit and self._wish.limit - account.wanted
        again = replace(self._wish, after=account.last, limit=left).command()
        print(f"stopped after {account.wanted} were published; go on with\n  {again}", file=sys.stderr, flush=True)


def _looking(account: Account) -> Bar:
    met = account.totals.total()
    return Bar("looking", met, None, f"{met} objects, {account.wanted} wanted")


def _print_account(account: Account, scope: Scope, verb: str) -> None:
    rows = sorted(account.totals.items(), key=lambda row: (row[0][0] not in WANTED, -row[1], row[0]))
    for (standing, reason), count in rows:
        fate = verb if standing in WANTED else "left"
        print(f"{count:>9}  {fate}: {standing}{f' ({reason})' if reason else ''}")
    print(f"{account.totals.total():>9}  in all")
    for line in remedies(account.totals, scope):
        print(line)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, as a cluster sends it, ends the command as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
