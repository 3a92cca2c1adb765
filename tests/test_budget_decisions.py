"""The day's budget row by row, and through a thousand random histories.

Processes take money, answers come back cheaper than feared, processes die, freeze past their block's end, lose the
ledger's answers and start anew; the day turns; their clocks run fast or slow. What they have really spent is counted
beside it. The last tests break a decision on purpose: histories that found nothing then would prove nothing now.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from subscriber.budget_decisions import (
    BLOCK_SECONDS,
    BUDGET_SCHEMA_VERSION,
    MAX_BLOCKS,
    STEPS_A_DAY,
    Allowance,
    Block,
    BlockRequest,
    Day,
    Sizes,
    block_sizes,
    decide_block,
    decide_return,
)
from subscriber.documents import day_from_document, day_to_document
from subscriber.verdict import Decision

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
LIFE = timedelta(seconds=BLOCK_SECONDS)
LIMIT = 100
CHUNK = 3
SIZES = Sizes(block_usd=16, step_usd=4)
ASK = BlockRequest("next", "this pod", None, 0, CHUNK, LIMIT, SIZES)
"""Whole dollars, so that sums are exact."""


def block(nonce: str = "held", usd: float = 16, spent: float = 4, ends_in: timedelta = LIFE) -> Block:
    return Block(nonce, "a pod", usd, spent, NOON + ends_in)


def today(spent: float = 0, *blocks: Block) -> Day:
    return Day("2026-11-22", spent, blocks)


def test_the_first_of_the_day_sets_a_block_aside_and_may_spend_a_step_of_it() -> None:
    decided = decide_block(None, NOON, ASK)
    fresh = Block("next", "this pod", 16, 4, NOON + LIFE)
    assert decided == Decision(Allowance(fresh, LIMIT - 4), today(0, fresh))


def test_a_mark_moves_ahead_of_what_is_spent_and_the_block_lives_anew() -> None:
    ask = replace(ASK, held="held", spent_usd=5)
    allowed = decide_block(today(50, block(spent=6, ends_in=timedelta(seconds=1))), NOON, ask).answer.block
    assert allowed == replace(block(), owner="a pod", spent_usd=9)


def test_a_block_that_is_used_up_is_settled_by_what_it_has_cost_and_the_next_one_set_aside() -> None:
    decided = decide_block(today(50, block(spent=16)), NOON, replace(ASK, held="held", spent_usd=14))
    assert decided.write
    assert decided.write.spent_usd == 64
    assert [one.nonce for one in decided.write.blocks] == ["next"]


@pytest.mark.parametrize(
    "day",
    [today(98), today(0, block("a", 50), block("b", 48)), today(0, *[block(str(n), 0, 0) for n in range(MAX_BLOCKS)])],
    ids=["spent", "set aside", "too many blocks"],
)
def test_without_enough_for_the_request_nothing_is_set_aside_and_nothing_written(day: Day) -> None:
    decided = decide_block(day, NOON, ASK)
    assert (decided.answer.block, decided.write) == (None, None)


def test_the_last_block_is_as_small_as_what_is_left() -> None:
    allowed = decide_block(today(96), NOON, ASK).answer
    assert allowed.block
    assert (allowed.block.usd, allowed.block.spent_usd, allowed.remaining_usd) == (4, 4, 0)


def test_a_killed_process_costs_its_mark_once_its_block_has_expired_and_the_rest_comes_back() -> None:
    dead = today(80, block(usd=20, spent=4))
    assert decide_block(dead, NOON, ASK).answer.block is None
    allowed = decide_block(dead, NOON + LIFE, ASK)
    assert allowed.answer.block
    assert allowed.write
    assert allowed.write.spent_usd == 84


def test_a_block_whose_owner_comes_back_late_is_renewed_while_nobody_has_counted_it() -> None:
    late = NOON + 10 * LIFE
    renewed = decide_block(today(0, block()), late, replace(ASK, held="held", spent_usd=4))
    assert renewed.answer.block
    assert renewed.answer.block.nonce == "held"
    taken = decide_block(today(0, block()), late, ASK).write
    assert taken
    again = decide_block(taken, late, replace(ASK, nonce="third", held="held", spent_usd=4)).write
    assert again
    assert again.spent_usd == 4, "counted once"


def test_at_midnight_utc_the_day_is_new_and_blocks_at_work_go_over_into_it() -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    live, dead = replace(block("live"), expires_at=midnight + LIFE), block("dead", ends_in=timedelta())
    decided = decide_block(today(LIMIT, live, dead), midnight, ASK)
    assert decided.write
    assert (decided.write.day, decided.write.spent_usd) == ("2026-11-23", 0)
    assert {one.nonce for one in decided.write.blocks} == {"live", "next"}


def test_what_is_returned_is_there_for_others_at_once() -> None:
    decided = decide_return(today(50, block(usd=50)), NOON, held="held", spent_usd=1, limit_usd=LIMIT)
    assert decided == Decision(49, today(51))
    assert decide_return(decided.write, NOON, held="held", spent_usd=1, limit_usd=LIMIT) == Decision(49, None)


def test_a_higher_limit_counts_at_once_and_a_lower_one_stops_the_next_block() -> None:
    assert decide_block(today(LIMIT), NOON, replace(ASK, limit_usd=LIMIT + 10)).answer.block
    assert decide_block(today(50), NOON, replace(ASK, limit_usd=40)).answer == Allowance(None, 0.0)


@pytest.mark.parametrize(
    "document",
    [
        {"schema_version": BUDGET_SCHEMA_VERSION + 1, "day": "2026-11-22"},
        {"day": 17},
        {"day": "2026-11-22", "spent_usd": float("nan")},
        {"day": "2026-11-22", "blocks": "none"},
        {"day": "2026-11-22", "blocks": [{"nonce": "n"}]},
        {"day": "2026-11-22", "blocks": [day_to_document(today(0, block()))["blocks"][0] | {"expires_at": "noon"}]},
        {"day": "2026-11-22", "blocks": [day_to_document(today(0, block()))["blocks"][0] | {"usd": float("-inf")}]},
    ],
)
def test_of_a_day_that_we_cannot_read_nothing_is_spent_and_nothing_changed(document: dict[str, Any]) -> None:
    day = day_from_document(document)
    assert decide_block(day, NOON, ASK) == Decision(Allowance(None, 0.0), None)
    assert decide_return(day, NOON, held="held", spent_usd=1, limit_usd=LIMIT).write is None


def test_a_day_survives_the_way_to_the_ledger_and_back() -> None:
    day = today(1.25, block(), block("other", 0.1, 0.1))
    assert day_from_document(day_to_document(day)) == day
    assert day_from_document(json.loads(json.dumps(day_to_document(day), default=datetime.isoformat))) == day
    assert day_from_document(day_to_document(day) | {"mood": "good"}) == day


def test_a_full_document_stays_far_below_firestores_limit() -> None:
    crowd = today(1.0, *[Block("n" * 32, "h" * 253 + "/12345678", 1.0, 1.0, NOON) for _ in range(MAX_BLOCKS)])
    assert len(json.dumps(day_to_document(crowd), default=datetime.isoformat)) < 200_000


@pytest.mark.parametrize("limit", [0.01, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("slots", [1, 8, 256])
def test_ten_kills_cost_at_most_a_twentieth_of_the_day_or_ten_requests(limit: float, slots: int) -> None:
    request = 0.003
    sizes = block_sizes(limit, request, slots)
    assert request <= sizes.step_usd <= max(request, limit / STEPS_A_DAY)
    assert 10 * sizes.step_usd <= max(limit / 20, 10 * request)
    assert 10 * sizes.block_usd <= max(limit / 5, 40 * request)


SLOW = 0.5
TIGHT = replace(ASK, limit_usd=24, sizes=Sizes(block_usd=14, step_usd=7))
"""So little that most histories reach the limit."""


@dataclass(eq=False)
class Process:
    """One pod's purse, without its threads: what it holds, what it took, and until when by its own clock."""

    name: str
    pace: float
    """How fast its clock runs. A fast one only stops too early; a slow one believes in a block that has expired."""
    held: Block | None = None
    asks: int = 0
    taken: int = 0
    left_seconds: float = 0.0
    on_the_wire: int = 0


