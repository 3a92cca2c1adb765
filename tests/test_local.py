"""`subscriber local INBOX OUTBOX`, as a process: every file of a folder tree ends with a transcript or a reason."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import jiwer
import pytest

from subscriber.recordings import recordings
from subscriber.whisper_server import Control, Server, StubEngine
from tests.daemon import until
from tests.sound import heard, heavy, said, silent, wav
from tests.test_demo import left_behind, marked, require_nothing_left

GOOD = ("plain.wav", "-dash.WAV", "sub dir/deep/tür #1 %20?.wav", "line\nbreak.wav", "🎙.wav")


@pytest.fixture
def stub(server: Server, control: Control, tmp_path: Path) -> dict[str, str]:  # noqa: ARG001 - resets the server
    """An environment whose provider is the stub, with a cache folder of its own."""
    cache = str(tmp_path / "cache")
    return environment(OPENAI_BASE_URL=f"{server.url}/v1", SUBSCRIBER_SHUTDOWN_GRACE_SECONDS="1", XDG_CACHE_HOME=cache)


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
        (("missing", "outbox"), "INBOX: .* is neither a folder nor a file"),
        (("inbox", "inbox/../file"), "OUTBOX: .* cannot be made or written: File exists"),
        (("inbox", "file/below"), "OUTBOX: .* cannot be made or written: Not a directory"),
        (("inbox", "linked"), "OUTBOX: .*linked/.subscriber is a link"),
        (("inbox/plain.wav", "outbox", "--watch"), "--watch: .*plain.wav is not a folder"),
        (("inbox", "-"), "OUTBOX: `-` prints the text of one file, and .* is a folder"),
        (("inbox", "outbox", "--jobs=0"), "--jobs.* greater than or equal to 1"),
        (("inbox",), "(?i)missing argument 'outbox'"),
    ],
)
def test_folders_that_will_not_do_are_refused(
    stub: dict[str, str], inbox: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    folder = inbox.parent
    put(folder / "file", b"")
    (folder / "linked").mkdir()
    (folder / "linked/.subscriber").symlink_to(folder, target_is_directory=True)
    before = set(folder.rglob("*"))
    done = local(stub, *(argument if argument.startswith("-") else folder / argument for argument in arguments))
    assert done.returncode == 2
    assert re.search(complaint, done.stderr)
    assert "Traceback" not in done.stderr
    assert set(folder.rglob("*")) == before


def test_the_table_tells_what_was_done_what_was_not_and_why(stub: dict[str, str], inbox: Path, outbox: Path) -> None:
    put(inbox / "empty.mp3", b"")
    put(inbox / "note.txt", b"not for us")
    first, second = (local(stub, inbox, outbox).stdout for _ in range(2))
    for told in (first, second):
        assert re.search(r"^ empty.mp3 +failed +the object holds no bytes *$", told, re.MULTILINE)
        assert "1 ignored: neither audio nor video, or excluded, 1 failed." in told
    assert re.search(r"^ plain.wav +0:01 +\$0.0001 +\d+:\d\d *$", first, re.MULTILINE)
    assert re.search(r"^ line\\nbreak.wav ", first, re.MULTILINE)
    assert f"{len(GOOD)} done," in first
    assert "0:05 of sound for $0.0005, in 0:" in first
    assert f"{len(GOOD)} done before," in second
    assert "plain.wav" not in second


def lead_astray(inbox: Path) -> dict[str, str]:
    """Fill an inbox with what cannot become a job; what has to be said of each."""
    outside = inbox.parent / "outside"
    put(outside / "secret.wav", wav("secret"))
    (inbox / "file.wav").symlink_to(outside / "secret.wav")
    (inbox / "folder").symlink_to(outside, target_is_directory=True)
    (inbox / "dots.wav").symlink_to("../outside/secret.wav")
    (inbox / "nowhere.wav").symlink_to(inbox / "missing")
    (inbox / "circle.wav").symlink_to("circle.wav")
    os.mkfifo(inbox / "pipe.wav")
    put(Path(os.fsdecode(os.fsencode(inbox) + b"/\xff.wav")), wav("bytes"))
    for name, year in (("early.wav", 1969), ("late.wav", 2300)):
        put(inbox / name, wav(name))
        moment = datetime(year, 6, 1, tzinfo=UTC).timestamp()
        os.utime(inbox / name, (moment, moment))
    return {
        "file.wav": "a link that leads out of the inbox",
        "dots.wav": "a link that leads out of the inbox",
        "folder": "a link to a folder that is hidden or outside",
        "nowhere.wav": "a link that leads nowhere",
        "circle.wav": "cannot be looked at: Too many levels",
        "pipe.wav": "neither a file nor a folder",
        r"\xff.wav": "its name is not UTF-8",
        "early.wav": "it is dated before 1970",
        "late.wav": "it is dated after 2262",
    }


def test_what_cannot_become_a_job_is_told_and_fails_the_run_until_it_is_mended(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    expected = lead_astray(inbox)
    put(inbox / "alias.wav", b"")
    (inbox / "alias.wav").unlink()
    (inbox / "alias.wav").symlink_to("plain.wav")  # leads to where we may look: fine
    (inbox / "README").symlink_to(inbox / "missing")  # not for us, whatever it leads to
    done = local({**stub, "COLUMNS": "200"}, inbox, outbox)
    assert done.returncode == 1
    for name, why in expected.items():
        assert re.search(rf"^ {re.escape(name)} +failed +{re.escape(why)}", done.stdout, re.MULTILINE), done.stdout
    assert f"{len(GOOD) + 1} done, {len(expected)} failed." in done.stdout
    assert outputs(outbox) == transcripts(*GOOD, "alias.wav")
    assert control.status()["received"] == len(GOOD)
    for path in inbox.iterdir():
        if path.is_symlink() or path.is_fifo() or path.name == os.fsdecode(b"\xff.wav"):
            path.unlink()
        elif path.is_file():
            os.utime(path)
    assert local(stub, inbox, outbox).returncode == 0
    assert transcripts("early.wav", "late.wav") < outputs(outbox)


def test_no_output_is_led_out_of_the_outbox_and_none_is_paid_for_in_vain(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    outbox.mkdir()
    (outbox / "sub dir").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    put(inbox / ("x" * 248 + ".wav"), wav("long name"))
    done = local({**stub, "COLUMNS": "400"}, inbox, outbox)
    assert done.returncode == 1
    assert "leads out of the bucket's folder" in done.stdout
    assert "more than 255 bytes" in done.stdout
    assert not list((tmp_path / "elsewhere").iterdir())
    assert control.status()["received"] == len(GOOD) - 1


def test_an_older_file_in_the_place_of_a_newer_one_is_told(stub: dict[str, str], inbox: Path, outbox: Path) -> None:
    """Its transcript would stand where the newer one's is."""
    assert local(stub, inbox, outbox).returncode == 0
    put(inbox / "plain.wav", wav("restored"))
    os.utime(inbox / "plain.wav", (1_000_000_000, 1_000_000_000))
    done = local({**stub, "COLUMNS": "200"}, inbox, outbox)
    assert done.returncode == 1
    assert re.search(r"^ plain.wav +failed +a newer file of this name was there", done.stdout, re.MULTILINE)
    (inbox / "plain.wav").touch()
    assert local(stub, inbox, outbox).returncode == 0


