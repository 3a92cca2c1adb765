"""A provider that does as it is told, and a world with a daemon for tests whose objects do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from subscriber.emulators import Emulators
from subscriber.whisper_server import Control, Server
from tests.daemon import Daemon
from tests.process.scenes import Scene
from tests.world import World, new_world


@pytest.fixture(scope="module")
def common_world(emulators: Emulators) -> Iterator[World]:
    """A world for all tests of a file."""
    with new_world(emulators) as made:
        yield made


@pytest.fixture(scope="module")
def common_scene(common_world: World, server: Server) -> Iterator[Scene]:
    """One scene for all tests of a file; they use names of their own and leave no fault behind."""
    control = Control(server.url)
    control.reset()
    with Scene(common_world, server.url, control) as made:
        yield made
    control.reset()


@pytest.fixture(scope="module")
def common_daemon(common_scene: Scene) -> Daemon:
    """One daemon for all tests of a file; it gives a recording up after its second failure."""
    output = f"{common_scene.world.output}/texts"
    started = common_scene.start(output=output, max_attempts=2, retry_min_seconds=0.1, retry_max_seconds=1)
    started.ready()
    return started


@pytest.fixture
def no_fault_is_left(common_scene: Scene) -> Iterator[None]:
    """However a test of a shared daemon ends, the next one meets a provider that is well."""
    yield
    common_scene.control.reset()