class Days:
    """One random history: a ledger in memory with a clock of its own, and the processes that spend."""

    # Named here, so that a test can break them.
    decide_block: ClassVar[Callable[..., Decision[Allowance, Day]]] = staticmethod(decide_block)
    decide_return: ClassVar[Callable[..., Decision[float, Day]]] = staticmethod(decide_return)

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.now = NOON
        self.day: Day | None = None
        self.limit = self.highest_limit = int(TIGHT.limit_usd)
        self.processes = [Process(f"pod {n}", self.chance.choice([1.0, 1.3])) for n in range(3)]
        if seed % 2:
            self.processes[0].pace = SLOW
        self.over_midnight = seed % 2 * TIGHT.sizes.step_usd
        self.spent: Counter[str] = Counter()
        self.deeds = Counter[str]()

    def live(self, steps: int) -> None:
        """Take so many steps, and look at the promises after each."""
        deeds: dict[Callable[[Process], None], int] = {
            self.a_request_is_sent: 60,
            self.an_answer_is_cheaper_than_feared: 15,
            self.time_passes: 12,
            self.a_block_is_returned: 3,
            self.a_process_is_killed_and_another_started: 3,
            self.midnight_is_near: 2,
            self.a_restart_changes_the_limit: 1,
        }
        for deed in self.chance.choices(list(deeds), list(deeds.values()), k=steps):
            deed(self.chance.choice(self.processes))
            self.deeds[deed.__name__] += 1
            self.no_day_costs_more_than_its_limit()
            self.what_nobody_can_have_spent_comes_back()

    def transact(self, decide: Callable[[Day | None, datetime], Decision[Any, Day]]) -> Any:
        """What a ledger does, and what it does again when it does not hear of its commits."""
        decided = decide(self.day, self.now)
        self.day = decided.write or self.day
        while decided.write and self.chance.random() < 0.2:
            again = decide(self.day, self.now)
            assert again.answer == decided.answer, "a decision does not recognise its own commit"
            self.day = again.write or self.day
        return decided.answer

    def a_request_is_sent(self, one: Process) -> None:
        covered = one.held and one.left_seconds > 0 and one.taken + CHUNK <= one.held.spent_usd
        if covered or self.reserve(one):
            one.taken += CHUNK
            one.on_the_wire += 1
            self.spent[self.now.date().isoformat()] += CHUNK

    def reserve(self, one: Process) -> bool:
        nonce, held = f"{one.name}/{one.asks}", one.held.nonce if one.held else None
        ask = replace(TIGHT, nonce=nonce, held=held, spent_usd=one.taken, limit_usd=self.limit)
        allowed = self.transact(lambda day, now: type(self).decide_block(day, now, ask)).block
        if allowed is None:
            self.deeds["refused"] += 1
            return False
        if allowed.nonce == nonce:
            one.taken, one.asks = 0, one.asks + 1
        one.held, one.left_seconds = allowed, BLOCK_SECONDS
        assert one.taken + CHUNK <= allowed.spent_usd, "an allowance does not cover what it was asked for"
        return True

    def an_answer_is_cheaper_than_feared(self, one: Process) -> None:
        less = self.chance.randint(0, CHUNK)
        if one.on_the_wire:
            one.on_the_wire -= 1
            one.taken -= less
            self.spent[self.now.date().isoformat()] -= less

    def a_block_is_returned(self, one: Process) -> None:
        told = {"held": one.held and one.held.nonce, "spent_usd": one.taken, "limit_usd": self.limit}
        self.transact(lambda day, now: type(self).decide_return(day, now, **told))
        one.held, one.taken = None, 0 if one.held else one.taken

    def a_process_is_killed_and_another_started(self, one: Process) -> None:
        self.processes[self.processes.index(one)] = Process(f"{one.name}'", one.pace)

    def time_passes(self, _: Process, seconds: float = 0) -> None:
        seconds = seconds or self.chance.choice([1, 29, 60, 89, 90, 91, 600])
        self.now += timedelta(seconds=seconds)
        for one in self.processes:
            one.left_seconds -= seconds * one.pace

    def midnight_is_near(self, one: Process) -> None:
        until = self.now.replace(hour=23, minute=59, second=30) - self.now
        if until > timedelta(hours=1):
            self.time_passes(one, until.total_seconds())

    def a_restart_changes_the_limit(self, _: Process) -> None:
        self.limit = int(TIGHT.limit_usd) + self.chance.choice([-10, 0, 10])
        self.highest_limit = max(self.highest_limit, self.limit)

    def no_day_costs_more_than_its_limit(self) -> None:
        """Or than the highest, if it was changed. Over midnight a slow clock may spend what is left below its mark."""
        for day, spent in self.spent.items():
            first = day == NOON.date().isoformat()
            assert spent <= self.highest_limit + (0 if first else self.over_midnight), "more was spent"

    def what_nobody_can_have_spent_comes_back(self) -> None:
        """Once all blocks have expired, only marks are kept back, and those are a step ahead of the truth at most."""
        if self.day and (self.now + LIFE).date().isoformat() == self.day.day:
            marks = sum(one.spent_usd for one in self.day.blocks)
            left = decide_return(self.day, self.now + LIFE, held=None, spent_usd=0, limit_usd=1000).answer
            assert left == 1000 - self.day.spent_usd - marks, "a dead process keeps money from the others"


