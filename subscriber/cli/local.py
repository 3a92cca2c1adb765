"""`local`: the daemon on a folder, with bars while it works and an account of every file at its end.

The law of this file: standard output is for the result alone, the table or (with `-`) the text; logs and bars go to
standard error.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

from subscriber import config
from subscriber.adapters.inbox import Found, InboxSource
from subscriber.app import Daemon
from subscriber.bars import Bar, bars, clock
from subscriber.cli.chunk_folder import chunk_folder
from subscriber.cli.running import configure_log
from subscriber.cli.summary import Line, Result, exit_code, line_of, report, waiting
from subscriber.compose import OUTBOX, FolderAdapters, folder_adapters, local_settings
from subscriber.errors import ConfigError
from subscriber.metrics import Metrics
from subscriber.model import Job
from subscriber.signals import signals
from subscriber.text import printable

__all__ = ["run_local"]

STDOUT = Path("-")
MOST_BARS = 16

LOCAL_WHISPER = "local-whisper/tiny.en"
"""What our own server's answers are kept under: its port is another one each time."""


def run_local(
    inbox: Path, outbox: Path, *, watch: bool = False, jobs: int | None = None, keep_chunks: bool = True
) -> int:
    """0 when every file has its transcript, 1 if one has not and never will; with `-` 1 without its text.

    `keep_chunks` matters with `-` alone: an OUTBOX keeps its own. Raises ConfigError, ConfigErrors.
    """
    _require_sense(inbox, outbox, watch=watch)
    console = Console(stderr=True, highlight=False)
    began, started = datetime.now(UTC), time.monotonic()
    environ = {**_environ(inbox, jobs, console), **({"SUBSCRIBER_FORMATS": "json,txt"} if outbox == STDOUT else {})}
    with signals() as events, _folder(outbox) as folder, _provider(environ) as base_url:
        settings = local_settings(environ, base_url)
        configure_log(settings, cast("TextIO", FileProxy(console, sys.stderr)) if console.is_terminal else None)
        metrics = Metrics(settings.model)
        chunks = chunk_folder(environ) if outbox == STDOUT and keep_chunks else None
        provider = LOCAL_WHISPER if base_url else None
        with folder_adapters(
            settings, metrics, inbox, folder, watch=watch, chunks=chunks, provider=provider
        ) as adapters:
            daemon = Daemon(settings, adapters, metrics, events)
            with _shown(console, daemon, adapters):
                daemon.serve(web=False)
            lines = _lines(adapters, began)
        if outbox == STDOUT:
            return _print_text(inbox, folder, lines)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # names in a terminal without UTF-8
    Console(highlight=False).print(report(lines, time.monotonic() - started))
    return exit_code(lines)


def _require_sense(inbox: Path, outbox: Path, *, watch: bool) -> None:
    """Raises ConfigError."""
    if outbox == STDOUT and inbox.is_dir():
        raise ConfigError("OUTBOX", f"`-` prints the text of one file, and {inbox} is a folder", "name a folder for it")
    if watch and not inbox.is_dir():
        raise ConfigError("--watch", f"{inbox} is not a folder")


def _environ(inbox: Path, jobs: int | None, console: Console) -> dict[str, str]:
    """The environment, and what the command line makes of it."""
    # Beside bars and a table that say the same, only what is wrong is worth a line; whoever sets a level gets it.
    level = {"SUBSCRIBER_LOG_LEVEL": "warning"} if console.is_terminal else {}
    limit = {"SUBSCRIBER_MAX_JOBS": str(jobs)} if jobs else {}
    # Who names one file wants that one, whatever its name.
    chosen = {} if inbox.is_dir() else {"SUBSCRIBER_INCLUDE": "*", "SUBSCRIBER_EXCLUDE": ""}
    return {**level, **config.environ(), **limit, **chosen}


@contextmanager
def _folder(outbox: Path) -> Iterator[Path]:
    """The outbox, or one that is gone afterwards."""
    if outbox != STDOUT:
        yield outbox
        return
    with tempfile.TemporaryDirectory(prefix="subscriber-") as folder:
        yield Path(folder)


@contextmanager
def _provider(environ: Mapping[str, str]) -> Iterator[str | None]:
    """The URL of a local Whisper, or None where the environment names a provider."""
    if any(environ.get(name) for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "OPENAI_BASE_URL")):
        yield None
        return
    from subscriber.adapters.local_whisper import LocalWhisper  # noqa: PLC0415 - an extra
    from subscriber.whisper_server import Server  # noqa: PLC0415 - an extra

    with LocalWhisper() as whisper, Server(whisper) as server:
        yield f"{server.url}/v1"


def _shown(console: Console, daemon: Daemon, adapters: FolderAdapters) -> AbstractContextManager[object]:
    """Bars while the block runs: one for all files, one for each that is in work."""
    if not console.is_terminal:
        return nullcontext()
    return Live(
        get_renderable=lambda: Group(bars(_bars(daemon, adapters.source)), *_waits(adapters), *_pauses(daemon)),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _bars(daemon: Daemon, source: InboxSource) -> Iterator[Bar]:
    settled, total = source.counts()
    yield Bar("all files", settled, total, f"{settled} of {total}")
    for held in daemon.claims.held()[:MOST_BARS]:
        done, seconds = held.progress.done, held.progress.total
        yield Bar(held.claim.job.name, done, seconds, f"{clock(done)} of {clock(seconds)}")


def _waits(adapters: FolderAdapters) -> Iterator[Text]:
    """Why nothing seems to happen to a file whose attempt has failed."""
    for one in adapters.source.deferred()[: 2 * MOST_BARS]:
        record = adapters.ledger.read(_job(adapters, one))
        if record and (again := waiting(record, datetime.now(UTC))):
            yield _line(f"{one.name}: {again}")


def _pauses(daemon: Daemon) -> Iterator[Text]:
    for neighbour, why in daemon.outages.paused.items():
        yield _line(f"waiting for {neighbour}: {why}")


def _line(text: str) -> Text:
    return Text(printable(text), overflow="ellipsis", no_wrap=True)


def _job(adapters: FolderAdapters, one: Found) -> Job:
    return Job(adapters.inbox, one.name, one.generation, f"gs://{OUTBOX}")


def _lines(adapters: FolderAdapters, began: datetime) -> list[Line]:
    """One a file, of its newest generation."""
    newest = {one.name: one for one in adapters.source.found()}
    lines = []
    for one in newest.values():
        record = adapters.ledger.read(_job(adapters, one))
        lines.append(line_of(one.name, record, settled=one.settled, began=began, now=datetime.now(UTC)))
    unusable = sorted(adapters.source.unusable.items())
    return lines + [Line(name, Result.FAILED, why) for name, why in unusable]


def _print_text(file: Path, folder: Path, lines: list[Line]) -> int:
    """The transcript of the one file, or on standard error why there is none."""
    for line in lines:
        if line.result is Result.DONE:
            _print((folder / f"{line.name}.txt").read_bytes())
            return 0
    why = "; ".join(line.why or line.result for line in lines) or "it vanished"
    print(printable(f"{file}: {why}"), file=sys.stderr)
    return 1


def _print(text: bytes) -> None:
    """As it is, whatever the terminal's encoding; a reader that has had enough is no failure."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
