"""One delivery however long the job, one request however many notifications."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.daemon import until
from tests.process.scenes import Scene, silent_for
from tests.sound import wav
from tests.world import Queue, fresh


def test_an_object_that_is_notified_three_times_is_transcribed_once_by_two_processes(scene: Scene) -> None:
    """With one place each, the process that has the job takes nothing else: the other one gets the rest."""
    scene.control.hold()
    daemons = [scene.start(max_jobs=1, claim_seconds=3) for _ in range(2)]
    for each in daemons:
        each.ready()
    generation = scene.world.upload("one.wav", wav())
    for _ in range(2):
        scene.world.publish_again(scene.world.notification("one.wav", generation))

    def total(name: str, **labels: str) -> float:
        return sum(each.metrics(name, **labels) for each in daemons)

    until(lambda: total("jobs_parked") == 2, "both duplicates wait for the other process's job")
    assert total("claims_total", result="granted") == 1
    assert total("settlements_total") == 0, "an ack of a duplicate could ack the message that is in work"
    scene.control.release()
    until(lambda: total("settlements_total", kind="ack", result="ok") == 3, "all three are acked")
    assert total("deliveries_total", outcome="transcribed") == 1
    assert total("deliveries_total", outcome="duplicate") == 2
    assert total("jobs_parked") == 0
    assert scene.requests() == 1
    assert scene.claims("one.wav") == 1


def test_a_duplicate_that_finds_no_place_to_wait_comes_again_later(scene: Scene) -> None:
    scene.control.hold()
    daemons = [scene.start(max_jobs=1, max_parked=0, claim_seconds=3) for _ in range(2)]
    for each in daemons:
        each.ready()
    generation = scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    scene.world.publish_again(scene.world.notification("one.wav", generation))

    def total(name: str, **labels: str) -> float:
        return sum(each.metrics(name, **labels) for each in daemons)

    until(lambda: total("settlements_total", kind="defer", result="ok") >= 1, "the duplicate is put off")
    assert total("deliveries_total", outcome="busy") >= 1
    assert total("settlements_total", kind="ack") == 0, "an ack of a duplicate could ack the message that is in work"
    scene.control.release()
    until(lambda: total("settlements_total", kind="ack", result="ok") == 2, "both are acked")
    assert total("deliveries_total", outcome="duplicate") == 1
    assert scene.requests() == 1


@pytest.fixture
def impatient(scene: Scene) -> Queue:
    """A subscription that redelivers after 10 s, the least there is, unless its lease is renewed."""
    queue = scene.world.queue
    name = queue.subscription.rpartition("/")[0] + "/" + fresh("impatient")
    queue.subscriber.create_subscription(name=name, topic=queue.topic, ack_deadline_seconds=10)
    return replace(queue, subscription=name)


@pytest.mark.parametrize("seconds", [25, pytest.param(60, marks=pytest.mark.slow)])
def test_a_job_longer_than_any_lease_is_delivered_once(scene: Scene, impatient: Queue, seconds: float) -> None:
    """With one place the daemon pulls nothing while the job lasts: what is redelivered comes to us."""
    daemon = scene.start(
        subscription=impatient.subscription, ack_lease_seconds=10, claim_seconds=6, max_jobs=1, whisper_concurrency=1
    )
    daemon.ready()
    scene.control.hold()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    assert silent_for(impatient, seconds)
    scene.control.release()
    daemon.counts(1, "settlements_total", kind="ack", result="ok")
    assert daemon.metrics("deliveries_total", outcome="transcribed") == 1
    assert daemon.metrics("deliveries_total") == daemon.metrics("delivery_age_seconds_count") == 1
    assert daemon.metrics("lease_renewals_total", kind="ack", result="ok") > seconds / 10
    assert daemon.metrics("lease_renewals_total", kind="claim", result="ok") > seconds / 6
    assert scene.claims("one.wav") == 1
    assert scene.requests() == 1
