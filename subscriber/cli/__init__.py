"""The commands. Each one lives in a function; what it needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from subscriber import __version__
from subscriber.errors import SubscriberError

__all__ = ["main"]

app = typer.Typer(
    help="Transcribes every audio object that lands in a bucket: exactly once, or with one readable reason why not.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # it takes [local] for markup
    pretty_exceptions_enable=False,  # it would print local variables, among them settings
)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 something failed, 2 bad usage or configuration."""
    code = _exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread that waits for a hung neighbour must not keep the process beyond its grace.
    os._exit(code)


def _exit_code() -> int:
    from subscriber.config import ConfigErrors  # noqa: PLC0415 - pydantic is slow to import, and --help needs none
    from subscriber.errors import ConfigError  # noqa: PLC0415

    try:
        code = app(standalone_mode=False)
    except (ConfigErrors, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2
    except SubscriberError as error:
        print(error, file=sys.stderr)
        return 1
    except typer.Abort:
        return 1
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # bad usage, as typer reports it
            error.show()
            return int(error.exit_code)
        raise
    return int(code or 0)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    del version


@app.command()
def run() -> int:
    """The daemon; settings from the environment (see `subscriber config`)."""
    from subscriber.cli.running import run_daemon  # noqa: PLC0415

    return run_daemon()


@app.command()
def local(
    inbox: Annotated[Path, typer.Argument(metavar="INBOX", help="Folder tree with recordings, or one file.")],
    outbox: Annotated[
        Path,
        typer.Argument(metavar="OUTBOX", help="Folder for the transcripts and a ledger; `-` prints one file's text."),
    ],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with files that come later.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, max=1000, help="Files in work at once (MAX_JOBS).")] = None,
) -> int:
    """The same pipeline on a folder, with the local Whisper unless OPENAI_API_KEY or OPENAI_BASE_URL is set.

    A second run does only what is new or has changed. Exit code 1: a file has no transcript; the table says why.

    Examples: subscriber local ~/recordings ~/transcripts --watch; subscriber local talk.mp3 - > talk.txt
    """
    from subscriber.cli.local import run_local  # noqa: PLC0415

    return run_local(inbox, outbox, watch=watch, jobs=jobs)


@app.command()
def demo(keep: Annotated[bool, typer.Option("--keep", help="Leave the outputs in a folder.")] = False) -> int:
    """See it work on this machine: emulators, a bucket, a local Whisper, the daemon; no account needed."""
    from subscriber.demo import run_demo  # noqa: PLC0415

    return run_demo(keep=keep)


@app.command("whisper-server")
def whisper_server(
    *,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model: Annotated[Path | None, typer.Option(help="A CTranslate2 folder; by default the bundled tiny.en.")] = None,
    engine: Annotated[Literal["local", "stub"], typer.Option(help="The real one, or a stub for tests.")] = "local",
    latency: Annotated[float, typer.Option(help="Seconds that the stub takes.")] = 0.0,
    control: Annotated[bool, typer.Option("--control", help="Let tests inject faults at /control.")] = False,
) -> int:
    """Serve OpenAI's /v1/audio/transcriptions and /v1/models on a local Whisper (extra `[local]`)."""
    from subscriber import whisper_server as server  # noqa: PLC0415

    return server.main(port=port, host=host, model=model, engine=engine, latency=latency, control=control)


@app.command()
def config(
    markdown: Annotated[bool, typer.Option("--markdown", help="The README's table instead.")] = False,
) -> int:
    """Every setting: name, type, default, meaning, why, and its current value (secrets masked)."""
    from subscriber.cli.settings import show_settings  # noqa: PLC0415

    return show_settings(as_markdown=markdown)