def run(world: type[Days], histories: int) -> Counter[str]:
    """How often each deed was done in all."""
    deeds = Counter[str]()
    for seed in range(histories):
        history = world(seed)
        history.live(steps=100)
        deeds += history.deeds
    return deeds


def test_no_history_spends_more_than_the_day_allows() -> None:
    deeds = run(Days, 1000)
    assert len(deeds) == 8
    assert deeds["refused"] > 5000, "or the limit would not have been met"


def _without_marks(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    """A block may be spent whole, but a dead one costs nothing."""
    decided = decide_block(day and _unmarked(day), now, ask)
    given = decided.answer.block
    return Decision(replace(decided.answer, block=given and replace(given, spent_usd=given.usd)), decided.write)


def _unmarked(day: Day) -> Day:
    return replace(day, blocks=tuple(replace(one, spent_usd=0) for one in day.blocks))


def _blind_to_others(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    mine = day and replace(day, blocks=tuple(one for one in day.blocks if one.nonce in {ask.held, ask.nonce}))
    return decide_block(mine, now, ask)


def _forgetful(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    return decide_block(day, now, replace(ask, spent_usd=0))


def _always_new(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    renamed = day and replace(day, blocks=tuple(replace(one, nonce="?") for one in day.blocks if one.nonce != ask.held))
    return decide_block(renamed, now, ask)


def _early(day: Day | None, now: datetime, ask: BlockRequest) -> Decision[Allowance, Day]:
    """Yesterday's blocks at work are forgotten at midnight."""
    turned = day is not None and day.day != now.date().isoformat()
    return decide_block(None if turned else day, now, ask)


def _gives_all_back(day: Day | None, now: datetime, **told: Any) -> Decision[float, Day]:
    return decide_return(day, now, **(told | {"spent_usd": 0}))


@pytest.mark.parametrize(
    ("decision", "broken", "complaint"),
    [
        ("decide_block", _without_marks, "more was spent|own commit"),
        ("decide_block", _blind_to_others, "more was spent"),
        ("decide_block", _forgetful, "more was spent|does not cover"),
        ("decide_block", _always_new, "does not recognise its own commit|more was spent"),
        ("decide_block", _early, "more was spent"),
        ("decide_return", _gives_all_back, "more was spent"),
    ],
    ids=["marks", "others", "spent", "nonce", "midnight", "return"],
)
def test_a_broken_decision_is_found(decision: str, broken: Callable[..., object], complaint: str) -> None:
    broken_days = type("Broken", (Days,), {decision: staticmethod(broken)})
    with pytest.raises(AssertionError, match=complaint):
        run(broken_days, 1000)
