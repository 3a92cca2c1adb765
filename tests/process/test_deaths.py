"""SIGKILL and SIGSTOP while a request is on the wire: another process finishes, and a zombie changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from subscriber.whisper_server import Control, Server, StubEngine
from tests.daemon import until
from tests.process.scenes import Scene
from tests.sound import chunks, wav

SHORT = {"claim_seconds": 3, "ack_lease_seconds": 10}
"""What a test can wait out; the least that Pub/Sub leases is 10 s."""

LONG_SECONDS = 75
"""Of a recording of many chunks."""


def test_what_a_killed_process_had_in_work_is_finished_by_another(scene: Scene) -> None:
    first = scene.start(**SHORT)
    first.ready()
    scene.control.hold()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    first.kill()
    scene.control.release()
    second = scene.start(**SHORT)
    second.says("attempt", outcome="transcribed")
    assert scene.claims("one.wav") == 2
    second.counts(1, "settlements_total", kind="ack", result="ok")
    assert second.metrics("claims_total", result="taken_over") == 1
    record = scene.record("one.wav")
    assert (record["state"], record["attempts"], record["takeovers"]) == ("done", 0, 1)
    assert scene.outputs("one.wav").keys() == {"json", "txt"}
    assert scene.requests() == 2, "the one on the wire at the kill, and one more"


def test_a_process_that_was_stopped_past_its_claim_and_lease_changes_nothing_when_it_goes_on(scene: Scene) -> None:
    zombie = scene.start(**SHORT)
    zombie.ready()
    scene.control.hold()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    zombie.stop()
    second = scene.start(**SHORT)
    scene.control.wait_for_requests(2)
    scene.control.release()
    second.says("attempt", outcome="transcribed")
    assert scene.claims("one.wav") == 2
    second.counts(1, "settlements_total", kind="ack", result="ok")
    record, outputs = scene.record("one.wav"), scene.outputs("one.wav")

    zombie.cont()  # its own answer has been waiting for it

    zombie.says("attempt", outcome="lost")
    zombie.counts(1, "deliveries_total", outcome="lost")
    assert zombie.metrics("settlements_total") == 0
    assert scene.record("one.wav") == record
    assert scene.outputs("one.wav") == outputs
    assert {output.metadata["epoch"] for output in outputs.values()} == {str(record["epoch"])}
    assert scene.requests() == 2
    second.term()  # not killed: the emulator may hand a message to the pull of a dead process
    assert second.exit_code() == 0
    scene.world.upload("two.wav", wav("two"))
    zombie.says("attempt", outcome="transcribed")  # and it has taken no harm


def test_a_process_that_was_stopped_past_its_claim_changes_nothing_while_another_works(scene: Scene) -> None:
    with Server(StubEngine(), control=True) as other_provider:
        others = Control(other_provider.url)
        others.hold()
        zombie = scene.start(**SHORT)
        zombie.ready()
        scene.control.hold()
        scene.world.upload("one.wav", wav())
        scene.control.wait_for_requests(1)
        zombie.stop()
        second = scene.start(**SHORT, openai_base_url=f"{other_provider.url}/v1")
        others.wait_for_requests(1)
        scene.control.release()
        zombie.cont()
        zombie.says("attempt", outcome="lost")
        record = scene.record("one.wav")
        assert (record["state"], scene.claims("one.wav")) == ("claimed", 2)
        assert scene.outputs("one.wav") == {}
        others.release()
        second.says("attempt", outcome="transcribed")
        assert scene.claims("one.wav") == 2
        second.counts(1, "settlements_total", kind="ack", result="ok")
        assert zombie.metrics("settlements_total", kind="ack") == 0


def test_a_process_that_was_stopped_past_a_claim_that_nobody_took_goes_on_with_it(scene: Scene) -> None:
    stopped = scene.start(**SHORT)
    stopped.ready()
    scene.control.hold()
    scene.world.upload("one.wav", wav())
    scene.control.wait_for_requests(1)
    stopped.stop()
    renewed_at: datetime = scene.record("one.wav")["renewed_at"]
    until(lambda: datetime.now(UTC) > renewed_at + timedelta(seconds=4), "the claim ends")
    scene.control.release()
    stopped.cont()
    stopped.says("attempt", outcome="transcribed")
    assert scene.claims("one.wav") == 1
    assert scene.record("one.wav")["state"] == "done"
    assert scene.requests() == 1


def test_a_process_killed_in_the_middle_of_a_long_recording_loses_only_what_was_on_the_wire(scene: Scene) -> None:
    at_once, long = 2, wav("long", LONG_SECONDS)
    expected = chunks(long, 10)
    assert len(expected) >= 3 * at_once
    first = scene.start(**SHORT, chunk_seconds=10, whisper_concurrency=at_once, language="en")
    first.ready()
    slow = expected[at_once + 1 : 2 * at_once + 1]
    for body in slow:
        scene.control.fault("hang", sha256=body)
    scene.world.upload("long.wav", long)
    scene.control.wait_for_requests(at_once + 1 + len(slow))
    until(lambda: len(scene.stored()) == at_once + 1, "what came before is stored")
    first.kill()
    paid = scene.stored()
    second = scene.start(**SHORT, chunk_seconds=10, whisper_concurrency=at_once, language="en")
    second.says("attempt", outcome="transcribed")
    assert scene.claims("long.wav") == 2
    bodies = scene.control.status()["bodies"]
    assert bodies == {body: 2 if body in slow else 1 for body in expected}
    assert paid < scene.stored()
    assert len(scene.stored()) == len(expected)
    assert scene.outputs("long.wav")["txt"].data.decode().split() == _said(expected)
    record = scene.record("long.wav")
    assert (record["state"], record["attempts"], record["takeovers"]) == ("done", 0, 1)


def test_the_same_sound_under_a_second_name_costs_no_request(scene: Scene) -> None:
    daemon = scene.start(chunk_seconds=10)
    daemon.ready()
    long = wav("long", 25)
    for name in ("one.wav", "two.wav"):
        generation = scene.world.upload(name, long)
        daemon.says("attempt", outcome="transcribed", generation=str(generation))
    assert scene.requests() == len(chunks(long, 10))
    assert scene.outputs("one.wav")["txt"].data == scene.outputs("two.wav")["txt"].data
    assert daemon.metrics("chunks_total", source="cache") == daemon.metrics("chunks_total", source="paid")
    assert scene.record("two.wav")["cost_usd"] == 0


def _said(bodies: list[str]) -> list[str]:
    """The words of a stub that heard these chunks."""
    return [word for body in bodies for word in ("speech", body[:12])]