def test_a_file_of_another_inbox_never_replaces_a_transcript(
    stub: dict[str, str], inbox: Path, outbox: Path, tmp_path: Path
) -> None:
    assert local(stub, inbox, outbox).returncode == 0
    before = (outbox / "plain.wav.txt").read_text()
    put(tmp_path / "other/plain.wav", wav("another one"))
    put(tmp_path / "other/new.wav", wav("new"))
    done = local({**stub, "COLUMNS": "200"}, tmp_path / "other", outbox)
    assert done.returncode == 1
    assert re.search(r"^ plain.wav +failed +.*is the output of gs://inbox/plain.wav", done.stdout, re.MULTILINE)
    assert (outbox / "plain.wav.txt").read_text() == before
    assert "new.wav.txt" in outputs(outbox)
    assert local(stub, inbox, outbox).returncode == 0


def test_with_one_job_at_a_time_no_file_begins_before_another_has_ended(
    stub: dict[str, str], inbox: Path, outbox: Path
) -> None:
    assert local(stub, inbox, outbox, "--jobs", "1").returncode == 0
    with closing(sqlite3.connect(outbox / ".subscriber/ledger.sqlite")) as ledger:
        records = [json.loads(text) for (text,) in ledger.execute("SELECT document FROM records")]
    spans = sorted((record["created_at"], record["completed_at"]) for record in records)
    assert len(spans) == len(GOOD)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


