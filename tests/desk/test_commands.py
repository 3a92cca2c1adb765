"""The commands as people run them, on several hundred records that daemons have made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from subscriber.model import State
from tests.daemon import PATIENCE_SECONDS, command, jobs
from tests.desk.conftest import COPIES, PREFIX, RECORDINGS, Operated


def explain(operated: Operated, name: str, environ: Mapping[str, str] | None = None) -> str:
    done = command(environ or operated.environ, "explain", f"gs://{operated.world.bucket}/{name}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def kind(record: dict[str, Any]) -> tuple[str, str]:
    return record["state"], record["reason"]["kind"] if record["reason"] else ""


def on_terminal(environ: Mapping[str, str], *arguments: str) -> str:
    """What a person sees, 200 columns wide."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "subscriber", *arguments],
        env={**environ, "COLUMNS": "200", "TERM": "xterm"},
        stdout=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 65536):
                seen += data
        except OSError:  # Linux says so when the other side is closed
            pass
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(ours)
    return seen.decode()


def test_the_world_holds_every_kind_that_there_is(operated: Operated) -> None:
    assert operated.kinds.total() > 250
    assert {state for state, _ in operated.kinds} == set(State)


def test_jobs_lists_every_record_once_newest_first(operated: Operated) -> None:
    found = jobs(operated.environ)
    assert Counter(map(kind, found)) == operated.kinds
    assert len({(record["name"], record["generation"]) for record in found}) == len(found)
    times = [record["created_at"] for record in found]
    assert times == sorted(times, reverse=True)
    assert not any("nonce" in record for record in found)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["--state", "dead", "--reason", "exhausted"], {("dead", "exhausted")}),
        (["--state", "gone", "--state", "superseded"], {("gone", "gone"), ("superseded", "superseded")}),
        (["--reason", "provider_error"], {("waiting", "provider_error")}),
        (["--state", "dead", "--reason", "empty", "--since", "1d"], {("dead", "empty")}),
        (["--since", "2030-01-01"], set()),
        (["--stalled"], set()),
    ],
)
def test_jobs_filters(operated: Operated, options: list[str], kinds: set[tuple[str, str]]) -> None:
    expected = Counter({one: count for one, count in operated.kinds.items() if one in kinds})
    assert Counter(map(kind, jobs(operated.environ, *options))) == expected


def test_jobs_below_a_prefix_come_by_name(operated: Operated) -> None:
    found = jobs(operated.environ, "--prefix", f"gs://{operated.world.bucket}/calls/1/")
    names = [record["name"] for record in found]
    assert names == [f"calls/1/{number:02}.wav" for number in range(RECORDINGS)]
    assert len(jobs(operated.environ, "--prefix", f"gs://{operated.world.bucket}/calls/")) == RECORDINGS * COPIES


def test_jobs_on_a_terminal_is_a_table_with_totals_and_names_are_inert(operated: Operated) -> None:
    seen = on_terminal(operated.environ, "jobs", "--limit", "3")
    assert f"and {operated.kinds.total() - 3} more" in seen
    for (state, reason), count in operated.kinds.items():
        assert f"{count:>8}  {state}{f' ({reason})' if reason else ''}\r\n" in seen
    odd = on_terminal(operated.environ, "jobs", "--prefix", f"gs://{operated.world.bucket}/odd/")
    assert r"#3 & <b>50%</b>\x1b[31m.wav" in odd
    assert "\x1b[31m" not in odd


def test_explain_tells_of_every_ending(operated: Operated) -> None:
    done = explain(operated, "calls/1/01.wav")
    assert "(live): done" in done
    assert "1.0 s of audio" in done
    assert "0 silent, whisper-1" in done
    assert done.count(f"gs://{operated.world.output_bucket}/{PREFIX}/calls/1/01.wav") == 2
    assert done.count("matches its source") == 2
    assert "Nothing: it is done" in done
    dead = explain(operated, "cursed/1.wav")
    assert "dead, exhausted: 2 attempts failed" in dead
    assert dead.count("provider_error") >= 2
    assert "error.json: matches its source" in dead
    assert "attempt 2 of 10" in explain(operated, "waiting/1.wav")
    assert "In work." in explain(operated, "held/1.wav")
    assert "fell silent" in explain(operated, "silent/1.wav")
    assert "no live object" in explain(operated, "gone/1.wav")
    replaced = explain(operated, "replaced/1.wav")
    assert replaced.index("(live): done") < replaced.index(": superseded")


