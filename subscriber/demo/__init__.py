"""`subscriber demo`: our recordings go the whole way on this machine, and an account at the end has to add up.

The law of this package: it starts, asks and watches, and does none of the work. Daemon and Whisper are processes as in
production, and every figure of the account is what a server says, never what we believe to have done.
"""

from __future__ import annotations

import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.live import Live

from subscriber import config
from subscriber.compose import cloud_adapters, folder_adapters, local_settings
from subscriber.config import Settings
from subscriber.demo.cloud import INBOX, TOPIC, Cloud
from subscriber.demo.files import File, Files
from subscriber.demo.material import COPY, Made, made
from subscriber.demo.programs import Program, ask, wait_until
from subscriber.demo.report import Fact, account, comparison, is_right
from subscriber.emulators import EmulatorsMissing, emulators, free_port
from subscriber.errors import SubscriberError
from subscriber.metrics import Metrics
from subscriber.model import Outcome
from subscriber.recordings import Recording, recordings
from subscriber.whisper_server import Control

__all__ = ["run_demo"]

KEPT = Path("demo-output")

CLAIM_SECONDS = "6"
"""Progress rides along with a claim's renewals, at a third of its length: here every 2 s, by default every 30."""

Until = Callable[[str, Callable[[], bool]], None]


def run_demo(*, keep: bool) -> int:
    """0 when all of the account is true, 130 after a signal, else 1; by then nothing of it runs any more.

    With `keep` the outputs are left in the folder `demo-output` of the current directory.
    """
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        console.print("Making a film and a recording of three minutes out of the bundled ones.")
        more = made()  # before there is anything to stop, and before a lost signal would matter
        _stop_on_signals()
        with _stage(console, KEPT if keep else None, more) as stage:
            facts = _play(stage)
    except KeyboardInterrupt:
        console.print("\nInterrupted. Everything is stopped.")
        return 130
    except SubscriberError as error:
        console.print(f"\nThe demo has failed, and everything is stopped: {error}", markup=False)
        return 1
    console.print(account(facts))
    wrong = [fact.text for fact in facts if not fact.true]
    console.print(f"NOT true: {'; '.join(wrong)}." if wrong else "All of it is true.")
    console.print(f"Everything is stopped, after {time.monotonic() - began:.0f} seconds.")
    return 1 if wrong else 0


