"""The demo is what newcomers judge us by: it proves what it says, says when it cannot, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber import demo
from subscriber.demo.material import COPY, FILM, LONG
from subscriber.demo.programs import DemoFailed, Program, wait_until
from subscriber.demo.report import Fact, word_errors
from subscriber.emulators import Emulators
from subscriber.recordings import recordings
from tests.world import fresh

COMMAND = [sys.executable, "-m", "subscriber", "demo"]
HOSTS = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")
WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=8)


def marked(**more: str) -> dict[str, str]:
    """This environment without emulators, and with a mark that every process below inherits."""
    return {name: value for name, value in os.environ.items() if name not in HOSTS} | {"MARK": fresh("mark"), **more}


def left_behind(environ: dict[str, str]) -> list[str]:
    """The command lines of all living processes that carry the mark."""
    mark = f"MARK={environ['MARK']}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return found


def require_nothing_left(environ: dict[str, str]) -> None:
    """Who was killed may take a moment to go."""
    deadline = time.monotonic() + 30
    while left := left_behind(environ):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def account(output: str) -> dict[str, tuple[str, int, int]]:
    """Each line of the account: its verdict, what is and what must be."""
    rows = re.findall(r"^ (ok|NO) +(\S.*?) +(\d+) +(\d+) *$", output, re.MULTILINE)
    return {text: (verdict, int(seen), int(expected)) for verdict, text, seen, expected in rows}


def finished(environ: dict[str, str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The demo, run to its end."""
    command = [*COMMAND, *options]
    return subprocess.run(command, check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=280)


