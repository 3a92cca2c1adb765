"""A daemon whose neighbours each stand behind something that sees all calls, and can be told to spoil them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from subscriber.emulators import Emulators
from subscriber.whisper_server import Control, Server
from tests.daemon import Daemon, command_environ
from tests.front import Front
from tests.process.scenes import Scene
from tests.relay import Relay
from tests.world import new_world

__all__ = ["Street", "new_street"]


@dataclass
class Street:
    """The daemon, and what stands before Pub/Sub, Firestore and Cloud Storage."""

    scene: Scene
    daemon: Daemon
    pubsub: Relay
    firestore: Relay
    gcs: Front


@contextmanager
def new_street(
    emulators: Emulators,
    server: Server,
    *,
    module: Sequence[str] = ("subscriber", "run"),
    lease_seconds: int = 60,
    **settings: object,
) -> Iterator[Street]:
    """A daemon (`python -m MODULE`) with these settings, in a world of its own, until the end of the block."""
    with ExitStack() as stack:
        world = stack.enter_context(new_world(emulators, lease_seconds))
        scene = Scene(world, server.url, Control(server.url))
        scene.control.reset()
        pubsub = stack.enter_context(Relay(world.emulators.pubsub_host))
        firestore = stack.enter_context(Relay(world.emulators.firestore_host))
        gcs = stack.enter_context(Front(world.emulators.storage_url))
        environ = command_environ(
            world,
            server.url,
            ack_lease_seconds=lease_seconds,
            firestore_emulator_host=firestore.address,
            pubsub_emulator_host=pubsub.address,
            storage_emulator_host=gcs.url,
            **settings,
        )
        daemon = Daemon(environ, module)
        stack.callback(daemon.end)
        daemon.ready()
        yield Street(scene, daemon, pubsub, firestore, gcs)
