"""The commands. Each one lives in a function; what it needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from subscriber import __version__
from subscriber.cli.exits import exit_code
from subscriber.cli.parameters import ADDRESS, Came, Object, Outbox, Place, Prefix, Reason, Since, States

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., int])

app = typer.Typer(
    help="Transcribes every audio object that lands in a bucket: exactly once, or with one readable reason why not.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # it takes [local] for markup
    pretty_exceptions_enable=False,  # it would print local variables, among them settings
)


def _command(*examples: str, name: str | None = None) -> Callable[[Command], Command]:
    """Declare a command with examples, which --help shows line by line and docs/commands.md repeats."""
    listed = "\n".join(["\b", "Examples:", *(f"  subscriber {example}" for example in examples)])
    return app.command(name, epilog=listed)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 something failed, 2 bad usage or configuration."""
    try:
        code = exit_code(app)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # `subscriber jobs | head` has seen enough
        code = 0
    # Not sys.exit: a thread that waits for a hung neighbour must not keep the process beyond its grace.
    os._exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    del version


@_command("run")
def run() -> int:
    """The daemon; settings from the environment (see `subscriber config`)."""
    from subscriber.cli.running import run_daemon  # noqa: PLC0415

    return run_daemon()


@_command("local ~/recordings ~/transcripts --watch", "local talk.mp3 - > talk.txt")
def local(
    inbox: Annotated[Path, typer.Argument(metavar="INBOX", help="Folder tree with recordings, or one file.")],
    outbox: Annotated[
        Path,
        typer.Argument(metavar="OUTBOX", help="Folder for the transcripts and a ledger; `-` prints one file's text."),
    ],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with files that come later.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, max=1000, help="Files in work at once (MAX_JOBS).")] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="With `-`: keep no answers in the user's cache folder.")
    ] = False,
) -> int:
    """The same pipeline on a folder, with the local Whisper unless OPENAI_API_KEY or OPENAI_BASE_URL is set.

    A second run does only what is new or has changed. Exit code 1: a file has no transcript; the table says why. What
    was paid for is kept for a second try: in OUTBOX, with `-` for seven days in $XDG_CACHE_HOME/subscriber (~/.cache).
    """
    from subscriber.cli.local import run_local  # noqa: PLC0415

    return run_local(inbox, outbox, watch=watch, jobs=jobs, keep_chunks=not no_cache)


@_command("demo", "demo --keep")
def demo(keep: Annotated[bool, typer.Option("--keep", help="Leave the outputs in a folder.")] = False) -> int:
    """See it work on this machine: emulators, a bucket, a local Whisper, the daemon; no account needed."""
    from subscriber.demo import run_demo  # noqa: PLC0415

    return run_demo(keep=keep)


@_command("whisper-server --port 8000", name="whisper-server")
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


