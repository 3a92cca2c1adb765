"""SIGTERM and SIGINT: what can be finished is, the rest goes to another process at once, the exit code is 0."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.daemon import Daemon, until
from tests.process.scenes import Scene, silent_for
from tests.sound import chunks, said, wav

EXIT_SECONDS = 1.5
"""What the end of the process itself may take, on a busy machine."""


def seconds_to_exit(daemon: Daemon, *signals: Callable[[], None]) -> float:
    """Send the signals, the next one when the one before has been taken note of; how long the exit with 0 took."""
    began = time.monotonic()
    for send in signals:
        send()
        daemon.says("draining")
    assert daemon.exit_code() == 0
    return time.monotonic() - began


@pytest.mark.parametrize("other_starts", ["before", "after"])
def test_a_stopped_process_hands_its_job_over_at_once_and_free_of_charge(scene: Scene, other_starts: str) -> None:
    """Leases and claims are as long as in production here: nobody finishes in time who waits for one to end."""
    grace = 4
    scene.control.hold()
    first = scene.start(shutdown_grace_seconds=grace)
    first.ready()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    if other_starts == "before":
        second = scene.start()
        second.ready()
    assert seconds_to_exit(first, first.term) < grace + EXIT_SECONDS
    if other_starts == "after":
        record = scene.record("one.wav")
        assert (record["state"], record["attempts"], record["history"][0]["outcome"]) == ("waiting", 0, "interrupted")
        second = scene.start()
    scene.control.wait_for_requests(2)
    scene.control.release()
    second.says("attempt", outcome="transcribed")
    assert scene.claims("one.wav") == 2
    record = scene.record("one.wav")
    assert (record["state"], record["attempts"], record["takeovers"]) == ("done", 0, 0)
    assert scene.requests() == 2, "the one on the wire at the signal, and one more"


def test_a_request_that_returns_within_the_grace_is_not_wasted(scene: Scene) -> None:
    scene.control.hold()
    first = scene.start(shutdown_grace_seconds=60, ack_lease_seconds=10)
    first.ready()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    first.term()
    first.ready("draining")
    assert (first.get("/readyz")[0], first.get("/livez")[0]) == (503, 200)
    assert first.metrics("draining") == 1
    scene.world.upload("two.wav", wav("two"))
    scene.control.release()
    first.says("attempt", outcome="transcribed")
    assert first.exit_code() == 0
    assert scene.record("one.wav")["state"] == "done"
    assert scene.outputs("one.wav")["txt"].data.decode() == f"{said(wav())}\n"
    assert scene.requests() == 1
    (other,) = scene.world.queue.pull(seconds=5)
    assert other.message.attributes["objectId"] == "two.wav", "what came in the drain is for another process"
    scene.world.queue.subscriber.acknowledge(subscription=scene.world.queue.subscription, ack_ids=[other.ack_id])
    assert silent_for(scene.world.queue, 11), "a message that was not acked comes back when its lease ends"


def test_a_process_stopped_in_the_middle_of_a_long_recording_stores_what_is_on_the_wire(scene: Scene) -> None:
    """The rest is another process's, and nothing is paid twice."""
    at_once, long = 2, wav("long", 75)
    expected = chunks(long, 10)
    grace = 10
    settings = {"chunk_seconds": 10, "whisper_concurrency": at_once, "language": "en"}
    first = scene.start(**settings, shutdown_grace_seconds=grace)
    first.ready()
    scene.control.hold()
    scene.world.upload("long.wav", long)
    scene.control.wait_for_requests(at_once)
    began = time.monotonic()
    first.term()
    first.says("draining")
    # Answers that took so long: no further request could return within what is left of the grace.
    until(lambda: time.monotonic() - began > 0.55 * grace, "the answers are slow")
    scene.control.release()
    assert first.exit_code() == 0
    assert time.monotonic() - began < grace + EXIT_SECONDS
    sent = scene.requests()
    assert len(scene.stored()) == sent, "every answer on the wire is stored"
    assert sent < len(expected)
    second = scene.start(**settings)
    assert second.says("attempt", outcome="transcribed")["attempt"] == 1
    assert scene.control.status()["bodies"] == dict.fromkeys(expected, 1)
    words = [word for body in expected for word in ("speech", body[:12])]
    assert scene.outputs("long.wav")["txt"].data.decode().split() == words
    assert scene.record("long.wav")["state"] == "done"


@pytest.mark.parametrize("again", [Daemon.term, Daemon.interrupt])
def test_a_second_signal_ends_the_waiting(scene: Scene, again: Callable[[Daemon], None]) -> None:
    scene.control.hold()
    first = scene.start(shutdown_grace_seconds=60)
    first.ready()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    assert seconds_to_exit(first, first.term, lambda: again(first)) < 4
    record = scene.record("one.wav")
    assert (record["state"], record["attempts"]) == ("waiting", 0), "still released, and free of charge"


@pytest.mark.parametrize("send", [Daemon.term, Daemon.term_in_another_thread, Daemon.interrupt])
def test_an_idle_process_ends_within_its_grace(scene: Scene, send: Callable[[Daemon], None]) -> None:
    grace = 4
    idle = scene.start(shutdown_grace_seconds=grace)
    idle.ready()
    assert seconds_to_exit(idle, lambda: send(idle)) < grace + EXIT_SECONDS
    assert not [line for line in idle.log if line.get("severity") in {"WARNING", "ERROR"}]
