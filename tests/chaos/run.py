"""One run, from the first upload to the account."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from subscriber.emulators import Emulators
from subscriber.model import State
from subscriber.whisper_server import Control, Server, StubEngine
from tests.chaos.account import Account, account
from tests.chaos.files import uploads
from tests.chaos.hand import Hand
from tests.chaos.troupe import LEASE_SECONDS, SLOTS, Troupe
from tests.daemon import until
from tests.process.scenes import silent_for
from tests.world import World, new_world

__all__ = ["Plan", "run"]

LATENCY_SECONDS = 0.3
"""Of the provider: long enough that something is on the wire whenever the hand falls."""

SETTLED_SECONDS = 240.0
"""For all records to be final at the end. The emulator of Firestore lets a killed claimer's lock stand for 60 s."""

REST_SECONDS = LEASE_SECONDS + 2.0
"""After so long without a delivery, what a killed process had leased has come again."""


@dataclass(frozen=True)
class Plan:
    """What a run is made of; the hand's `deeds` are spread over the uploads."""

    seed: int
    files: int = 8
    deeds: int = 16
    daemons: int = 3


def run(plan: Plan, emulators: Emulators, say: Callable[[str], None] = print) -> Account:
    """Do it, and print one table."""
    chance = random.Random(plan.seed)  # noqa: S311 - no secret
    files = uploads(chance, plan.files)
    with (
        Server(StubEngine(LATENCY_SECONDS), control=True) as provider,
        new_world(emulators, LEASE_SECONDS) as world,
        Troupe(world, provider, plan.daemons) as troupe,
    ):
        control = Control(provider.url)
        hand = Hand(plan.seed, world, troupe, control)
        for number, file in enumerate(files):
            hand.upload(file)
            for _ in range(number * plan.deeds // len(files), (number + 1) * plan.deeds // len(files)):
                hand.act()
        hand.heal()
        live = {one.name: (hand.generations[one.name], one) for one in files}
        _settle(world, troupe, hand.uploaded)
        status = control.status()
        found = account(world, live, status["bodies"], status["transcribed_bodies"])
        found.must(silent_for(world.queue, REST_SECONDS), "the subscription is empty")
    excusable = _excusable(hand, plan.daemons)
    found.must(found.repaid <= excusable, f"{found.repaid} chunks were paid again, {excusable} can be excused")
    for line in _table(plan, hand, found, excusable):
        say(line)
    return found


def _settle(world: World, troupe: Troupe, uploaded: set[tuple[str, int]]) -> None:
    """Wait until every record is final and no delivery has come for a while; then stop all, in good order."""

    def final() -> bool:
        records = [one for one in world.records().values() if State(str(one["state"])).final]
        return {(str(one["name"]), one["generation"]) for one in records} == uploaded

    until(final, "every upload is settled", SETTLED_SECONDS)
    seen, since = -1.0, time.monotonic()

    def rests() -> bool:
        nonlocal seen, since
        busy = sum(one.metrics("jobs_in_flight") + one.metrics("jobs_parked") for one in troupe.daemons)
        arrived = sum(one.metrics("deliveries_total") for one in troupe.daemons)
        if busy or arrived != seen:
            seen, since = arrived, time.monotonic()
        return time.monotonic() - since > REST_SECONDS

    until(rests, "deliveries cease", SETTLED_SECONDS)
    for daemon in troupe.daemons:
        daemon.term()
    for daemon in troupe.daemons:
        assert daemon.exit_code() == 0, "a drain ends with exit code 0"


def _excusable(hand: Hand, daemons: int) -> int:
    """How many chunks may have been paid twice: what can be on the wire when a process dies, sleeps, or is cut off."""
    lonely = hand.deeds["kill"] + hand.deeds["pause"]
    return SLOTS * (lonely + daemons * (hand.deeds["cut whisper"] + hand.deeds["swallow whisper"]))


def _table(plan: Plan, hand: Hand, found: Account, excusable: int) -> list[str]:
    done = ", ".join(f"{times} {name}" for name, times in sorted(hand.deeds.items()))
    rows = {
        "seed": f"{plan.seed} (files {plan.files}, deeds {plan.deeds}, daemons {plan.daemons})",
        "done to them": done,
        "records": ", ".join(f"{times} {state}" for state, times in sorted(found.states.items())),
        "chunks, requests": f"{found.chunks}, {found.requests}",
        "paid again": f"{found.repaid}, at most {excusable} excusable",
        "not as promised": "; ".join(found.wrong) or "nothing",
    }
    return [f"{name:<16}  {value}" for name, value in rows.items()]