@_command("check", "check --bucket calls --spend", "check --json")
def check(
    *,
    bucket: Annotated[
        list[str] | None, typer.Option(help="A bucket with recordings; by default those of the newest records.")
    ] = None,
    spend: Annotated[bool, typer.Option("--spend", help="Also pay for one request of one second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Prove every right and setting that the daemon needs, and name the command that mends what is wrong.

    A line is ok, warn, fail, or unknown where nobody may look or an emulator has no answer. Exit code 1 on any fail.
    The only thing that it writes is one small object below CHUNK_CACHE, which it deletes at once. In the commands,
    MEMBER is the daemon's identity.
    """
    from subscriber.cli.check import check_all  # noqa: PLC0415

    return check_all(tuple(bucket or ()), spend=spend, as_json=as_json)


@_command(
    "explain gs://calls/2026/11/one.wav",
    "explain 'gs://calls/2026/11/one.wav#1762000000000001'",
    "explain gs://calls/2026/11/one.wav --json",
    "explain one.wav --outbox ~/transcripts",
)
def explain(
    address: Object,
    outbox: Outbox = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON; docs/desk.md has its fields.")] = False,
) -> int:
    """The whole story of one object, and what will happen to it next; exit code 1 when nothing is known of it.

    A name that holds # is tried whole first. Needs the daemon's environment, but not the provider's key.
    """
    from subscriber.cli.explain import explain_object  # noqa: PLC0415

    return explain_object(address, outbox, wants_json=as_json)


@_command(
    "jobs --state dead --since 24h",
    "jobs --stalled --json",
    "jobs --prefix gs://calls/2026/11/ --reason undecodable",
    "jobs --outbox ~/transcripts",
)
def jobs(
    *,
    state: States = None,
    reason: Reason = None,
    since: Since = None,
    prefix: Prefix = None,
    stalled: Annotated[
        bool, typer.Option("--stalled", help="Only unfinished ones that nobody has had for 15 minutes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line; the default in a pipe.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table; all are counted.")] = 100,
    outbox: Outbox = None,
) -> int:
    """The ledger's records, newest first, and totals by state and reason.

    Needs the daemon's environment, but not the provider's key.
    """
    from subscriber.cli.jobs import list_jobs  # noqa: PLC0415

    return list_jobs(
        states=state or [],
        reason=reason,
        since=since,
        prefix=prefix,
        stalled=stalled,
        as_json=as_json,
        limit=limit,
        outbox=outbox,
    )


@_command(
    "replay gs://calls/2026/11/one.wav",
    "replay --state dead --reason exhausted --since 7d --dry-run",
    "replay --stalled",
    "replay --from-dead-letter recordings-dead-hold",
    "replay --state done --prefix gs://calls/2026/11/ --fresh",
)
def replay(
    address: Annotated[str | None, typer.Argument(metavar=ADDRESS, help="A source object, or one generation.")] = None,
    *,
    state: States = None,
    reason: Reason = None,
    since: Since = None,
    prefix: Prefix = None,
    stalled: Annotated[bool, typer.Option("--stalled", help="Unfinished ones that nobody has had for 15 min.")] = False,
    from_dead_letter: Annotated[
        str | None, typer.Option(metavar="SUBSCRIPTION", help="What this subscription holds; acked once published.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Transcribe and pay again, also what is done.")] = False,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with this --fresh run: what it has made anew is left.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and its cost.")] = False,
    outbox: Outbox = None,
) -> int:
    """Have jobs done again: reopens their records and publishes their notifications to REPLAY_TOPIC.

    Choose by name, by --state, by --stalled or by --from-dead-letter. Dead jobs get all their attempts anew; chunks
    that were paid for are not paid again. With --fresh also a settled job is transcribed again, and nothing that was
    paid before is used; its outputs stand until the new ones are complete. What is in work is left alone. After an
    error or a crash run the same command again, a --fresh one with the --run that it told. Exit code 1: something was
    left that was asked for by name, or is no notification.
    """
    from subscriber.cli.replay import Asked, Plan, replay_jobs  # noqa: PLC0415

    asked = Asked(address, state or [], reason, since, prefix, stalled, from_dead_letter)
    return replay_jobs(asked, Plan.of(fresh=fresh, run=run, dry_run=dry_run), outbox)


@_command(
    "forget gs://calls/2026/11/one.wav --dry-run",
    "forget gs://calls/2026/11/one.wav",
    "forget one.wav --outbox ~/transcripts",
)
def forget(
    address: Object,
    outbox: Outbox = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
) -> int:
    """Erase the transcripts, the paid chunks and the records of an object, for good.

    What remains is a tombstone without a name, so that a redelivery does not bring the job back. The source object is
    not touched: delete it too, or a later upload of it is a new job. A job in work is taken from its worker, which may
    take as long as CLAIM_SECONDS. After an error run it again: it finds what is left.
    """
    from subscriber.cli.forget import forget_object  # noqa: PLC0415

    return forget_object(address, outbox, dry_run=dry_run)


@_command(
    "backfill gs://calls/2026/ --dry-run",
    "backfill gs://calls/2026/ --rate 120",
    "backfill gs://calls --since 3d",
)
def backfill(
    place: Place,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many, how long, for how much.")] = False,
    rate: Annotated[int, typer.Option(min=1, max=6000, help="Notifications a minute.")] = 60,
    since: Came = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Publish so many at most.")] = None,
    after: Annotated[str, typer.Option(metavar="NAME", help="Go on behind this object, in the order of names.")] = "",
    verify_outputs: Annotated[bool, typer.Option("--verify-outputs", help="Also done ones that lack a file.")] = False,
) -> int:
    """Find objects without a transcript of their live generation, and have the daemon told of them.

    What the daemon would ignore is left, and so is what is done, in work, dead or forgotten by the ledger. The
    notifications go to REPLAY_TOPIC at a steady rate; live uploads are pulled first. Run it as often as you like: what
    is published twice is transcribed once. When it is stopped, it prints the command that goes on.
    """
    from subscriber.cli.backfill import Wish, run_backfill  # noqa: PLC0415

    wish = Wish(place, rate, after, since, limit, verify_outputs=verify_outputs)
    return run_backfill(wish, dry_run=dry_run)


@_command("config", "config --markdown")
def config(
    markdown: Annotated[bool, typer.Option("--markdown", help="The README's table instead.")] = False,
) -> int:
    """Every setting: name, type, default, meaning, why, and its current value (secrets masked)."""
    from subscriber.cli.settings import show_settings  # noqa: PLC0415

    return show_settings(as_markdown=markdown)
