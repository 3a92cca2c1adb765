"""The daemons of a run: each reaches its neighbours through valves, and a fallen one is replaced at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from subscriber.whisper_server import Server
from tests.chaos.files import CHUNK_SECONDS
from tests.daemon import Daemon, command_environ
from tests.valve import Valve
from tests.world import World

__all__ = ["CLAIM_SECONDS", "SLOTS", "Troupe"]

SLOTS = 3
CLAIM_SECONDS = 4.0
LEASE_SECONDS = 10

NEIGHBOURS = ("pubsub", "firestore", "gcs", "whisper")


class Troupe:
    """`size` daemons in one world with one provider. `fallen` keeps those that were told to stop."""

    def __init__(self, world: World, provider: Server, size: int) -> None:
        self._world = world
        self._provider = provider
        self._open = ExitStack()
        self.valves: Mapping[str, Valve] = {}
        self.daemons: list[Daemon] = []
        self.asleep: dict[Daemon, float] = {}
        self.drained: list[Daemon] = []
        self._size = size

    def __enter__(self) -> Self:
        servers = self._world.emulators
        targets = {
            "pubsub": servers.pubsub_host,
            "firestore": servers.firestore_host,
            "gcs": servers.storage_url.removeprefix("http://"),
            "whisper": self._provider.url.removeprefix("http://"),
        }
        self.valves = {name: self._open.enter_context(Valve(target)) for name, target in targets.items()}
        self.daemons = [self._start() for _ in range(self._size)]
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def replace(self, old: Daemon) -> None:
        """Have a new one take its place."""
        self.asleep.pop(old, None)
        self.daemons[self.daemons.index(old)] = self._start()

    def put_to_sleep(self, daemon: Daemon, seconds: float) -> None:
        """SIGSTOP; `wake` is to end it after so long."""
        daemon.stop()
        self.asleep[daemon] = time.monotonic() + seconds

    def wake(self, *, all_of_them: bool = False) -> None:
        """SIGCONT for each whose time is over."""
        for daemon, until in list(self.asleep.items()):
            if all_of_them or time.monotonic() >= until:
                del self.asleep[daemon]
                daemon.cont()

    def _start(self) -> Daemon:
        environ = command_environ(
            self._world,
            f"http://{self.valves['whisper'].address}",
            ack_lease_seconds=LEASE_SECONDS,
            chunk_seconds=CHUNK_SECONDS,
            claim_seconds=CLAIM_SECONDS,
            firestore_emulator_host=self.valves["firestore"].address,
            language="en",
            max_attempts=100,
            pubsub_emulator_host=self.valves["pubsub"].address,
            retry_max_seconds=2,
            retry_min_seconds=0.5,
            shutdown_grace_seconds=8,
            storage_emulator_host=f"http://{self.valves['gcs'].address}",
            whisper_concurrency=SLOTS,
        )
        daemon = Daemon(environ)
        self._open.callback(daemon.end)
        return daemon
