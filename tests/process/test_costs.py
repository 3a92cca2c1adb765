"""What one short job costs: every call by its name and number, and how much code it runs.

Counted, not timed, because a busy machine cannot fake a number. Whoever adds a call or takes one away says so here, and
in docs/performance.md.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from subscriber.emulators import Emulators
from subscriber.whisper_server import Server
from tests.daemon import until
from tests.process.streets import Street, new_street
from tests.sound import wav

JOBS = 5

FIRESTORE = {"BatchGetDocuments": 1, "Commit": 2}
"""The claim's transaction, which begins with its read, and the completion. Two writes."""

PUBSUB = {"ModifyAckDeadline": 1, "Acknowledge": 1}
"""Beside the pulls. Both are batched: of deliveries that come together one call leases all."""

CLOUD_STORAGE = {
    "look at recording": 1,  # is it still the live generation, and what does its metadata ask for
    "read recording": 1,
    "look at json": 1,  # before anything is paid: may we write there at all
    "look at chunk": 1,  # was it paid for before
    "write chunk": 1,
    "write txt": 1,
    "write json": 1,
    "look at error.json": 1,  # one of an earlier failure goes, once the transcript is there
}

MOST_FUNCTIONS = 5_000
"""Functions of Python that one job enters, libraries included: it enters 4,100."""


@pytest.fixture(scope="module")
def counted(emulators: Emulators, server: Server) -> Iterator[Street]:
    """A daemon whose calls were counted while `JOBS` short jobs came one after the other."""
    with new_street(emulators, server, module=["tests.process.counted"]) as street:
        transcribe(street, "first")  # makes the connections, and whatever else is made once
        for calls in (street.pubsub.calls, street.firestore.calls, street.gcs.calls):
            calls.clear()
        street.scene.control.reset()
        for number in range(JOBS):
            transcribe(street, str(number))
        yield street


def transcribe(counted: Street, name: str) -> None:
    """Have one object transcribed; returns when its message is acked."""
    settled = len(counted.daemon.said("entered"))
    counted.scene.world.upload(f"{name}.wav", wav(name))
    until(lambda: len(counted.daemon.said("entered")) > settled, f"{name} is settled")


def kind(call: str) -> str:
    """What a request to Cloud Storage is about."""
    method, path = call.split()[:2]
    ending = next(
        ending
        for ending, pattern in {
            "chunk": r"\.chunks",
            "error.json": r"\.wav\.error\.json",
            "json": r"\.wav\.json",
            "txt": r"\.wav\.txt",
            "recording": r"\.wav",
        }.items()
        if re.search(pattern, call)
    )
    verb = {"POST": "write", "GET": "read" if "alt=media" in path else "look at"}.get(method, method)
    return f"{verb} {ending}"


def a_job(calls: Iterable[str]) -> dict[str, float]:
    return {name: number / JOBS for name, number in Counter(calls).items()}


def test_a_job_asks_firestore_for_a_claim_and_a_completion_and_nothing_else(counted: Street) -> None:
    assert a_job(counted.firestore.calls) == FIRESTORE


def test_a_job_asks_pubsub_for_its_lease_and_its_ack_and_nothing_else(counted: Street) -> None:
    assert a_job(call for call in counted.pubsub.calls if call != "Pull") == PUBSUB


def test_a_job_asks_cloud_storage_for_what_its_promises_take_and_nothing_else(counted: Street) -> None:
    assert a_job(map(kind, counted.gcs.calls)) == CLOUD_STORAGE


def test_a_job_of_one_chunk_is_one_request(counted: Street) -> None:
    assert counted.scene.requests() == JOBS


def test_a_job_runs_no_more_code_than_it_did(counted: Street) -> None:
    entered = [int(line["functions"]) for line in counted.daemon.said("entered")]
    assert statistics.median(b - a for a, b in itertools.pairwise(entered)) < MOST_FUNCTIONS


def test_an_idle_daemon_asks_neither_firestore_nor_cloud_storage(counted: Street) -> None:
    """Two empty pulls are ten seconds; what is asked for every so often would be asked in them."""
    before = len(counted.firestore.calls), len(counted.gcs.calls)
    pulls = counted.pubsub.calls.count("Pull")
    until(lambda: counted.pubsub.calls.count("Pull") >= pulls + 2, "two pulls found nothing")
    assert (len(counted.firestore.calls), len(counted.gcs.calls)) == before
