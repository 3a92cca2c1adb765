"""A quarter of the places is for small objects: large ones wait, unclaimed and leased, and all have their turn."""

from __future__ import annotations

import pytest

from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import heavy, silent, wav

LARGE_PLACES = 3
"""Of four."""


@pytest.fixture
def busy(scene: Scene) -> Daemon:
    """A daemon of four places, three of which large objects hold for as long as their provider keeps them waiting."""
    daemon = scene.start(max_jobs=4, shutdown_grace_seconds=300)
    daemon.ready()
    scene.control.hold()
    upload_large(scene, LARGE_PLACES)
    scene.control.wait_for_requests(LARGE_PLACES)
    return daemon


def upload_large(scene: Scene, number: int) -> None:
    for one in range(number):
        name = f"{len(scene.world.records())} {one}.wav"
        scene.world.upload(name, heavy(wav(name)))


def arrivals(scene: Scene, number: int) -> int:
    """How many messages the subscription has for somebody else, if it is so many."""
    found: set[str] = set()

    def all_here() -> bool:
        found.update(one.message.message_id for one in scene.world.queue.pull(seconds=1))
        return len(found) >= number

    until(all_here, f"{number} messages arrive here")
    return len(found)


def test_a_small_file_is_done_while_large_ones_hold_all_other_places(scene: Scene, busy: Daemon) -> None:
    upload_large(scene, 2)
    until(lambda: busy.metrics("jobs_parked") == 2, "two more large ones wait")
    small = scene.world.upload("small.wav", silent())
    busy.says("attempt", outcome="transcribed", generation=str(small))
    assert len(scene.world.records()) == LARGE_PLACES + 1, "what waits is not claimed"
    scene.control.release()
    busy.counts(6, "settlements_total", kind="ack", result="ok")
    assert busy.metrics("deliveries_total", outcome="transcribed") == 6


def test_a_backlog_of_large_files_is_pulled_as_far_as_it_may_wait_and_all_done_in_the_end(
    scene: Scene, busy: Daemon
) -> None:
    upload_large(scene, 8)
    until(lambda: busy.metrics("jobs_parked") == 4, "as many wait as there are places")
    assert arrivals(scene, 4) == 4, "the rest is left to others"
    assert busy.metrics("delivery_age_seconds_count") == LARGE_PLACES + 4
    assert busy.metrics("claims_total") == busy.metrics("jobs_in_flight") == LARGE_PLACES
    scene.control.release()
    busy.counts(7, "settlements_total", kind="ack", result="ok")
    assert busy.metrics("deliveries_total", outcome="transcribed") == busy.metrics("claims_total") == 7
    assert busy.metrics("settlements_total", kind="defer") == 0, "to wait costs no delivery attempt"
    assert busy.metrics("jobs_parked") == busy.metrics("jobs_in_flight") == 0


def test_a_drain_gives_those_that_wait_back_at_once(scene: Scene, busy: Daemon) -> None:
    """Leases are a minute long here: nobody finds them that soon who waits for one to end."""
    upload_large(scene, 2)
    until(lambda: busy.metrics("jobs_parked") == 2, "two more large ones wait")
    busy.term()
    busy.says("draining")
    assert arrivals(scene, 2) == 2
    scene.control.release()
    assert busy.exit_code() == 0
    assert len(busy.said("attempt", outcome="transcribed")) == len(scene.world.records()) == LARGE_PLACES