def test_explain_sees_an_output_that_is_gone_or_somebody_elses(operated: Operated) -> None:
    bucket = operated.world.storage.bucket(operated.world.output_bucket)
    bucket.delete_blob(f"{PREFIX}/calls/0/00.wav.txt")
    bucket.blob(f"{PREFIX}/calls/0/00.wav.json").upload_from_string("{}")
    told = explain(operated, "calls/0/00.wav")
    assert "00.wav.txt: missing" in told
    assert "00.wav.json: not ours" in told


def test_explain_names_the_rule_for_an_object_without_a_record(operated: Operated) -> None:
    operated.world.upload("notes.txt", b"notes", content_type="text/plain")
    assert "no record: Ignored (not_included)" in explain(operated, "notes.txt")
    exclude = {**operated.environ, "SUBSCRIBER_EXCLUDE": "b*,notes.*"}
    assert "matches 'notes.*' in EXCLUDE" in explain(operated, "notes.txt", exclude)


def test_a_name_with_a_hash_is_found_whole_and_a_generation_by_its_number(operated: Operated) -> None:
    (odd,) = jobs(operated.environ, "--prefix", f"gs://{operated.world.bucket}/odd/")
    assert "(live): done" in explain(operated, odd["name"])
    (old,) = [one for one in jobs(operated.environ, "--state", "superseded") if one["name"] == "replaced/2.wav"]
    told = explain(operated, f"replaced/2.wav#{old['generation']}")
    assert f"generation {old['generation']}: superseded" in told
    assert "done" not in told


def test_of_nothing_explain_says_so(operated: Operated) -> None:
    done = command(operated.environ, "explain", f"gs://{operated.world.bucket}/nothing.wav")
    assert (done.returncode, "nobody has claimed it" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "nothing.wav"], "is not gs://BUCKET/NAME"),
        (["jobs", "--since", "soon"], "is no time"),
        (["jobs", "--state", "asleep"], "asleep"),
        (["forget"], "Missing argument"),
    ],
)
def test_bad_usage_is_told_with_exit_code_2(operated: Operated, arguments: list[str], said: str) -> None:
    done = command(operated.environ, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_only_check_needs_the_providers_key(operated: Operated) -> None:
    keyless = {name: value for name, value in operated.environ.items() if not name.startswith("OPENAI_")}
    assert jobs(keyless, "--state", "gone")
    assert command(keyless, "check").returncode == 2


def test_check_proves_what_an_emulator_can_and_says_what_it_cannot(operated: Operated) -> None:
    before = operated.world.outputs().keys()
    done = command(operated.environ, "check", "--json", "--spend")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    levels = {(one["subject"], one["level"]) for one in found}
    assert {(subject, "ok") for subject in ("subscription", "output", "ledger", "clock", "provider", "port")} <= levels
    assert {(subject, "unknown") for subject in ("subscription", "recordings", "output", "ledger")} <= levels
    failures = [one for one in found if one["level"] == "fail"]
    assert ["MAX_EVENT_AGE_SECONDS" in one["message"] for one in failures] == [True], (
        "the emulator's 7 days are too few"
    )
    assert done.returncode == 1
    young = {**operated.environ, "SUBSCRIBER_MAX_EVENT_AGE_SECONDS": "600"}
    assert command(young, "check").returncode == 0
    assert operated.world.outputs().keys() == before


def test_check_names_what_is_missing(operated: Operated) -> None:
    broken = {
        **operated.environ,
        "SUBSCRIBER_SUBSCRIPTION": f"projects/{operated.world.emulators.project}/subscriptions/absent",
        "SUBSCRIBER_OUTPUT": "gs://no-such-bucket-here",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    }
    done = command(broken, "check")
    assert done.returncode == 1
    assert "gcloud pubsub subscriptions create" in done.stdout
    assert "gcloud storage buckets create gs://no-such-bucket-here" in done.stdout
    assert "fail    provider: unavailable" in done.stdout
