"""A file that kills the whole daemon ends dead with a reason, and everything that was in work beside it is transcribed.

The daemon holds no test code: the test sees the poison's chunk arrive at the provider and sends SIGKILL.
"""

from __future__ import annotations

import pytest

from subscriber.decisions import POISON_AFTER, SUSPECT_AFTER
from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import heard, wav

INNOCENTS = [f"innocent {number}.wav" for number in range(12)]
POISON = "poison.wav"
SHORT = {"claim_seconds": 3, "ack_lease_seconds": 10, "retry_min_seconds": 0.1, "max_jobs": 13}
"""What a test can wait out. All places are taken while all files are in work: the emulator may hand messages to the
open pull of a dead process."""


def _meets_poison(scene: Scene, daemon: Daemon, times: int) -> bool:
    """Wait until the poison has been asked for so often, or is dead."""
    poison = heard(wav(POISON))

    def met() -> bool:
        return bool(scene.control.status()["bodies"].get(poison, 0) >= times or daemon.said("attempt", reason="poison"))

    until(met, "the poison is asked for, or dead", seconds=150)
    return not daemon.said("attempt", reason="poison")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_kills_the_daemon_is_dead_in_the_end_and_all_others_live(scene: Scene) -> None:
    for name in [*INNOCENTS, POISON]:
        scene.world.upload(name, wav(name))
    scene.control.hold()
    everything = 0
    for _ in range(SUSPECT_AFTER):
        daemon = scene.start(**SHORT, whisper_concurrency=13)
        everything += len(INNOCENTS) + 1
        scene.control.wait_for_requests(everything, timeout=150)
        daemon.kill()
    scene.control.fault("hang", times=100, sha256=heard(wav(POISON)))
    scene.control.release()
    deaths = SUSPECT_AFTER
    while _meets_poison(scene, daemon := scene.start(**SHORT), deaths + 1):
        daemon.kill()
        deaths += 1
    assert deaths == SUSPECT_AFTER + POISON_AFTER
    daemon.ready()
    daemon.says("attempt", outcome="rejected", reason="poison")
    until(lambda: all(record["state"] in {"done", "dead"} for record in scene.world.records().values()), "all end", 150)
    dead = scene.record(POISON)
    assert (dead["state"], dead["reason"]["kind"]) == ("dead", "poison")
    assert "3 times the process died" in dead["reason"]["message"]
    assert scene.outputs(POISON).keys() == {"error.json"}
    for name in INNOCENTS:
        record = scene.record(name)
        assert (record["state"], record["attempts"], record["lone_deaths"]) == ("done", 0, 0)
        assert scene.requests(wav(name)) == SUSPECT_AFTER + 1, "its own request is paid once more for each death"
