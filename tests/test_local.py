"""`subscriber local INBOX OUTBOX`, as a process: every file of a folder tree ends with a transcript or a reason."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jiwer
import pytest

from subscriber.recordings import recordings
from subscriber.whisper_server import Control, Server
from tests.daemon import until
from tests.sound import heavy, silent, wav
from tests.test_demo import left_behind, marked, require_nothing_left

GOOD = ("plain.wav", "-dash.WAV", "sub dir/deep/tür #1 %20?.wav", "line\nbreak.wav", "🎙.wav")


@pytest.fixture
def stub(server: Server, control: Control) -> dict[str, str]:  # noqa: ARG001 - resets the server
    """An environment whose provider is the stub."""
    return environment(OPENAI_BASE_URL=f"{server.url}/v1", SUBSCRIBER_SHUTDOWN_GRACE_SECONDS="1")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder tree of good recordings, each with sound of its own."""
    folder = tmp_path / "inbox"
    for name in GOOD:
        put(folder / name, wav(name))
    return folder


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def environment(**more: str) -> dict[str, str]:
    """This environment without a provider or settings."""
    ours = ("SUBSCRIBER_", "OPENAI_")
    return {name: value for name, value in marked(**more).items() if name in more or not name.startswith(ours)}


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def command(*arguments: Path | str) -> list[str]:
    return [sys.executable, "-m", "subscriber", "local", *map(str, arguments)]


def local(environ: dict[str, str], *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), check=False, env=environ, capture_output=True, text=True, timeout=120)