def _stop_on_signals() -> None:
    """Make KeyboardInterrupt of the first one, and let no other one disturb the tidying up after it."""
    signs = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        for sign in signs:
            signal.signal(sign, signal.SIG_IGN)
        raise KeyboardInterrupt

    for sign in signs:
        signal.signal(sign, stop)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What both plays need: a terminal, a folder, a Whisper that counts, and an environment that leads to it."""

    console: Console
    folder: Path
    environ: dict[str, str]
    whisper: Program
    control: Control
    kept: Path | None
    recordings: list[Recording]

    def requests(self) -> int:
        """How many requests the Whisper has received."""
        return int(self.control.status()["received"])


@contextmanager
def _stage(console: Console, kept: Path | None, more: list[Made]) -> Iterator[_Stage]:
    # A setting, a key or a storage server of yours has no place here: the demo must be the same everywhere.
    yours = ("SUBSCRIBER_", "OPENAI_", "STORAGE_EMULATOR_HOST")
    environ = {name: value for name, value in config.environ().items() if not name.startswith(yours)}
    environ["SUBSCRIBER_CLAIM_SECONDS"] = CLAIM_SECONDS
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryDirectory(prefix="subscriber-demo-") as folder:
        command = ["whisper-server", "--port", str(port), "--control"]
        with Program(command, environ, Path(folder, "whisper.log")) as whisper:
            every = [*recordings(), *(one.written(Path(folder)) for one in more)]
            yield _Stage(console, Path(folder), {**environ, "OPENAI_BASE_URL": url}, whisper, Control(url), kept, every)


def _play(stage: _Stage) -> list[Fact]:
    say = stage.console.print
    say("Starting a local Whisper, a storage server, and Google's emulators of Pub/Sub and Firestore.")
    with ExitStack() as stack:
        cloud: Cloud | None = None
        try:
            project = f"demo-{uuid.uuid4().hex[:8]}"
            cloud = Cloud(stack.enter_context(emulators(stage.environ, project=project, notify=(TOPIC, INBOX))))
        except EmulatorsMissing as missing:
            say(f"Folders and SQLite stand in for the cloud: {' '.join(str(missing).split())}.", markup=False)
        models = f"{stage.environ['OPENAI_BASE_URL']}/models"
        wait_until(lambda: bool(ask(models)), "it has loaded its model", stage.whisper)
        return _in_the_cloud(stage, cloud) if cloud else _on_folders(stage)


def _in_the_cloud(stage: _Stage, cloud: Cloud) -> list[Fact]:
    """The daemon as in production, told of every file twice, and of one while it is at work on it."""
    environ = {**stage.environ, **cloud.environ()}
    settings = Settings.from_environ(environ)
    daemon = Program(["run"], environ, stage.folder / "daemon.log")
    with daemon, cloud_adapters(settings, Metrics(settings.model)) as adapters:
        wait_until(lambda: bool(ask(f"{cloud.daemon_url}/readyz")), "it is ready", daemon)
        files = Files(adapters, settings, INBOX)
        with _watched(stage.console, files, daemon) as until:
            _transcribe(stage, files, cloud, until)
            before = stage.requests()
            copy = files.upload(stage.recordings[-1], COPY)
            until("its copy is done, too", files.settled)
            again = stage.requests() - before
            _notify_again(files, cloud, until)
        acked, deliveries, exit_code = cloud.acked(), cloud.deliveries(), daemon.stop()
        _show(stage, files, copy)
    stage.console.print(f"The daemon's metrics were at {cloud.daemon_url}/metrics.")
    every = len(files.files)
    facts = [
        *_facts(stage, files, copy, again),
        Fact("deliveries that led to a transcript", deliveries.pop(Outcome.TRANSCRIBED), every),
        Fact("duplicates: each file again, one file also while in work", deliveries.pop(Outcome.DUPLICATE), every + 1),
        Fact("deliveries that ended in any other way", sum(deliveries.values()), 0),
        Fact("messages acked", acked, 2 * every + 1),
        Fact("messages left in the subscription", cloud.unacked(), 0),
        Fact("exit code of the daemon after SIGTERM", exit_code, 0),
    ]
    return _explained(stage, facts, daemon)


def _transcribe(stage: _Stage, files: Files, cloud: Cloud, until: Until) -> None:
    """While Whisper is held no file can become done, so the duplicate meets its job in work, however fast we are."""
    stage.control.hold()
    for recording in stage.recordings:
        files.upload(recording)
    until("every file is claimed; Whisper is held back", lambda: files.have("claimed"))
    cloud.notify(files.files[0].job)
    until("a duplicate waits for the job in work", lambda: cloud.parked() > 0)
    stage.control.release()
    until("every file is done", files.settled)


def _notify_again(files: Files, cloud: Cloud, until: Until) -> None:
    for file in files.files:
        cloud.notify(file.job)
    until("every message is acked", lambda: cloud.acked() > 2 * len(files.files))


def _on_folders(stage: _Stage) -> list[Fact]:
    """`subscriber local`, twice on the same folders; the second time with a copy beside what is done."""
    inbox, outbox = stage.folder / "inbox", stage.folder / "outbox"
    inbox.mkdir()
    settings = local_settings(stage.environ, None)
    command = ["local", str(inbox), str(outbox)]
    codes = []
    with folder_adapters(settings, Metrics(settings.model), inbox, outbox, watch=False) as adapters:
        files = Files(adapters, settings, adapters.inbox)
        for recording in stage.recordings:
            files.upload(recording)
        with Program(command, stage.environ, stage.folder / "first.log") as run:
            with _watched(stage.console, files, run) as until:
                until("every file is done", files.settled)
            codes.append(run.exit_code())
        before = stage.requests()
        copy = files.upload(stage.recordings[-1], COPY)
        with Program(command, stage.environ, stage.folder / "again.log") as run:
            codes.append(run.exit_code())
        files.look()
        _show(stage, files, copy)
    facts = [
        *_facts(stage, files, copy, stage.requests() - before),
        Fact("exit code of `subscriber local`", codes[0], 0),
        Fact("exit code of a second run, which did only what was new", codes[1], 0),
    ]
    return _explained(stage, facts, run)


def _facts(stage: _Stage, files: Files, copy: File, again: int) -> list[Fact]:
    every = len(files.files)
    right = sum(is_right(file) for file in files.files)
    named = {name for file in files.files for chunk in file.chunks for name in chunk["request_ids"]}
    return [
        Fact("files with a transcript, at most one word in ten wrong", right, every),
        Fact("requests to Whisper, as many as the transcripts name", stage.requests(), len(named)),
        Fact("requests for the same bytes under another name", again, 0),
        Fact("chunks of that upload, each from the cache", copy.from_cache, len(copy.chunks)),
    ]


def _explained(stage: _Stage, facts: list[Fact], by: Program) -> list[Fact]:
    """The facts; if one is not true, the log that may say why goes before them."""
    if not all(fact.true for fact in facts):
        stage.console.print(by.log_tail(), markup=False)
    return facts


@contextmanager
def _watched(console: Console, files: Files, program: Program) -> Iterator[Until]:
    """Show the table while waiting for something that `program` does."""
    with Live(console=console, auto_refresh=False) as live:

        def until(what: str, happened: Callable[[], bool]) -> None:
            def look() -> bool:
                files.look()
                live.update(files.table(f"waiting until {what}"), refresh=True)
                return happened()

            wait_until(look, what, program)
            live.update(files.table())

        yield until
    if not console.is_terminal:
        console.line()  # which Live leaves out there


def _show(stage: _Stage, files: Files, copy: File) -> None:
    say = stage.console.print
    say(comparison(file for file in files.files if file is not copy))
    original = next(file for file in files.files if file.recording is copy.recording)
    length = original.recording.seconds
    seen = [f"{now.done:.0f}" for now in original.progress if now.done < length - 1] or ["nothing before its end"]
    say(f"By the ledger {original.job.name} was at {', '.join(seen)} of {length:.0f} s.")
    for file in (original, copy):
        paid = len(file.chunks) - file.from_cache
        say(f"{file.job.name}: {paid} chunks paid for, {file.from_cache} from the cache.")
    if stage.kept:
        files.keep(stage.kept)
        say(f"The outputs are in {stage.kept}/.")
