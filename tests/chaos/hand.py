"""The hand that does the damage: what it does and in which order is its seed's."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from subscriber.whisper_server import Control
from tests.chaos.files import Upload
from tests.chaos.troupe import CLAIM_SECONDS, Troupe
from tests.daemon import PATIENCE_SECONDS, Daemon, until
from tests.valve import Valve
from tests.world import World

__all__ = ["Hand"]

PACE_SECONDS = (0.2, 1.5)
"""Between two deeds, unless more requests come sooner."""

SLEEP_SECONDS = (CLAIM_SECONDS + 1, CLAIM_SECONDS + 4)
"""How long a daemon is stopped: past its claims."""

CUT_SECONDS = (0.5, 6.0)
"""How long a neighbour is away."""


class Hand:
    """Does one deed after the other; `deeds` counts them by name."""

    def __init__(self, seed: int, world: World, troupe: Troupe, control: Control) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._world = world
        self._troupe = troupe
        self._control = control
        self._away: dict[str, float] = {}
        self._notices: list[dict[str, str]] = []
        self._deeds: dict[str, tuple[int, Callable[[], object]]] = {
            "kill": (3, self._kill),
            "stop": (3, self._stop),
            "pause": (2, self._pause),
            "repeat": (4, self._repeat),
            "cut": (2, self._cut),
            "swallow": (1, self._swallow),
            "fault": (3, self._fault),
        }
        self.deeds: Counter[str] = Counter()
        self.generations: dict[str, int] = {}
        self.uploaded: set[tuple[str, int]] = set()

    def upload(self, upload: Upload) -> None:
        """Put a file into the bucket, which notifies."""
        generation = self._world.upload(upload.name, upload.data)
        self.generations[upload.name] = generation
        self.uploaded.add((upload.name, generation))
        self._notices.append(self._world.notification(upload.name, generation))
        self.deeds["upload"] += 1

    def act(self) -> None:
        """One deed, then as much time as the seed says or a few requests take."""
        names = list(self._deeds)
        name = self._chance.choices(names, [self._deeds[name][0] for name in names])[0]
        if self._deeds[name][1]() is None:
            self.deeds[name] += 1
        self._wait(self._chance.uniform(*PACE_SECONDS))

    def heal(self) -> None:
        """Bring everything back: from here on nothing fails."""
        self._control.mode(None)
        for name in list(self._away):
            self._bring_back(name)
        self._troupe.wake(all_of_them=True)

    def _wait(self, seconds: float) -> None:
        """Until more requests have come or the time is over; what was to end by now ends."""
        received = self._control.status()["received"]
        with suppress(TimeoutError):
            self._control.wait_for_requests(received + 4, seconds)
        self._troupe.wake()
        for name, back_at in list(self._away.items()):
            if time.monotonic() >= back_at:
                self._bring_back(name)

    def _bring_back(self, name: str) -> None:
        del self._away[name]
        self._troupe.valves[name].open()

    def _victim(self) -> Daemon:
        return self._chance.choice([one for one in self._troupe.daemons if one not in self._troupe.asleep])

    def _kill(self) -> None:
        victim = self._victim()
        victim.kill()
        self._troupe.replace(victim)

    def _stop(self) -> None:
        """SIGTERM; what it leaves goes to its successor. One that has not logged yet may not listen for signals yet."""
        victim = self._victim()
        until(lambda: bool(victim.log), "it has logged")
        victim.term()
        self._troupe.replace(victim)
        assert victim.exit_code(PATIENCE_SECONDS) == 0, "a drain ends with exit code 0"

    def _pause(self) -> None:
        """SIGSTOP past its claims, unless it would be the last one."""
        if len(self._troupe.asleep) + 1 < len(self._troupe.daemons):
            self._troupe.put_to_sleep(self._victim(), self._chance.uniform(*SLEEP_SECONDS))

    def _repeat(self) -> None:
        """Notifications come again, in another order."""
        for notice in self._chance.sample(self._notices, min(3, len(self._notices))):
            self._world.publish_again(notice)

    def _cut(self) -> None:
        self._take_away("cut").cut()

    def _swallow(self) -> None:
        self._take_away("swallow").swallow()

    def _take_away(self, how: str) -> Valve:
        name = self._chance.choice(list(self._troupe.valves))
        self._away[name] = time.monotonic() + self._chance.uniform(*CUT_SECONDS)
        self.deeds[f"{how} {name}"] += 1
        return self._troupe.valves[name]

    def _fault(self) -> None:
        self._control.fault(self._chance.choice(("server_error", "rate_limit", "html")), retry_after=1)