@pytest.mark.parametrize("name", ["plain.wav", "-dash.WAV", "tür #1 %20?.dat"])
def test_one_file_is_printed_and_leaves_nothing_behind(
    stub: dict[str, str], control: Control, tmp_path: Path, name: str
) -> None:
    """Whoever names a file means it, whatever its name says of what it is."""
    put(tmp_path / "inbox" / name, wav(name))
    put(tmp_path / "inbox/beside.wav", wav("beside"))
    before = set(tmp_path.rglob("*"))
    environ = {**stub, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "SUBSCRIBER_FORMATS": "srt"}
    done = local(environ, tmp_path / "inbox" / name, "-", "--no-cache")
    assert (done.returncode, done.stdout) == (0, f"{said(wav(name))}\n")
    assert set(tmp_path.rglob("*")) == before
    assert control.status()["received"] == 1


def test_a_file_that_is_printed_again_is_not_paid_again_for_a_week(
    stub: dict[str, str], control: Control, tmp_path: Path
) -> None:
    file, cache = tmp_path / "one.wav", tmp_path / "cache/subscriber"
    put(file, wav("one"))
    told = [local(stub, file, "-").stdout for _ in range(2)]
    assert told == [f"{said(wav('one'))}\n"] * 2
    assert control.status()["received"] == 1
    assert cache.stat().st_mode & 0o077 == 0, "it holds what somebody said"
    assert not list(cache.rglob("*.txt"))
    for kept in cache.rglob("*.json"):
        os.utime(kept, (0, 0))
    assert local(stub, file, "-").returncode == 0
    assert control.status()["received"] == 2


@pytest.mark.parametrize("cache", ["a file/cache", "/proc/nowhere"])
def test_where_no_cache_can_be_had_the_text_comes_all_the_same(
    stub: dict[str, str], tmp_path: Path, cache: str
) -> None:
    put(tmp_path / "a file", wav("one"))
    done = local({**stub, "XDG_CACHE_HOME": str(tmp_path / cache)}, tmp_path / "a file", "-")
    assert (done.returncode, done.stdout) == (0, f"{said(wav('one'))}\n")
    assert "chunks_not_kept" in done.stderr


