"""A hundred thousand messages wait: the daemon takes what it has room for, gets through them, and does not grow."""

from __future__ import annotations

import time

import psutil
import pytest
from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from tests.daemon import PATIENCE_SECONDS, Daemon
from tests.process.scenes import Scene
from tests.sound import wav

BACKLOG = 100_000
A_REQUEST = 1_000
"""Messages that Pub/Sub takes in one."""

WARM = 5_000
SPARE_MB = 30.0
"""What a process may differ by after so much work; the backlog's own bytes are twice as many."""

SETTLED_SECONDS = 1_200.0


def publish(scene: Scene, number: int) -> None:
    """So many notifications of objects that are no sound."""
    publisher = pubsub_v1.PublisherClient(pubsub_v1.types.BatchSettings(max_messages=A_REQUEST))
    topic = scene.world.queue.topic
    for sent in [publisher.publish(topic, b"", **scene.world.notification(f"{n}.pdf", 1)) for n in range(number)]:
        sent.result(PATIENCE_SECONDS)


def memory_mb(daemon: Daemon) -> float:
    """Of its own process, where messages and leases are."""
    return float(psutil.Process(daemon.pid).memory_info().rss / 1e6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_waiting_messages_are_gone_through_in_memory_that_does_not_grow(scene: Scene) -> None:
    publish(scene, BACKLOG)
    scene.world.upload("behind.wav", wav("behind"))
    daemon = scene.start(max_jobs=16)
    daemon.ready()
    daemon.counts(WARM, "deliveries_total", outcome="ignored")
    before, began = memory_mb(daemon), time.monotonic()
    daemon.counts(BACKLOG, "settlements_total", SETTLED_SECONDS, kind="ack", result="ok")
    after, seconds = memory_mb(daemon), time.monotonic() - began
    print(f"{(BACKLOG - WARM) / seconds:.0f} messages a second, {before:.0f} MB before and {after:.0f} MB after")
    assert after - before < SPARE_MB
    daemon.says("attempt", outcome="transcribed", seconds=SETTLED_SECONDS)
    assert daemon.metrics("deliveries_total", outcome="ignored") >= BACKLOG
    assert not daemon.said("paused")
