"""The day's budget, decided purely: what each process has set aside of it, and what one costs that was killed.

The law of this file: money is written down before it can be spent. A process sets a block aside, and within it a mark
goes ahead of what it spends; nobody spends past a mark. So the sum of the marks is never below what was spent, also
when processes die, and the sum of the blocks never above the limit. A block that nobody renews comes back, but for
what lies below its mark: that may have been on the wire. As in `decisions.py`, nothing here reads a clock but the
ledger's, and each decision recognises its own earlier success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from subscriber.verdict import Decision

__all__ = [
    "BLOCK_SECONDS",
    "BUDGET_SCHEMA_VERSION",
    "MAX_BLOCKS",
    "Allowance",
    "Block",
    "BlockRequest",
    "Day",
    "DecideDay",
    "Sizes",
    "block_sizes",
    "decide_block",
    "decide_return",
]

T = TypeVar("T")

BUDGET_SCHEMA_VERSION = 1
"""Version of the day's document. Of a newer one nothing is taken: a rollout brings a pod that can read it."""

BLOCK_SECONDS = 90.0
"""Life of a block without a renewal, as long as a claim's: so long a killed process keeps money from the others."""

MAX_BLOCKS = 200
"""Blocks at one time, some 200 bytes each: so many processes may spend at once; one more finds nothing left."""

STEP_ROUNDS = 16
"""Rounds of all slots that a step pays for: half a minute of work at 2 s an answer. Twenty busy pods then write the
document less than once a second, which is what Firestore advises for one document."""

STEPS_A_DAY = 200
"""A step is at most this part of the limit, so that a kill, which may waste one, costs at most half a percent of it."""

STEPS_A_BLOCK = 4
"""A block is set aside for two minutes of work: pods that near the limit do not race for it request by request."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one process has set aside, in US dollars; `spent_usd` is the mark: spent, or perhaps on the wire."""

    nonce: str
    owner: str
    usd: float
    spent_usd: float
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day (ISO 8601). `spent_usd` is what blocks of the past have cost; those at work come on top."""

    day: str
    spent_usd: float = 0.0
    blocks: tuple[Block, ...] = ()
    schema_version: int = BUDGET_SCHEMA_VERSION


DecideDay = Callable[[Day | None, datetime], Decision[T, Day]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is set aside at once, and how far the mark goes ahead, in US dollars."""

    block_usd: float
    step_usd: float


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What a process asks with. All money in US dollars.

    `nonce` names the block that it gets if it needs a new one, and stays the same until an answer has come. `held` is
    the block that it has, `spent_usd` what it took out of that one, `needs_usd` the worst cost of its next request.
    """

    nonce: str
    owner: str
    held: str | None
    spent_usd: float
    needs_usd: float
    limit_usd: float
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Allowance:
    """The block that may be spent from, up to its mark; None when too little is left. `remaining_usd` of the day."""

    block: Block | None
    remaining_usd: float


def block_sizes(limit_usd: float, request_usd: float, slots: int) -> Sizes:
    """By what the slots can spend and what the day allows; a step pays for one request at least."""
    step = max(request_usd, min(STEP_ROUNDS * slots * request_usd, limit_usd / STEPS_A_DAY))
    return Sizes(STEPS_A_BLOCK * step, step)


def decide_block(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    """Renew the block that is held and move its mark ahead, or settle it and set a new one aside."""
    if day and day.schema_version > BUDGET_SCHEMA_VERSION:
        return Decision(Allowance(None, 0.0))
    today = _as_of(day, now, ask.held)
    if made := _find(today, ask.nonce):
        return Decision(Allowance(made, _remaining(today, ask.limit_usd)))
    held = _find(today, ask.held)
    if held and ask.spent_usd + ask.needs_usd <= held.usd:
        return _granted(today, _moved(held, now, ask), ask)
    settled = _settled(today, held, ask.spent_usd)
    free = ask.limit_usd - settled.spent_usd - sum(block.usd for block in settled.blocks)
    if free < ask.needs_usd or len(settled.blocks) >= MAX_BLOCKS:
        return Decision(Allowance(None, _remaining(settled, ask.limit_usd)))
    fresh = Block(ask.nonce, ask.owner, min(max(ask.sizes.block_usd, ask.needs_usd), free), 0.0, now)
    return _granted(settled, _moved(fresh, now, replace(ask, spent_usd=0.0)), ask)


def decide_return(
    day: Day | None, now: datetime, *, held: str | None, spent_usd: float, limit_usd: float
) -> Decision[float, Day]:
    """Give the rest of a block back, if one is held; what remains of the day."""
    if day and day.schema_version > BUDGET_SCHEMA_VERSION:
        return Decision(0.0)
    today = _as_of(day, now, held)
    block = _find(today, held)
    settled = _settled(today, block, spent_usd)
    return Decision(_remaining(settled, limit_usd), settled if block else None)


def _as_of(day: Day | None, now: datetime, held: str | None) -> Day:
    """The day as it is now: what expired has cost its mark; at midnight UTC blocks at work go over into the new day.

    The block of whoever asks is renewed, also past its end: nobody knows better what it has cost.
    """
    today = now.date().isoformat()
    if day is None:
        return Day(today)
    live = tuple(block for block in day.blocks if now < block.expires_at or block.nonce == held)
    if day.day != today:
        return Day(today, blocks=live)
    lost = sum(block.spent_usd for block in day.blocks if block not in live)
    return replace(day, spent_usd=day.spent_usd + lost, blocks=live)


def _moved(block: Block, now: datetime, ask: BlockRequest) -> Block:
    """The block with its mark ahead of what is spent, and a new life."""
    ahead = ask.spent_usd + max(ask.sizes.step_usd, ask.needs_usd)
    return replace(block, spent_usd=min(ahead, block.usd), expires_at=now + timedelta(seconds=BLOCK_SECONDS))


def _settled(today: Day, held: Block | None, spent_usd: float) -> Day:
    """Without the block, whose owner tells what it has cost. One that expired has been counted by its mark."""
    if held is None:
        return today
    rest = tuple(block for block in today.blocks if block is not held)
    return replace(today, spent_usd=today.spent_usd + spent_usd, blocks=rest)


def _granted(today: Day, block: Block, ask: BlockRequest) -> Decision[Allowance, Day]:
    others = tuple(other for other in today.blocks if other.nonce != block.nonce)
    written = replace(today, blocks=(*others, block))
    return Decision(Allowance(block, _remaining(written, ask.limit_usd)), written)


def _remaining(today: Day, limit_usd: float) -> float:
    """What is neither spent nor perhaps on the wire. Never below 0, also after the limit was lowered."""
    return max(0.0, limit_usd - today.spent_usd - sum(block.spent_usd for block in today.blocks))


def _find(today: Day, nonce: str | None) -> Block | None:
    return next((block for block in today.blocks if block.nonce == nonce), None)