def test_one_file_goes_into_a_folder_as_it_does_with_its_neighbours(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    (inbox / "link.wav").symlink_to(inbox / "plain.wav")
    for file in ("plain.wav", "link.wav"):
        assert local(stub, inbox / file, outbox).returncode == 0
        assert outputs(outbox) == transcripts("plain.wav")
    (inbox / "link.wav").unlink()
    assert local(stub, inbox, outbox).returncode == 0
    assert control.status()["received"] == len(GOOD)


def test_one_file_without_a_transcript_prints_nothing_but_why(stub: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path / "empty.wav", b"")
    put(tmp_path / "old.wav", wav("old"))
    os.utime(tmp_path / "old.wav", (-1, -1))
    for name, why in (("empty.wav", "the object holds no bytes"), ("old.wav", "it is dated before 1970: touch it")):
        done = local(stub, tmp_path / name, "-")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(f"{tmp_path / name}: {why}\n")


def test_an_interruption_before_the_text_is_no_success(stub: dict[str, str], control: Control, inbox: Path) -> None:
    control.hold()
    with running(stub, inbox / "plain.wav", "-") as process:
        control.wait_for_requests(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1


def test_a_reader_that_has_had_enough_is_no_failure(stub: dict[str, str], inbox: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    arguments = command(inbox / "plain.wav", "-")
    done = subprocess.run(arguments, check=False, env=stub, stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@contextmanager
def at_a_terminal(environ: dict[str, str], *arguments: Path | str) -> Iterator[Screen]:
    """`subscriber local`, its standard error a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environ = {**environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        command(*arguments), env=environ, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        try:
            yield Screen(process, ours)
        finally:
            process.kill()
            os.close(ours)


@dataclass
class Screen:
    """A program at a terminal, and what it has shown there so far."""

    process: subprocess.Popen[str]
    _terminal: int
    shown: str = ""

    def until(self, pattern: str) -> None:
        """Return as soon as it shows this; at the program's end its terminal raises."""
        while not re.search(pattern, self.shown):
            self.shown += os.read(self._terminal, 4096).decode(errors="replace")

    def end(self) -> tuple[int, str]:
        """Exit code and standard output."""
        with suppress(OSError):
            self.until("(?!)")
        assert self.process.stdout
        return self.process.wait(30), self.process.stdout.read()


def test_at_a_terminal_bars_show_all_files_and_each_in_work(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    control.hold()
    with at_a_terminal(stub, inbox, outbox) as screen:
        screen.until("all files.*━.*0 of 5")
        screen.until("plain.wav.*━.*0:00 of")
        control.release()
        code, told = screen.end()
    assert code == 0
    assert f"{len(GOOD)} done." in told
    assert "\x1b" not in told
    assert "transcribed" not in screen.shown, "bars tell it already"
    assert "\x1b[?25h" in screen.shown, "the cursor is back"


def test_the_bar_of_a_file_in_work_moves_with_its_chunks(tmp_path: Path, outbox: Path) -> None:
    """Each of seven answers takes longer than the screen needs to be drawn anew."""
    put(tmp_path / "inbox/long.wav", wav("long", seconds=65))
    with Server(StubEngine(0.6)) as slow:
        environ = environment(
            OPENAI_BASE_URL=f"{slow.url}/v1", SUBSCRIBER_CHUNK_SECONDS="10", SUBSCRIBER_WHISPER_CONCURRENCY="1"
        )
        with at_a_terminal(environ, tmp_path / "inbox", outbox) as screen:
            code, _ = screen.end()
    assert code == 0
    seen = sorted({int(seconds) for seconds in re.findall(r"long.wav.*?0:(\d\d) of 1:05", screen.shown)})
    assert len(seen) >= 3, seen


def test_at_a_terminal_a_file_that_waits_says_when_it_is_tried_again_and_why(
    stub: dict[str, str], control: Control, tmp_path: Path, outbox: Path
) -> None:
    put(tmp_path / "inbox/cursed.wav", wav("cursed"))
    control.mode("server_error", sha256=heard(wav("cursed")))
    environ = {**stub, "SUBSCRIBER_RETRY_MIN_SECONDS": "300"}
    with at_a_terminal(environ, tmp_path / "inbox", outbox) as screen:
        screen.until(r"cursed.wav: tried again in [0-5]:\d\d: ")
        screen.process.send_signal(signal.SIGINT)
        code, told = screen.end()
    assert code == 0, "nothing has failed for good"
    assert re.search(r"^ cursed.wav +waiting +tried again in [0-5]:\d\d: ", told, re.MULTILINE)
    assert "1 waiting." in told


def test_a_file_that_was_forgotten_is_left_alone_and_says_so(stub: dict[str, str], inbox: Path, outbox: Path) -> None:
    assert local(stub, inbox, outbox).returncode == 0
    forget = [sys.executable, "-m", "subscriber", "forget", "plain.wav", "--outbox", str(outbox)]
    assert subprocess.run(forget, check=False, env=stub, capture_output=True, timeout=120).returncode == 0
    done = local({**stub, "COLUMNS": "200"}, inbox, outbox)
    assert done.returncode == 0
    assert re.search(r"^ plain.wav +left alone +it was forgotten .*: touch it", done.stdout, re.MULTILINE)
    assert f"{len(GOOD) - 1} done before, 1 left alone." in done.stdout
    (inbox / "plain.wav").touch()
    assert "1 done," in local(stub, inbox, outbox).stdout


def test_a_dead_file_that_is_replayed_is_tried_by_the_next_run(
    stub: dict[str, str], control: Control, inbox: Path, outbox: Path
) -> None:
    control.mode("server_error", sha256=heard(wav("plain.wav")))
    assert local({**stub, "SUBSCRIBER_MAX_ATTEMPTS": "1"}, inbox, outbox).returncode == 1
    control.mode(None)
    assert local(stub, inbox, outbox).returncode == 1, "it is dead, and nobody has asked for it"
    replay = [sys.executable, "-m", "subscriber", "replay", "--outbox", str(outbox), "--state", "dead"]
    for told in ("reopened for the next `subscriber local`", "left for the next `subscriber local`"):
        done = subprocess.run(replay, check=True, env=stub, capture_output=True, text=True, timeout=120)
        assert re.search(rf"plain\.wav#\d+: {told}", done.stdout)
        assert "notified" not in done.stdout
    assert local(stub, inbox, outbox).returncode == 0
    assert transcripts("plain.wav") <= outputs(outbox)


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


def test_what_the_local_whisper_said_is_known_again_whatever_its_port(tmp_path: Path) -> None:
    """Or an interrupted recording of hours would begin anew."""
    recording = min(recordings(), key=lambda one: one.path.stat().st_size).path
    kept = []
    for _ in range(2):
        assert local(environment(XDG_CACHE_HOME=str(tmp_path)), recording, "-").returncode == 0
        kept.append(set(tmp_path.glob("subscriber/.chunks/*/*.json")))
    assert kept[0]
    assert kept[0] == kept[1]


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
