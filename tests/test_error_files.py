"""NAME.error.json: what it says, and that it never stands beside the transcript that makes it untrue."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import Permanent, Superseded
from subscriber.model import Claim, Reason
from subscriber.outputs import write_error
from tests.outbox import LOCATION, SET, Watched, claim, transcribe

REASON = Reason("audio_rejected", "no sound in it", datetime(2026, 11, 22, tzinfo=UTC))


@pytest.fixture
def outbox(tmp_path: Path) -> Watched:
    return Watched(FolderObjects({"outbox": tmp_path}))


def test_a_failure_is_written_for_people_and_machines(outbox: Watched) -> None:
    assert write_error(outbox, LOCATION, claim(attempt=3), REASON) == "gs://outbox/texts/a.wav.error.json"
    written = outbox.objects.read(outbox.live("texts/a.wav.error.json"))
    assert written.endswith(b"}\n")
    assert json.loads(written) == {
        "schema_version": 1,
        "source": {"bucket": "inbox", "name": "a.wav", "generation": "5", "uri": "gs://inbox/a.wav"},
        "reason": {"kind": "audio_rejected", "message": "no sound in it", "at": "2026-11-22T00:00:00+00:00"},
        "attempts": 3,
    }
    assert outbox.owner("texts/a.wav.error.json") == (5, 1)


def test_a_claim_that_only_buries_is_no_attempt(outbox: Watched) -> None:
    write_error(outbox, LOCATION, replace(claim(attempt=11), sentence=REASON), REASON)
    assert json.loads(outbox.objects.read(outbox.live("texts/a.wav.error.json")))["attempts"] == 10


@pytest.mark.parametrize("failed", [claim(5, 9), claim(4, 9)], ids=["same generation", "older generation"])
def test_a_failure_never_stands_beside_a_transcript_as_new_as_itself(outbox: Watched, failed: Claim) -> None:
    transcribe(outbox, claim(5, 2))
    with pytest.raises(Superseded):
        write_error(outbox, LOCATION, failed, REASON)
    assert outbox.names() == SET
    assert outbox.calls[-1] == "stat texts/a.wav.json", "it is not even placed for a moment"


def test_a_failure_of_a_newer_generation_stands_beside_the_older_transcript(outbox: Watched) -> None:
    transcribe(outbox, claim(5))
    write_error(outbox, LOCATION, claim(6, 1), REASON)
    write_error(outbox, LOCATION, claim(6, 2), REASON)
    assert outbox.names() == ["a.wav.error.json", *SET]
    assert outbox.owner("texts/a.wav.error.json") == (6, 2)


def test_a_failure_may_stand_beside_the_transcript_of_another_source(outbox: Watched) -> None:
    """It is the only place where the collision can be read."""
    transcribe(outbox, claim(9))
    found = outbox.live("texts/a.wav.json")
    foreign = {**found.metadata, "source-name": "other.wav"}
    outbox.objects.write("outbox", found.name, b"{}", content_type="", metadata=foreign, if_generation=found.generation)
    write_error(outbox, LOCATION, claim(5), REASON)
    assert outbox.owner("texts/a.wav.error.json") == (5, 1)


@pytest.mark.parametrize("moment", range(6))
def test_a_failure_gives_way_to_a_transcript_that_comes_at_the_same_time(outbox: Watched, moment: int) -> None:
    def overtake(number: int, _: str) -> None:
        if number == moment:
            transcribe(Watched(outbox.objects), claim(6))

    outbox.before = overtake
    with suppress(Superseded):
        write_error(outbox, LOCATION, claim(5), REASON)
    if len(outbox.calls) <= moment:  # it came after the failure was written
        transcribe(outbox, claim(6))
    assert outbox.names() == SET


def test_a_failure_that_has_to_go_leaves_the_one_that_replaced_it(outbox: Watched) -> None:
    def overtake(number: int, _: str) -> None:
        if number == 2:
            transcribe(Watched(outbox.objects), claim(6))
            write_error(Watched(outbox.objects), LOCATION, claim(7), REASON)

    outbox.before = overtake
    with pytest.raises(Superseded):
        write_error(outbox, LOCATION, claim(5), REASON)
    assert outbox.owner("texts/a.wav.error.json") == (7, 1)


@pytest.mark.parametrize("moment", range(5))
def test_a_transcript_removes_a_failure_that_comes_at_the_same_time(outbox: Watched, moment: int) -> None:
    def fail(number: int, _: str) -> None:
        if number == moment:
            with suppress(Superseded):
                write_error(Watched(outbox.objects), LOCATION, claim(5), REASON)

    outbox.before = fail
    transcribe(outbox, claim(6))
    assert outbox.names() == SET


def test_a_transcript_removes_the_failure_before_it(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(5, 1), REASON)
    transcribe(outbox, claim(5, 2))
    assert outbox.names() == SET


def test_a_transcript_leaves_the_failure_of_a_newer_generation(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(6), REASON)
    transcribe(outbox, claim(5))
    assert outbox.names() == ["a.wav.error.json", *SET]


def test_a_failure_that_may_not_be_deleted_does_not_undo_the_transcript(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(5, 1), REASON)

    def lock(_: int, call: str) -> None:
        if call == "delete texts/a.wav.error.json":
            raise Permanent("output_locked", "until 2027")

    outbox.before = lock
    assert transcribe(outbox, claim(5, 2))
