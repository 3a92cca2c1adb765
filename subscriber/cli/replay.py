"""`replay`: one line a job, and totals."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from subscriber import config
from subscriber.compose_desk import desk, holding
from subscriber.desk.dead_letters import MOST_LEFT, Stray, drain
from subscriber.desk.listing import wanted
from subscriber.desk.reopening import Deed
from subscriber.desk.replaying import MOVED, Plan, Step, Totals, by_name, listed, replay, stalled
from subscriber.desk.tools import Desk
from subscriber.desk.words import readings, shown
from subscriber.errors import ConfigError
from subscriber.model import State

__all__ = ["Asked", "Plan", "replay_jobs"]

WORDS = {
    Deed.REOPEN: "reopened and notified",
    Deed.NOTIFY: "notified",
    Deed.IN_WORK: "in work: its claim is live and left alone",
    Deed.SETTLED: "{state}: nothing to do; --fresh transcribes it again",
    Deed.FORGOTTEN: "forgotten: only a new upload brings it back",
    Deed.NEWER: "left to the newer version of subscriber that wrote its record",
}
IN_OUTBOX = {
    **WORDS,
    Deed.REOPEN: "reopened for the next `subscriber local`",
    Deed.NOTIFY: "left for the next `subscriber local`, which takes it up anyway",
}
MADE_ANEW = {Deed.SETTLED: "{state}: this run has had it made anew"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which jobs; times and addresses as people write them."""

    address: str | None
    states: list[State]
    reason: str | None
    since: str | None
    prefix: str | None
    stalled: bool
    dead_letters: str | None

    def require_one_way(self) -> None:
        """Raises ConfigError unless the jobs are chosen in one way, and narrowed only where that means something."""
        ways = [self.address, self.states, self.stalled, self.dead_letters]
        if sum(map(bool, ways)) != 1:
            raise ConfigError("replay", "takes one of gs://..., --state, --stalled and --from-dead-letter")
        if (self.address or self.dead_letters) and (self.reason or self.since or self.prefix):
            raise ConfigError("replay", "--reason, --since and --prefix narrow --state and --stalled only")


def replay_jobs(asked: Asked, plan: Plan, outbox: Path | None) -> int:
    """0, or 1 where what was named is left as it is, or a message is none of ours. Raises ConfigError."""
    asked.require_one_way()
    totals, strays = Totals(), 0
    words = (IN_OUTBOX if outbox else WORDS) | (MADE_ANEW if plan.fresh else {})
    if plan.fresh and not plan.dry_run:
        print(f"if this is stopped, go on with the same command and --run {plan.salt}", file=sys.stderr, flush=True)
    with desk(config.environ(), outbox) as tools, _steps(tools, asked, plan, outbox) as steps:
        for step in steps:
            if isinstance(step, Stray):
                strays += 1
                print(f"message {step.message_id}: left where it is: {shown(step.why)}", file=sys.stderr)
            else:
                totals.add(step, salt=plan.salt)
                print(_line(step, words, dry_run=plan.dry_run), flush=True)
        _print_totals(totals, strays, tools.usd_per_minute, dry_run=plan.dry_run)
    if asked.dead_letters and (totals.deeds.total() if plan.dry_run else 0) + strays >= MOST_LEFT:
        print(f"stopped after {MOST_LEFT} messages that stay where they are: there may be more", file=sys.stderr)
    if asked.address and not totals.deeds:
        print(f"{shown(asked.address)}: no record, and no object", file=sys.stderr)
    moved = any(totals.deeds[deed] for deed in MOVED)
    return 1 if strays or (asked.address and not moved) else 0


@contextmanager
def _steps(tools: Desk, asked: Asked, plan: Plan, outbox: Path | None) -> Iterator[Iterable[Step | Stray]]:
    if asked.dead_letters:
        if outbox:
            raise ConfigError("--from-dead-letter", "an OUTBOX has no subscriptions")
        with holding(config.environ(), asked.dead_letters) as (source, subscription):
            yield drain(tools, source, subscription, plan)
        return
    if asked.address:
        found = iter(by_name(tools, readings(asked.address, tools.source_bucket), fresh=plan.fresh))
    else:
        question = wanted(
            tools,
            states=asked.states,
            reason=asked.reason,
            after=asked.since,
            prefix=asked.prefix,
            stalled=asked.stalled,
        )
        found = stalled(tools, question) if asked.stalled else listed(tools, question, fresh=plan.fresh)
    yield replay(tools, found, plan)


def _line(step: Step, words: Mapping[Deed, str], *, dry_run: bool) -> str:
    name = shown(f"{step.job.uri}#{step.job.generation}") if step.job.name else "(forgotten)"
    if step.deed is None:
        return f"{name}: left alone: {shown(step.refusal)}"
    would_be = "would be " if dry_run and step.deed in MOVED else ""
    return f"{name}: {would_be}{words[step.deed].format(state=step.record.state if step.record else '')}"


def _print_totals(totals: Totals, strays: int, usd_per_minute: float | None, *, dry_run: bool) -> None:
    moved = sum(totals.deeds[deed] for deed in MOVED)
    left = f"{totals.deeds.total() - moved} left alone" + (f", {strays} messages left where they are" if strays else "")
    print(f"\n{'would be ' if dry_run else ''}delivered anew: {moved}; {left}")
    if moved:
        cost = "" if usd_per_minute is None else f", about ${totals.seconds / 60 * usd_per_minute:.4f}"
        unknown = f"; of {totals.unknown} nobody knows how long they are" if totals.unknown else ""
        print(f"to pay for: {totals.seconds:.0f} s of audio{cost}{unknown}")