@contextmanager
def running(environ: dict[str, str], *arguments: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command(*arguments), env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def outputs(outbox: Path) -> set[str]:
    files = (path.relative_to(outbox) for path in outbox.rglob("*") if path.is_file())
    return {str(path) for path in files if path.parts[0] not in {".subscriber", ".chunks"}}


def transcripts(*names: str) -> set[str]:
    return {f"{name}.{ending}" for name in names for ending in ("json", "txt")}


def words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def test_every_good_file_has_its_outputs_and_a_second_run_asks_nothing(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    done = local(stub, inbox, outbox)
    assert done.returncode == 0, done.stderr
    assert outputs(outbox) == transcripts(*GOOD)
    assert set(control.status()["transcribed_bodies"].values()) == {1}
    assert local(stub, inbox, outbox).returncode == 0
    assert control.status()["received"] == len(GOOD)


def test_a_bad_file_fails_the_run_but_no_other_file(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    put(inbox / "sub dir/empty.mp3", b"")
    put(inbox / "note.txt", b"not for us")
    put(inbox / ".hidden.wav", wav("hidden"))
    put(inbox / ".trash/old.wav", wav("old"))
    for _ in range(2):
        assert local(stub, inbox, outbox).returncode == 1
        assert outputs(outbox) == transcripts(*GOOD) | {"sub dir/empty.mp3.error.json"}
    assert control.status()["received"] == len(GOOD)
    assert json.loads((outbox / "sub dir/empty.mp3.error.json").read_text())["reason"]["kind"] == "empty"
    (inbox / "sub dir/empty.mp3").unlink()
    assert local(stub, inbox, outbox).returncode == 0


def test_only_a_changed_file_is_transcribed_anew(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    assert local(stub, inbox, outbox).returncode == 0
    before = (outbox / "plain.wav.txt").read_text()
    put(inbox / "plain.wav", wav("changed"))
    assert local(stub, inbox, outbox).returncode == 0
    assert (outbox / "plain.wav.txt").read_text() != before
    assert control.status()["received"] == len(GOOD) + 1


def test_the_same_sound_under_a_second_name_costs_nothing(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    assert local(stub, inbox, outbox).returncode == 0
    put(inbox / "copy.wav", (inbox / "plain.wav").read_bytes())
    assert local(stub, inbox, outbox).returncode == 0
    assert outputs(outbox) == transcripts(*GOOD, "copy.wav")
    assert (outbox / "copy.wav.txt").read_text() == (outbox / "plain.wav.txt").read_text()
    assert control.status()["received"] == len(GOOD)


def test_an_interrupted_run_ends_cleanly_and_the_next_one_finishes(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    control.hold()
    with running(stub, inbox, outbox) as process:
        control.wait_for_requests(len(GOOD))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not outputs(outbox)
    control.release()
    assert local(stub, inbox, outbox).returncode == 0
    assert outputs(outbox) == transcripts(*GOOD)
    assert control.status()["received"] == 2 * len(GOOD)


def test_a_small_file_need_not_wait_for_large_ones(
    stub: dict[str, str], control: Control, tmp_path: Path, outbox: Path
) -> None:
    large = [f"{number}.wav" for number in range(6)]
    for name in large:
        put(tmp_path / "inbox" / name, heavy(wav(name)))
    put(tmp_path / "inbox" / "small.wav", silent())
    control.hold()
    with running(stub | {"SUBSCRIBER_MAX_JOBS": "4"}, tmp_path / "inbox", outbox) as process:
        until(lambda: outputs(outbox) == transcripts("small.wav"), "the small file is done")
        control.release()
        assert process.wait(60) == 0
    assert outputs(outbox) == transcripts(*large, "small.wav")


def test_watching_goes_on_with_files_that_come_later(stub: dict[str, str], inbox: Path, outbox: Path) -> None:
    with running(stub, inbox, outbox, "--watch") as process:
        until(lambda: transcripts(*GOOD) <= outputs(outbox), "the first files are transcribed")
        put(inbox / "later/second.wav", wav("later"))
        until(lambda: "later/second.wav.json" in outputs(outbox), "the later file is transcribed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("inbox", "inbox/outbox"), "OUTBOX: .* lies in the inbox"),
        (("inbox", "inbox"), "OUTBOX: .* lies in the inbox"),
        (("missing", "outbox"), "INBOX: .* is not a folder"),
        (("inbox/plain.wav", "outbox"), "INBOX: .* is not a folder"),
        (("inbox", "inbox/../file"), "OUTBOX: .* cannot be made: Not a directory"),
        (("inbox",), "(?i)missing argument 'outbox'"),
    ],
)
def test_folders_that_will_not_do_are_refused(
    stub: dict[str, str], inbox: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    folder = inbox.parent
    put(folder / "file", b"")
    before = set(folder.rglob("*"))
    done = local(stub, *(folder / argument for argument in arguments))
    assert done.returncode == 2
    assert re.search(complaint, done.stderr)
    assert "Traceback" not in done.stderr
    assert set(folder.rglob("*")) == before


def test_an_empty_inbox_is_done_at_once(stub: dict[str, str], tmp_path: Path, outbox: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert local(stub, tmp_path / "nothing", outbox).returncode == 0


def test_the_local_whisper_hears_the_bundled_recordings(tmp_path: Path, outbox: Path) -> None:
    """Also with a file in between that is no audio; nothing of the local Whisper stays behind."""
    for recording in recordings():
        put(tmp_path / "inbox" / recording.path.name, recording.path.read_bytes())
    put(tmp_path / "inbox/text.mp3", b"no audio at all")
    environ = environment()
    assert local(environ, tmp_path / "inbox", outbox).returncode == 1
    assert json.loads((outbox / "text.mp3.error.json").read_text())["reason"]["kind"] == "undecodable"
    for recording in recordings():
        heard = json.loads((outbox / f"{recording.path.name}.json").read_text())["text"]
        assert jiwer.wer(words(recording.text), words(heard)) < 0.1, recording.path.name
    require_nothing_left(environ)


def test_an_interrupted_run_takes_its_local_whisper_along(inbox: Path, outbox: Path) -> None:
    environ = environment()
    with running(environ, inbox, outbox) as process:
        until(lambda: any("local_whisper" in line for line in left_behind(environ)), "the local Whisper is started")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    require_nothing_left(environ)


def test_the_local_whisper_hears_human_speech(samples: Path | None, tmp_path: Path, outbox: Path) -> None:
    """Over all English files less than a word in ten is wrong, `20th` for `twentieth` counted as wrong too."""
    if samples is None:
        pytest.skip("there are no samples beside this checkout")
    listed = json.loads((samples / "manifest.json").read_text())
    said = {one["file"]: words(one["text"]) for one in listed if (one["kind"], one["language"]) == ("human", "en")}
    (tmp_path / "inbox").mkdir()
    for name in said:
        shutil.copy(samples / name, tmp_path / "inbox")
    assert local(environment(), tmp_path / "inbox", outbox).returncode == 0
    heard = {name: words((outbox / f"{name}.txt").read_text()) for name in said}
    for chosen in (said, [name for name in said if name.startswith("fleurs-")]):
        assert jiwer.wer([said[name] for name in chosen], [heard[name] for name in chosen]) < 0.1, heard
