"""The documented screens are those that the commands print, and the documented fields those that they write."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from subscriber.compose_desk import desk
from subscriber.desk.explain import document, gather, tell
from subscriber.desk.forget import find
from subscriber.desk.words import readings
from subscriber.documents import to_document
from subscriber.whisper_server import Server, StubEngine
from tests.claims import CLAIMED
from tests.daemon import command, jobs
from tests.desk.conftest import Operated
from tests.desk.test_commands import on_terminal
from tests.sound import wav

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "desk.md").read_text()
SAMPLES = dict(re.findall(r"```console\n\$ (.*)\n((?:.*\n)*?)```", DOCUMENT + (ROOT / "README.md").read_text()))


def told(text: str) -> list[str]:
    """Lines without what another run has otherwise: numbers, times, layout."""
    text = re.sub(r"(\d+ ?(s|min|h|d) ago|in \d+ (s|min|h|d)\b)", "some time off", text)
    text = re.sub(r"[+-]?\d+(\.\d+)?", "0", text.replace("\r", ""))
    text = re.sub(r"\x1b\[[0-9;]*m|[─━]+", "", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def canonical(operated: Operated, text: str) -> str:
    """With the names of the documents in place of this world's."""
    world = operated.world
    names = {
        world.bucket: "calls",
        world.output_bucket: "results",
        world.emulators.project: "my-project",
        world.queue.subscription.rpartition("/")[2]: "subscriber",
        world.queue.topic.rpartition("/")[2]: "recordings",
    }
    for ours, theirs in names.items():
        text = text.replace(ours, theirs)
    return re.sub(r"vm/\w+|\w[\w.-]*/[0-9a-f]{8}\b", "POD/0", re.sub(r"http://127.0.0.1:\d+", "http://whisper", text))


def require_sample(sample: str, real: str) -> None:
    """Each line of the sample is printed, in this order; `...` stands for lines that are left out."""
    wanted, lines = told(re.sub(r"\b[\w.-]+/[0-9a-f]{8}\b", "POD/0", sample)), iter(told(real))
    for line in wanted:
        assert line == "..." or line in lines, f"{line!r} is not in\n{real}"


@pytest.mark.parametrize("name", ["done/1", "cursed/1"])
def test_the_screens_of_explain(operated: Operated, name: str) -> None:
    uri = f"gs://calls/{name}.wav"
    real = command(operated.environ, "explain", uri.replace("calls", operated.world.bucket, 1))
    require_sample(SAMPLES[f"subscriber explain {uri}"], canonical(operated, real.stdout))


def test_the_screen_of_check(operated: Operated) -> None:
    real = command(operated.environ, "check")
    require_sample(SAMPLES["subscriber check"], canonical(operated, real.stdout))


def test_the_screen_of_jobs(operated: Operated) -> None:
    real = on_terminal(operated.environ, "jobs", "--prefix", f"gs://{operated.world.bucket}/c", "--limit", "3")
    require_sample(SAMPLES["subscriber jobs --prefix gs://calls/c --limit 3"], canonical(operated, real))


def test_the_screen_of_local(tmp_path: Path) -> None:
    inbox = tmp_path / "recordings"
    (inbox / "2026").mkdir(parents=True)
    (inbox / "2026/one.wav").write_bytes(wav("one"))
    (inbox / "two.wav").write_bytes(wav("two"))
    (inbox / "letter.mp3").write_bytes(b"Dear all")
    (inbox / "notes.txt").write_bytes(b"notes")
    with Server(StubEngine()) as server:
        environ = {"PATH": os.environ["PATH"], "OPENAI_BASE_URL": f"{server.url}/v1", "COLUMNS": "100"}
        real = command(environ, "local", str(inbox), str(tmp_path / "transcripts"))
    require_sample(SAMPLES["subscriber local ~/recordings ~/transcripts"], real.stdout)


def documented(heading: str) -> set[str]:
    """The names in the first column of the first table below a heading of docs/desk.md."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table
    return {
        name for row in re.findall(r"^\| (`.*?) \|", table[0], re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }


def names(told: dict[str, Any]) -> set[str]:
    """Of all fields but those of the ledger's document, as the documents write them."""
    found = set(told) | {f"live.{name}" for name in told["live"] or {}}
    for record in told["records"]:
        found |= {f"records[].{name}" for name in record.keys() - to_document(CLAIMED).keys()}
        found |= {f"records[].files[].{name}" for file in record["files"] or () for name in file}
    return found


def test_explain_writes_the_documented_fields_and_no_others(operated: Operated) -> None:
    uri = f"gs://{operated.world.bucket}/done/1.wav"
    told = json.loads(command(operated.environ, "explain", uri, "--json").stdout)
    assert names(told) == documented("explain --json")
    (record,) = told["records"]
    assert {"nonce"} == to_document(CLAIMED).keys() - record.keys()
    assert [file["matches"] for file in record["files"]] == [True, True]
    assert (told["uri"], told["live"]["generation"]) == (uri, record["generation"])


def test_every_record_can_be_explained_and_forgotten(operated: Operated) -> None:
    """All kinds and all names of them; nothing is erased here."""
    found = {(one["bucket"], one["name"]) for one in jobs(operated.environ) if one["name"]}
    assert len(found) > 250
    with desk(operated.environ) as tools:
        for bucket, name in found:
            addresses = readings(f"gs://{bucket}/{name}")
            story = gather(tools, addresses)
            assert story.known
            lines = list(tell(story, tools, tools.clock()))
            assert all(line.isprintable() for line in lines)
            shown = json.loads(json.dumps(document(story, tools, tools.clock()), default=str))
            assert names(shown) <= documented("explain --json")
            assert find(tools, addresses).jobs