@contextmanager
def running(environ: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, killed at last if it still runs."""
    with subprocess.Popen(COMMAND, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(environ: dict[str, str], command: str) -> None:
    deadline = time.monotonic() + 120
    while not any(command in line for line in left_behind(environ)):
        assert time.monotonic() < deadline, f"{command} never started"
        time.sleep(0.02)


def sample() -> list[str]:
    """The lines of the demo that the README shows, but for what Whisper heard: that may differ between processors."""
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    block = readme.partition("make demo\n```\n\n```\n")[2].partition("```")[0]
    shown, _, heard = block.partition(" file            said")
    return [*shown.splitlines(), *heard.partition("\n\n")[2].splitlines()]


def outline(line: str) -> str:
    """A line whatever its numbers and its columns' widths."""
    return re.sub(r"[\d.]+(, \d+)*", "0", " ".join(line.replace("─", "").split()))


def test_it_proves_the_whole_way_and_keeps_the_outputs(emulators: Emulators, tmp_path: Path) -> None:  # noqa: ARG001 - skips without them
    environ = marked()
    done = finished(environ, tmp_path, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    facts = account(done.stdout)
    assert len(facts) == 10
    assert {verdict for verdict, _, _ in facts.values()} == {"ok"}
    assert facts["files with a transcript, at most one word in ten wrong"] == ("ok", 9, 9)
    assert facts["requests for the same bytes under another name"] == ("ok", 0, 0)
    assert facts["duplicates: each file again, one file also while in work"] == ("ok", 10, 10)
    assert facts["messages acked"] == ("ok", 19, 19)
    assert re.search(r"metrics were at http://127\.0\.0\.1:\d+/metrics", done.stdout)
    require_long_file_and_copy(done.stdout, facts)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    kept = {path.name for path in (tmp_path / "demo-output").iterdir()}
    names = [one.path.name for one in recordings()] + [FILM, LONG, COPY]
    assert kept == {f"{name}.{ending}" for name in names for ending in ("json", "txt")}
    assert not done.stderr
    require_nothing_left(environ)
    printed = {outline(line) for line in done.stdout.splitlines()}
    assert [line for line in sample() if line.strip(" .") and outline(line) not in printed] == []


def require_long_file_and_copy(output: str, facts: dict[str, tuple[str, int, int]]) -> None:
    """The ledger showed the long file on its way; each of its chunks was paid for once, and none for its copy."""
    (seen,) = re.findall(rf"^By the ledger {LONG} was at (\d+(?:, \d+)*) of 192 s\.$", output, re.MULTILINE)
    assert all(0 < int(one) < 192 for one in seen.split(", "))
    ((paid, cached),) = re.findall(rf"^{LONG}: (\d+) chunks paid for, (\d+) from the cache", output, re.MULTILINE)
    assert (int(paid) >= 7, cached) == (True, "0")
    assert f"\n{COPY}: 0 chunks paid for, {paid} from the cache.\n" in output
    assert facts["chunks of that upload, each from the cache"] == ("ok", int(paid), int(paid))
    verdict, received, named = facts["requests to Whisper, as many as the transcripts name"]
    assert verdict == "ok"
    assert received == named >= len(recordings()) + 1 + int(paid)


def test_without_emulators_it_says_how_to_get_them_and_uses_folders(tmp_path: Path) -> None:
    environ = marked(PATH=str(tmp_path), TMPDIR=str(tmp_path))
    done = finished(environ, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gcloud components install pubsub-emulator cloud-firestore-emulator" in " ".join(done.stdout.split())
    facts = account(done.stdout)
    assert len(facts) == 6
    assert {verdict for verdict, _, _ in facts.values()} == {"ok"}
    assert facts["requests for the same bytes under another name"] == ("ok", 0, 0)
    require_long_file_and_copy(done.stdout, facts)
    assert not list(tmp_path.iterdir()), "temporary files are left"
    require_nothing_left(environ)


@pytest.mark.parametrize(
    ("moment", "sign"),
    [("subscriber whisper-server", signal.SIGHUP), ("pubsub", signal.SIGTERM), ("subscriber run", signal.SIGINT)],
)
def test_a_signal_stops_everything(
    emulators: Emulators,  # noqa: ARG001 - skips without them
    tmp_path: Path,
    moment: str,
    sign: signal.Signals,
) -> None:
    environ = marked(TMPDIR=str(tmp_path))
    with running(environ, tmp_path) as process:
        wait_for(environ, moment)
        process.send_signal(sign)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert output.endswith("Interrupted. Everything is stopped.\n")
    assert not [left for left in tmp_path.iterdir() if left.name.startswith("subscriber-demo-")]
    require_nothing_left(environ)


@pytest.mark.parametrize("moment", ["subscriber whisper-server", "subscriber run"])
def test_a_demo_that_is_killed_takes_everything_along(
    emulators: Emulators,  # noqa: ARG001 - skips without them
    tmp_path: Path,
    moment: str,
) -> None:
    environ = marked(TMPDIR=str(tmp_path))
    with running(environ, tmp_path) as process:
        wait_for(environ, moment)
        process.kill()
    require_nothing_left(environ)


def test_what_is_not_true_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = [Fact("one and one", 2, 2), Fact("the answer", 41, 42)]
    monkeypatch.setattr(demo, "_play", lambda *_: facts)
    monkeypatch.setattr(demo, "_stop_on_signals", lambda: None)
    assert demo.run_demo(keep=False) == 1
    output = capsys.readouterr().out
    assert account(output) == {"one and one": ("ok", 2, 2), "the answer": ("NO", 41, 42)}
    assert "NOT true: the answer." in output


def test_a_program_that_dies_is_noticed_at_once_and_quoted(tmp_path: Path) -> None:
    with (
        Program(["sing"], dict(os.environ), tmp_path / "log") as program,
        pytest.raises(DemoFailed, match=r"`subscriber sing` ended before it sings(.|\n)*No such command"),
    ):
        wait_until(lambda: False, "it sings", program)


@given(said=WORDS, heard=WORDS)
def test_word_errors_are_counted_as_the_reference_does(said: list[str], heard: list[str]) -> None:
    assert word_errors(said, heard) == round(jiwer.wer(" ".join(said), " ".join(heard)) * len(said))
