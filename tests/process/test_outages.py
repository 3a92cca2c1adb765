"""Neighbours that are away, refuse or are misconfigured cost time: no message, no attempt, no restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from subscriber.adapters.openai_api import IDLE_SECONDS
from subscriber.emulators import free_port
from tests.daemon import Daemon, until
from tests.process.scenes import Scene, silent_for
from tests.sound import wav
from tests.valve import Valve
from tests.world import Queue

FORGOTTEN_SECONDS = 180.0
"""From a call on a connection that is dead to the work that it was for. gRPC asks every 30 s whether it is, but only
while a call is under way, and in a pause few are; what Pub/Sub has sent on it comes again when its lease is over."""

RESUME_SECONDS = 30.0
"""From a neighbour's return to work, as promised."""


@pytest.fixture(params=["pubsub", "firestore", "gcs", "whisper"])
def neighbour(request: pytest.FixtureRequest, scene: Scene) -> Iterator[tuple[str, Valve, Daemon]]:
    """One neighbour by name, the valve before it, and a daemon that knows no other way to it."""
    servers = scene.world.emulators
    hosts = {
        "pubsub": ("pubsub_emulator_host", "{}", servers.pubsub_host),
        "firestore": ("firestore_emulator_host", "{}", servers.firestore_host),
        "gcs": ("storage_emulator_host", "http://{}", servers.storage_url.removeprefix("http://")),
        "whisper": ("openai_base_url", "http://{}/v1", scene.whisper_url.removeprefix("http://")),
    }
    setting, form, target = hosts[request.param]
    with Valve(target) as valve:
        daemon = scene.start(ack_lease_seconds=10, **{setting: form.format(valve.address)})
        daemon.ready()
        yield request.param, valve, daemon


def test_any_neighbour_that_goes_away_is_waited_for_with_a_line_in_and_a_line_out(
    scene: Scene, neighbour: tuple[str, Valve, Daemon]
) -> None:
    name, valve, daemon = neighbour
    if name != "whisper":
        scene.control.hold()
    else:
        valve.cut()
    scene.world.upload("one.wav", wav())
    if name != "whisper":
        scene.control.wait_for_requests(1)
        valve.cut()
        scene.control.release()
    daemon.says("paused", neighbour=name)
    why = daemon.ready("paused")["why"]
    assert why.keys() == {name}
    assert daemon.metrics("provider_paused", reason="unavailable") == 1
    assert daemon.get("/livez")[0] == daemon.get("/readyz")[0] == 200
    valve.open()
    back_at = time.monotonic()
    daemon.says("resumed", neighbour=name)
    daemon.says("attempt", outcome="transcribed")
    assert time.monotonic() - back_at < RESUME_SECONDS
    daemon.counts(1, "settlements_total", kind="ack", result="ok")
    assert scene.record("one.wav")["attempts"] == 0
    assert [len(daemon.said(line, neighbour=name)) for line in ("paused", "resumed")] == [1, 1]
    assert scene.requests(wav()) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_connections_that_died_in_their_sleep_cost_minutes_and_no_attempt(
    scene: Scene, neighbour: tuple[str, Valve, Daemon]
) -> None:
    """The worst of their kind: whatever lies in between acknowledges all packets, passes none on and tells nobody."""
    _, valve, daemon = neighbour
    scene.world.upload("one.wav", wav("one"))
    daemon.counts(1, "settlements_total", kind="ack", result="ok")
    idle_since = time.monotonic()
    until(lambda: time.monotonic() - idle_since > IDLE_SECONDS, "a connection to the provider has had its day")
    valve.forget()
    scene.world.upload("two.wav", wav("two"))
    forgotten_at = time.monotonic()
    daemon.counts(2, "settlements_total", kind="ack", result="ok", seconds=2 * FORGOTTEN_SECONDS)
    assert time.monotonic() - forgotten_at < FORGOTTEN_SECONDS
    assert len(daemon.said("attempt")) == len(daemon.said("attempt", outcome="transcribed", attempt=1)) == 2
    assert scene.record("two.wav")["attempts"] == 0
    assert (scene.requests(wav("one")), scene.requests(wav("two"))) == (1, 1)


