"""A day's budget holds for all daemons together, whatever is killed, and only costs time: nothing fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.daemon import Daemon
from tests.process.scenes import Scene
from tests.sound import wav

PRICED = {"price_usd_per_minute": 6, "chunk_seconds": 10, "language": "en"}
"""Ten cents a second. A chunk may cost a dollar, and so does a step at these limits; a block is four of them."""


def day(scene: Scene) -> dict[str, Any]:
    """The budget's document."""
    (found,) = scene.world.database.collection(f"{scene.world.collection}-budget").stream()
    return found.to_dict() or {}


def let_blocks_expire(scene: Scene) -> None:
    """As if their life had passed."""
    (found,) = scene.world.database.collection(f"{scene.world.collection}-budget").stream()
    blocks = [block | {"expires_at": block["expires_at"] - timedelta(hours=1)} for block in day(scene)["blocks"]]
    found.reference.update({"blocks": blocks})


def upload(scene: Scene, count: int, seconds: float) -> None:
    for number in range(count):
        scene.world.upload(f"{number}.wav", wav(f"{number}", seconds))


def ends(scene: Scene) -> set[tuple[str, int]]:
    return {(str(record["state"]), record["attempts"]) for record in scene.world.records().values()}  # type: ignore[misc]


def test_a_used_up_budget_is_a_pause_until_the_limit_is_raised(scene: Scene) -> None:
    upload(scene, 6, seconds=5)
    first = scene.start(**PRICED, budget_usd_per_day=2)
    first.says("paused", neighbour="budget", reason="budget")
    why = first.ready("paused")["why"]
    assert why == {"budget": "budget: 0.0000 of 2.00 USD are left today, a request may cost 0.5000"}
    assert first.get("/readyz")[0] == 200
    assert first.metrics("provider_paused", reason="budget") == 1
    assert first.metrics("budget_remaining_usd") == 0
    first.counts(4, "deliveries_total", outcome="transcribed")
    assert scene.requests() == 4
    first.term()
    assert first.exit_code() == 0
    assert (day(scene)["spent_usd"], day(scene)["blocks"]) == (2, [])
    again = scene.start(**PRICED, budget_usd_per_day=2)
    again.says("paused", neighbour="budget")  # at its start, before it takes a message
    again.term()
    assert again.exit_code() == 0
    raised = scene.start(**PRICED, budget_usd_per_day=3)
    raised.ready()
    raised.counts(2, "deliveries_total", outcome="transcribed")
    raised.counts(2, "settlements_total", kind="ack", result="ok")
    assert ends(scene) == {("done", 0)}
    assert scene.requests() == 6
    assert not raised.said("paused")


def test_ten_kills_do_not_use_the_day_up_and_what_the_dead_held_comes_back(scene: Scene) -> None:
    alone = {"max_jobs": 1}  # no pull is open while a job is in work: the emulator may hand messages to a dead one
    scene.control.hold()
    for number in range(10):
        scene.world.upload(f"{number}.wav", wav(f"{number}"))
        daemon = scene.start(**PRICED, **alone, budget_usd_per_day=100)
        scene.control.wait_for_requests(number + 1)
        daemon.kill()
    before = day(scene)  # on a busy machine the first block may have expired by now
    assert {(block["usd"], block["spent_usd"]) for block in before["blocks"]} == {(4, 1)}
    assert before["spent_usd"] + len(before["blocks"]) == 10
    let_blocks_expire(scene)
    scene.control.release()
    scene.world.upload("last.wav", wav("last"))
    last = scene.start(**PRICED, **alone, budget_usd_per_day=100)
    last.says("attempt", outcome="transcribed")
    after = day(scene)
    assert after["spent_usd"] == 10, "what may have been on the wire is gone, the rest of the ten blocks is back"
    assert [block["usd"] for block in after["blocks"]] == [4]
    assert not last.said("paused")


def test_two_daemons_share_a_budget(scene: Scene) -> None:
    upload(scene, 26, seconds=5)
    both: list[Daemon] = [
        scene.start(**PRICED, budget_usd_per_day=10, whisper_concurrency=1, max_jobs=2) for _ in range(2)
    ]
    for daemon in both:
        daemon.says("paused", neighbour="budget")
    done = [daemon.counts(1, "deliveries_total", outcome="transcribed") for daemon in both]
    assert scene.requests() <= 20
    for daemon in both:
        daemon.term()
        assert daemon.exit_code() == 0
    assert scene.requests() == sum(done) == 20
    assert day(scene)["spent_usd"] == 10
    assert {state for state, attempts in ends(scene) if attempts == 0} <= {"done", "waiting"}
