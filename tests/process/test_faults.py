"""Faults of the neighbours behind the real client libraries: each costs time; never a message, an attempt or money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run
import pytest
from google.pubsub_v1.types import PullResponse

from subscriber.emulators import Emulators
from subscriber.whisper_server import Server
from tests.daemon import until
from tests.front import Refusal
from tests.process.streets import Street, new_street
from tests.relay import Fault
from tests.sound import wav

LEASE_SECONDS = 10
"""The least that Pub/Sub gives: what nobody acked comes again after it."""

ABORTED, UNAVAILABLE = grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE
DEADLINE_EXCEEDED, PERMISSION_DENIED = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def street(emulators: Emulators, server: Server) -> Iterator[Street]:
    with new_street(emulators, server, lease_seconds=LEASE_SECONDS, shutdown_grace_seconds=4) as street:
        yield street


def twice(answer: bytes) -> bytes:
    """Each delivery of a pull, and then each again under the same ack id."""
    pulled = PullResponse.deserialize(answer)
    pulled.received_messages.extend(list(pulled.received_messages))
    return bytes(PullResponse.serialize(pulled))


PUBSUB = {
    "a_pull_is_never_answered": Fault("Pull", silent=True),
    "a_pull_is_answered_into_nowhere": Fault("Pull", UNAVAILABLE, applied=True),
    "pulls_are_unavailable": Fault("Pull", UNAVAILABLE, times=3),
    "pulls_run_into_a_deadline": Fault("Pull", DEADLINE_EXCEEDED, times=3),
    "pulls_are_forbidden_for_a_while": Fault("Pull", PERMISSION_DENIED, times=3),
    "each_delivery_comes_twice_with_one_ack_id": Fault("Pull", change=twice, times=3),
    "the_first_lease_is_not_extended": Fault("ModifyAckDeadline", UNAVAILABLE),
}
ACKS = {
    "an_ack_is_lost": Fault("Acknowledge", UNAVAILABLE),
    "an_ack_is_never_answered": Fault("Acknowledge", silent=True),
    "an_ack_is_held_back_until_the_lease_is_over": Fault("Acknowledge", late_seconds=LEASE_SECONDS + 2.0),
}
FIRESTORE = {
    "a_read_is_aborted": Fault("BatchGetDocuments", ABORTED, times=2),
    "a_read_is_never_answered": Fault("BatchGetDocuments", silent=True),
    "a_read_runs_into_a_deadline": Fault("BatchGetDocuments", DEADLINE_EXCEEDED),
    "a_commit_is_aborted": Fault("Commit", ABORTED, times=2),
    "a_commit_is_never_answered": Fault("Commit", silent=True),
    "a_commit_is_applied_and_its_answer_lost": Fault("Commit", UNAVAILABLE, applied=True),
    "a_commit_is_applied_and_never_answered": Fault("Commit", applied=True, silent=True),
    "commits_are_unavailable": Fault("Commit", UNAVAILABLE, times=3),
    "access_is_forbidden_for_a_while": Fault("BatchGetDocuments", PERMISSION_DENIED, times=2),
}
GCS = {
    "a_look_is_unavailable": Refusal("GET", "/o/{name}", 503, times=2),
    "a_look_is_one_too_many": Refusal("GET", "/o/{name}", 429, times=2),
    "a_read_breaks_off": Refusal("GET", "/o/{name}", 0, times=2),
    "a_chunk_is_not_taken": Refusal("POST", ".chunks/", 503, times=2),
    "a_chunk_is_taken_and_the_answer_lost": Refusal("POST", ".chunks/", 0, applied=True),
    "a_transcript_is_not_taken": Refusal("POST", "{name}.json", 503, times=2),
    "a_transcript_is_one_too_many": Refusal("POST", "{name}.txt", 429, times=2),
    "a_transcript_is_taken_and_the_answer_lost": Refusal("POST", "{name}.txt", 0, applied=True),
    "a_transcript_is_taken_and_the_answer_a_503": Refusal("POST", "{name}.json", 503, applied=True),
}


def goes_its_way(street: Street, name: str) -> None:
    """Upload a recording: in the end it is transcribed and acked, by one attempt and one request."""
    sound = wav(name)
    acked = street.daemon.metrics("settlements_total", kind="ack", result="ok")
    street.scene.world.upload(name, sound)
    street.daemon.says("attempt", outcome="transcribed", job=f"gs://{street.scene.world.bucket}/{name}")
    street.daemon.counts(acked + 1, "settlements_total", kind="ack", result="ok")
    record = street.scene.record(name)
    assert (record["state"], record["attempts"], record["takeovers"]) == ("done", 0, 0)
    assert street.scene.outputs(name).keys() == {"json", "txt"}
    assert street.scene.requests(sound) == 1


@pytest.mark.parametrize("fault", PUBSUB)
def test_what_happens_to_pubsub_costs_only_time(street: Street, fault: str) -> None:
    street.pubsub.spoil(replace(PUBSUB[fault]))
    goes_its_way(street, f"{fault}.wav")
    until(street.pubsub.spoiled, "it has happened")
    street.daemon.ready()


@pytest.mark.parametrize("fault", ACKS)
def test_a_message_whose_ack_did_not_arrive_comes_again_and_costs_nothing(street: Street, fault: str) -> None:
    street.pubsub.spoil(replace(ACKS[fault]))
    goes_its_way(street, f"{fault}.wav")
    assert street.pubsub.spoiled()
    street.daemon.says("attempt", outcome="duplicate", job=f"gs://{street.scene.world.bucket}/{fault}.wav")


def test_an_ack_that_was_taken_while_its_answer_got_lost_is_not_missed(street: Street) -> None:
    street.pubsub.spoil(Fault("Acknowledge", UNAVAILABLE, applied=True))
    failed = street.daemon.metrics("settlements_total", kind="ack", result="error")
    street.scene.world.upload("answer.wav", wav("answer"))
    street.daemon.counts(failed + 1, "settlements_total", kind="ack", result="error")
    assert street.scene.record("answer.wav")["state"] == "done"


@pytest.mark.parametrize("fault", FIRESTORE)
def test_what_happens_to_the_ledger_costs_only_time(street: Street, fault: str) -> None:
    street.firestore.spoil(replace(FIRESTORE[fault]))
    goes_its_way(street, f"{fault}.wav")
    assert street.firestore.spoiled()
    street.daemon.ready()


@pytest.mark.parametrize("fault", GCS)
def test_what_happens_to_cloud_storage_costs_only_time(street: Street, fault: str) -> None:
    name = f"{fault}.wav"
    street.gcs.refuse(replace(GCS[fault], what=GCS[fault].what.format(name=name)))
    goes_its_way(street, name)
    assert street.gcs.refused()
    street.daemon.ready()
