"""What /api/status answers: as documented, bounded whatever there is, and commands that are safe to paste."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from subscriber.errors import NeighbourDown
from subscriber.model import Delivery, Ending, Job, Message, Outcome, Progress
from subscriber.status import MOST_JOBS, explain
from subscriber.status_fields import Status
from tests.standing import standing
from tools import status_table

SCHEMA = Status.model_json_schema(mode="serialization")
MOST_BYTES = 600_000
"""Of an answer with the longest names and messages that there can be."""


def test_the_document_is_made_from_the_code() -> None:
    assert status_table.FILE.read_text() == status_table.text(), "run `make docs`"


def test_every_field_is_documented_with_its_meaning() -> None:
    text = status_table.FILE.read_text()
    for part in (SCHEMA, *(one for one in SCHEMA["$defs"].values() if "properties" in one)):
        for field, told in part["properties"].items():
            assert f"| `{field}` |" in text
            assert told["description"].endswith(".")
            assert field in part["required"]


def test_an_idle_daemon_answers_as_documented(tmp_path: Path) -> None:
    with standing(tmp_path) as daemon:
        told = daemon.status()
    jsonschema.validate(told, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert told["jobs"] == []
    assert told["money"] == {**told["money"], "today_usd": 0.0, "budget_usd": None, "budget_remaining_usd": None}


def test_a_daemon_with_much_to_tell_answers_as_documented_and_briefly(tmp_path: Path) -> None:
    """Names of 1,024 bytes that JSON spells out, and endless complaints."""
    names = [f"{number:04}" + "\u202e" * 340 for number in range(1_000)]
    with standing(tmp_path, names) as daemon:
        for held in daemon.claims.held():
            failed = Ending(Outcome.FAILED, "no_answer", "\u202e" * 9_999, 10.0, claim=held.claim)
            daemon._metrics.book.see_ending(failed, "1", 1.0)
        daemon.outages.pause(NeighbourDown("whisper", "billing", "x" * 9_999))
        told = daemon.status()
    jsonschema.validate(told, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert len(json.dumps(told)) < MOST_BYTES
    assert len(told["jobs"]) == MOST_JOBS
    assert told["jobs_more"] == 1_000 - MOST_JOBS
    assert told["jobs"][0]["job"].startswith("gs://inbox/0000")
    assert len(told["pauses"][0]["message"]) == 300
    assert told["state"] == told["health"]["level"] == "paused"


def test_a_job_is_told_with_its_stage_and_how_far_it_is(tmp_path: Path) -> None:
    with standing(tmp_path, ["one.wav"]) as daemon:
        (held,) = daemon.claims.held()
        held.stage, held.progress, held.claim = "transcribe", Progress(3.0, 9.0), replace(held.claim, attempt=2)
        (told,) = daemon.status()["jobs"]
    assert told == {
        "job": "gs://inbox/one.wav",
        "generation": "1",
        "attempt": 2,
        "stage": "transcribe",
        "seconds": told["seconds"],
        "done_seconds": 3.0,
        "total_seconds": 9.0,
        "explain": "subscriber explain 'gs://inbox/one.wav#1'",
    }


def test_the_backlog_is_as_old_as_the_oldest_delivery_that_is_held(tmp_path: Path) -> None:
    with standing(tmp_path) as daemon:
        assert daemon.status()["backlog"]["oldest_seconds"] is None
        published = [datetime(2026, 11, 1, 12, minute, tzinfo=UTC) for minute in (30, 0)]
        daemon.leases.hold([Delivery(Message(str(at), {}, b"", at), "live", str(at)) for at in published])
        backlog = daemon.status()["backlog"]
    assert backlog["held"] == 2
    assert backlog["oldest_seconds"] == pytest.approx((datetime.now(UTC) - published[1]).total_seconds(), abs=60)


@pytest.mark.parametrize(
    "name",
    ["plain.wav", "it's; rm -rf ~ `id` $HOME.wav", "a\nb\x1b[201~c\\x41'.wav", "\u202egpj.wav", "bell\a\x7f\x85.wav"],
)
def test_the_command_names_the_object_and_nothing_else_to_a_shell(name: str) -> None:
    command = explain(Job("inbox", name, 7, "gs://outbox"))
    assert command.isprintable()
    shown = subprocess.run(
        ["bash", "-c", f"subscriber() {{ printf '%s\\0' \"$@\"; }}; {command}"],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    assert shown.stdout.decode() == f"explain\0gs://inbox/{name}#7\0"


def test_looking_asks_no_neighbour_anything(tmp_path: Path) -> None:
    """An idle daemon costs nothing, however many watch it."""
    with standing(tmp_path, ["one.wav"]) as daemon:
        for part in (daemon.claims, daemon.leases, daemon):
            vars(part).update(dict.fromkeys(("_ledger", "_source", "_adapters"), None))
        assert len(daemon.status()["jobs"]) == 1
