"""The purse of one process: it spends what the ledger has set aside for it, and stops when the day's budget is gone.

The law of this file: nothing is taken beyond the mark of our block, nor after the block's end on our own clock, which
is counted from before it was asked for. Where the ledger does not answer, nothing more is taken than what it allowed.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from subscriber.budget_decisions import (
    BLOCK_SECONDS,
    Allowance,
    Block,
    BlockRequest,
    Day,
    block_sizes,
    decide_block,
    decide_return,
)
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown, SubscriberError
from subscriber.lease import RENEWALS_A_TERM, Keeper
from subscriber.metrics import Metrics
from subscriber.ports import BudgetLedger
from subscriber.verdict import Decision

__all__ = ["BudgetPurse", "BudgetTerms"]

RETURN_SECONDS = 2.0
"""How long an ending process waits at most for its block to be returned: one transaction. Else it expires."""


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """The day's limit, the most that one request costs (US dollars), and how many may be on the wire."""

    limit_usd: float
    request_usd: float
    slots: int


class BudgetPurse(Keeper):
    """A `Purse` for all threads. Its own one renews the block while it is used, and returns it when it is not."""

    def __init__(self, ledger: BudgetLedger, terms: BudgetTerms, owner: str, drain: Drain, metrics: Metrics) -> None:
        super().__init__("budget", BLOCK_SECONDS / RENEWALS_A_TERM, metrics)
        self._ledger = ledger
        self._terms = terms
        self._sizes = block_sizes(terms.limit_usd, terms.request_usd, terms.slots)
        self._owner = owner
        self._drain = drain
        self._block: Block | None = None
        self._next_nonce = uuid.uuid4().hex
        self._ends_at = 0.0
        self._taken = 0.0
        self._used = False
        self._turnstile = threading.Lock()  # one transaction at a time; whoever waits finds what it brought
        self._counting = threading.Lock()
        self._remaining_usd = terms.limit_usd
        self._gauge = metrics.show_budget()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._thread.join(min(RETURN_SECONDS, self._drain.remaining_seconds()))

    def check(self) -> None:
        """Prove that a request could be paid for. Raises NeighbourDown."""
        self._probe(self._terms.request_usd)

    def take(self, usd: float) -> None:
        """See `transcribe.paying.Purse`."""
        with self._turnstile:
            while not self._covers(usd):
                if not self._reserve(usd):
                    raise self._used_up(usd)
            with self._counting:
                self._taken += usd
            self._used = True

    def give_back(self, usd: float) -> None:
        """See `transcribe.paying.Purse`. Never waits for the ledger: a paid answer is to be stored first."""
        with self._counting:
            self._taken -= usd

    def turn(self) -> None:
        """Renew the block if it is in use, else return it; either way see what remains of the day."""
        try:
            with self._turnstile:
                if not (self._block and self._used and self._reserve(0.0)):
                    self._return()
        except SubscriberError as error:
            self._log.warning("budget_renewal_failed", error=str(error))
        else:
            self._last_success = time.monotonic()

    def _run(self) -> None:
        super()._run()
        self._used = False
        self.turn()

    def _covers(self, usd: float) -> bool:
        """Whether the ledger has allowed for it already."""
        block = self._block if time.monotonic() < self._ends_at else None
        return block is not None and self._taken + usd <= block.spent_usd

    def _reserve(self, usd: float) -> bool:
        """Have a mark that goes so far ahead; False when too little is left. Raises NeighbourDown."""
        asked_at, ends_at, ask = time.monotonic(), self._ends_at, self._request(usd)
        self._ends_at = 0.0  # until an answer has come, nobody knows whether our block is still ours
        allowance = self._ledger.transact_budget(partial(decide_block, ask=ask))
        self._show(allowance.remaining_usd)
        if allowance.block is None:
            self._ends_at = ends_at
            return False
        if allowance.block.nonce == self._next_nonce:
            self._settled(ask.held, ask.spent_usd)
            self._next_nonce = uuid.uuid4().hex
        self._block = allowance.block
        self._ends_at = asked_at + BLOCK_SECONDS
        self._used = False
        return True

    def _return(self) -> None:
        """Settle the block, if there is one. Raises NeighbourDown."""
        held, spent = self._held(), self._taken
        self._ends_at = 0.0
        decide = partial(decide_return, held=held, spent_usd=spent, limit_usd=self._terms.limit_usd)
        self._show(self._ledger.transact_budget(decide))
        self._settled(held, spent)
        self._block = None

    def _settled(self, held: str | None, spent_usd: float) -> None:
        """The ledger has counted a block. What answers have given back since is carried into the next one."""
        with self._counting:
            self._taken -= spent_usd if held else 0.0

    def _probe(self, usd: float) -> None:
        """See whether so much could be had, without having it. Raises NeighbourDown."""

        def look(day: Day | None, now: datetime) -> Decision[Allowance, Day]:
            return Decision(decide_block(day, now, ask).answer)

        with self._turnstile:
            ask = self._request(usd)
            allowance = self._ledger.transact_budget(look)
        self._show(allowance.remaining_usd)
        if allowance.block is None:
            raise self._used_up(usd)

    def _request(self, usd: float) -> BlockRequest:
        return BlockRequest(
            nonce=self._next_nonce,
            owner=self._owner,
            held=self._held(),
            spent_usd=self._taken,
            needs_usd=usd,
            limit_usd=self._terms.limit_usd,
            sizes=self._sizes,
        )

    def _held(self) -> str | None:
        return self._block.nonce if self._block else None

    def _used_up(self, usd: float) -> NeighbourDown:
        left = f"{self._remaining_usd:.4f} of {self._terms.limit_usd:.2f} USD are left today"
        return NeighbourDown(
            "budget", "budget", f"{left}, a request may cost {usd:.4f}", probe=partial(self._probe, usd)
        )

    def _show(self, remaining_usd: float) -> None:
        self._remaining_usd = remaining_usd
        self._gauge.set(remaining_usd)
