"""Real emulators and a stub of a Whisper for the whole session, and names of its own for every test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from google.cloud import pubsub_v1, storage  # type: ignore[attr-defined]

from subscriber import emulators as servers
from subscriber.emulators import Emulators, EmulatorsMissing
from subscriber.whisper_server import Control, Server, StubEngine
from tests.process.scenes import Scene
from tests.world import Queue, World, fresh, new_world

# Its 200 ms an example are over on any machine that others share.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were skipped, each reason once: a skip proves nothing, so nobody may miss it."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, tests in reasons.items():
        terminalreporter.write_line(f"{tests} not run. {reason}")


@pytest.fixture(scope="session")
def emulators() -> Iterator[Emulators]:
    """The three servers, started once. Without them a test is skipped, but in CI it fails: a skip proves nothing."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(servers.emulators(os.environ, project=fresh("test")))
        except EmulatorsMissing as missing:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(missing))
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One stub of a Whisper for all: what it was asked and what it shall do is forgotten between tests."""
    with Server(StubEngine(), control=True) as running:
        yield running


@pytest.fixture
def control(server: Server) -> Iterator[Control]:
    """A test's hand on the stub."""
    hand = Control(server.url)
    hand.reset()
    yield hand
    hand.reset()


@pytest.fixture
def project(emulators: Emulators) -> str:
    """The project id that everything of this session lives in."""
    return emulators.project


@pytest.fixture
def google(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Emulators:
    """The emulators, with this process's environment sending Google's clients to them."""
    for name, value in emulators.environ().items():
        monkeypatch.setenv(name, value)
    return emulators


@pytest.fixture
def pubsub(google: Emulators) -> Iterator[Callable[..., Queue]]:
    """Makes topics with a subscription: `pubsub(ack_deadline_seconds=10)`."""
    publisher = pubsub_v1.PublisherClient()

    def make(*, ack_deadline_seconds: int = 60) -> Queue:
        topic, subscription = fresh("topic"), fresh("subscription")
        google.make_topic(topic, subscription, ack_deadline_seconds=ack_deadline_seconds)
        prefix = f"projects/{google.project}"
        return Queue(f"{prefix}/topics/{topic}", f"{prefix}/subscriptions/{subscription}", publisher, subscriber)

    with pubsub_v1.SubscriberClient() as subscriber:
        yield make
    publisher.stop()


@pytest.fixture
def bucket(google: Emulators) -> storage.Bucket:
    """An empty bucket that notifies nobody."""
    return storage.Client(project=google.project).create_bucket(fresh("bucket"))


@pytest.fixture
def world(emulators: Emulators) -> Iterator[World]:
    """A world of one test: only its own uploads are notified."""
    with new_world(emulators) as made:
        yield made


@pytest.fixture
def scene(world: World, server: Server, control: Control) -> Iterator[Scene]:
    """A world and a provider for daemons of the test's own."""
    with Scene(world, server.url, control) as made:
        yield made


@pytest.fixture
def samples() -> Path | None:
    """The folder of recorded human speech beside the checkout, where there is one."""
    folder = Path(__file__).parents[2] / "shared" / "samples"
    return folder if folder.is_dir() else None