def gives_up_after(attempts: int, queue: Queue, dead_letters: Queue) -> None:
    """Have the subscription forward what it has delivered so often, the least that Pub/Sub takes being 5."""
    policy = {"dead_letter_topic": dead_letters.topic, "max_delivery_attempts": attempts}
    queue.subscriber.update_subscription(
        subscription={"name": queue.subscription, "dead_letter_policy": policy},
        update_mask={"paths": ["dead_letter_policy"]},
    )


@pytest.mark.parametrize(
    "minutes", [0.5, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(45 * 60)])], ids=["short", "long"]
)
def test_after_an_outage_with_a_backlog_nothing_is_dead_and_work_goes_on(
    scene: Scene, pubsub: Callable[..., Queue], minutes: float
) -> None:
    """Longer than 15 minutes, a pause lets claims and leases go; the subscription gives up on nothing."""
    names = [f"{number}.wav" for number in range(40)]
    dead_letters = pubsub()
    gives_up_after(5, scene.world.queue, dead_letters)
    daemon = scene.start()
    daemon.ready()
    scene.control.mode("down")
    for name in names:
        scene.world.upload(name, wav(name))
    daemon.says("paused", neighbour="whisper")
    daemon.ready("paused")
    gone_at = time.monotonic()
    until(lambda: time.monotonic() - gone_at > 60 * minutes, "the outage is over", 60 * minutes + 10)
    scene.control.mode(None)
    back_at = time.monotonic()
    daemon.says("attempt", outcome="transcribed")
    assert time.monotonic() - back_at < RESUME_SECONDS
    daemon.counts(len(names), "deliveries_total", outcome="transcribed")
    daemon.counts(len(names), "settlements_total", kind="ack", result="ok")
    assert {(one["state"], one["attempts"]) for one in scene.world.records().values()} == {("done", 0)}
    assert silent_for(dead_letters, 2)


def test_a_daemon_that_starts_without_its_provider_waits_for_it(scene: Scene) -> None:
    scene.control.mode("down")
    scene.world.upload("one.wav", wav())
    daemon = scene.start()
    why = daemon.ready("paused")["why"]
    assert "500" in why["whisper"]
    assert daemon.get("/readyz")[0] == 200, "a pause must not block the rollout that mends it"
    assert daemon.metrics("provider_paused", reason="unavailable") == 1
    assert scene.world.records() == {}, "nothing is taken that could not be worked on"
    scene.control.mode(None)
    daemon.says("attempt", outcome="transcribed")
    assert daemon.ready() == {"ok": True, "state": "pulling"}
    assert daemon.metrics("provider_paused") == 0


def test_a_daemon_that_starts_without_its_ledger_waits_for_it_and_can_be_stopped(scene: Scene) -> None:
    daemon = scene.start(firestore_emulator_host=f"127.0.0.1:{free_port()}")
    assert daemon.ready("paused")["why"].keys() == {"firestore"}
    assert daemon.get("/readyz")[0] == daemon.get("/livez")[0] == 200
    daemon.term()
    assert daemon.exit_code() == 0


def test_a_used_up_quota_is_waited_out_and_costs_no_attempt(scene: Scene) -> None:
    daemon = scene.start()
    daemon.ready()
    scene.control.mode("quota")
    scene.world.upload("one.wav", wav())
    daemon.says("paused", reason="billing")
    assert daemon.ready("paused")["why"]["whisper"].startswith("billing: ")
    assert daemon.metrics("provider_paused", reason="billing") == 1
    assert scene.record("one.wav")["state"] == "claimed", "kept, so that nobody else runs into the same wall"
    scene.control.mode(None)
    assert daemon.says("attempt", outcome="transcribed")["attempt"] == 1
    assert scene.record("one.wav")["attempts"] == 0
    assert daemon.metrics("provider_paused") == 0
    assert daemon.metrics("deliveries_total") == 1


def test_an_output_that_covers_the_watched_bucket_pauses_and_acks_nothing(scene: Scene) -> None:
    daemon = scene.start(output=f"gs://{scene.world.bucket}", retry_min_seconds=0.1)
    daemon.ready()
    scene.world.upload("one.wav", wav())
    daemon.says("paused", reason="configuration")
    assert "give it a prefix" in daemon.ready("paused")["why"]["configuration"]
    assert daemon.metrics("settlements_total", kind="ack") == 0
    (message,) = scene.world.queue.pull(seconds=10)
    assert message.message.attributes["objectId"] == "one.wav"
    assert scene.world.records() == {}
    assert scene.requests() == 0
    daemon.term()
    assert daemon.exit_code() == 0
