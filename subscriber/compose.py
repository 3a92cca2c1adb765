"""Which neighbours a daemon gets: the cloud's, or a folder's.

The SDKs take half a second to import, so each is imported in its function: after the signal handlers, and only if used.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from subscriber.app import Adapters, Daemon
from subscriber.config import Settings
from subscriber.errors import ConfigError, NotForUs
from subscriber.first_checks import Check, begun
from subscriber.inboxes import INBOX, bucket_of
from subscriber.metrics import Metrics
from subscriber.notification import Selection
from subscriber.outputs import OutputLocation
from subscriber.ports import Transcriber
from subscriber.signals import Signals

if TYPE_CHECKING:
    from subscriber.adapters.inbox import InboxSource
    from subscriber.adapters.sqlite import SqliteLedger

__all__ = ["INBOX", "OUTBOX", "FolderAdapters", "cloud_adapters", "folder_adapters", "local_settings", "serve"]

OUTBOX = "outbox"
"""The bucket that the folder of transcripts stands for."""


@dataclass(frozen=True, slots=True)
class FolderAdapters(Adapters):
    """The neighbours of `subscriber local`; `inbox` is the bucket that its folder stands for."""

    source: InboxSource
    ledger: SqliteLedger
    inbox: str = field(kw_only=True)


@contextmanager
def cloud_adapters(settings: Settings, metrics: Metrics) -> Iterator[Adapters]:
    """Pub/Sub, Firestore and Cloud Storage, or their emulators; their checks have begun.

    Raises ConfigError where credentials are missing.
    """
    bucket = OutputLocation.parse(settings.output).bucket
    with ExitStack() as open_ones, _transcriber(settings, metrics) as transcriber:
        # First, because its answer comes from furthest away: meanwhile Google's SDKs are imported.
        provider_check = begun(transcriber.check)
        from subscriber.adapters.firestore import FirestoreLedger  # noqa: PLC0415
        from subscriber.adapters.gcs import GcsObjects  # noqa: PLC0415
        from subscriber.adapters.pubsub import PubSubAnnouncer, PubSubSource  # noqa: PLC0415

        source = PubSubSource(
            settings.subscription,
            settings.pubsub_emulator_host,
            poll_seconds=min(5.0, max(1.0, settings.shutdown_grace_seconds / 2)),
            metrics=metrics,
        )
        open_ones.callback(source.close)
        ledger = FirestoreLedger(
            settings.google_cloud_project or settings.subscription[0].split("/")[1],
            settings.firestore_database,
            settings.firestore_collection,
            emulator_host=settings.firestore_emulator_host,
        )
        open_ones.callback(ledger.close)
        objects = GcsObjects(
            connections=settings.max_jobs,
            user_project=settings.user_project,
            emulator=settings.storage_emulator_host is not None,
            endpoint=settings.storage_emulator_host,
        )
        checks: dict[str, Check] = {
            "pubsub": begun(source.check),
            "firestore": begun(ledger.check),
            "gcs": begun(lambda: objects.check_output(bucket)),
            "whisper": provider_check,
        }
        announcer = None
        if settings.result_topic:
            announcer = PubSubAnnouncer(settings.result_topic, settings.pubsub_emulator_host, metrics)
            open_ones.callback(announcer.close)
            checks["result topic"] = begun(announcer.check)
        yield Adapters(source, ledger, objects, transcriber, announcer, checks, budget_ledger=ledger)


@contextmanager
def folder_adapters(
    settings: Settings,
    metrics: Metrics,
    inbox: Path,
    outbox: Path,
    *,
    watch: bool,
    chunks: Path | None = None,
    provider: str | None = None,
) -> Iterator[FolderAdapters]:
    """A folder tree in (or one file of it), a folder tree out, and SQLite beside the outputs. Raises ConfigError.

    `chunks` and `provider` as in `Adapters`: a folder for paid chunks, and a name for whom they are from.
    """
    from subscriber.adapters.folder import FolderObjects  # noqa: PLC0415
    from subscriber.adapters.inbox import InboxSource  # noqa: PLC0415
    from subscriber.adapters.sqlite import SqliteLedger  # noqa: PLC0415

    folder, only = _inbox(inbox, outbox)
    bucket = _prepare_outbox(settings, folder, outbox)
    objects = FolderObjects({bucket: folder, OUTBOX: outbox}, outputs=[OUTBOX])
    with (
        closing(SqliteLedger(outbox / ".subscriber" / "ledger.sqlite")) as ledger,
        _transcriber(settings, metrics) as transcriber,
    ):
        checks: dict[str, Check] = {
            "firestore": ledger.check,
            "gcs": lambda: objects.check_output(OUTBOX),
            "whisper": transcriber.check,
        }
        selection = Selection(settings.include, settings.exclude)
        source = InboxSource(folder, bucket, watch=watch, only=only, wanted=lambda name: _is_wanted(selection, name))
        yield FolderAdapters(
            source,
            ledger,
            objects,
            transcriber,
            None,
            checks,
            budget_ledger=ledger,
            chunks=FolderObjects({OUTBOX: chunks}) if chunks else None,
            provider=provider,
            inbox=bucket,
        )


def _inbox(inbox: Path, outbox: Path) -> tuple[Path, str | None]:
    """The folder, and the one file of it that is meant. Raises ConfigError."""
    if inbox.is_file():
        file = Path(os.path.realpath(inbox))
        return file.parent, file.name
    if not inbox.is_dir():
        raise ConfigError("INBOX", f"{inbox} is neither a folder nor a file")
    if outbox.resolve().is_relative_to(inbox.resolve()):
        raise ConfigError("OUTBOX", f"{outbox} lies in the inbox: its files would be taken for new ones")
    return inbox, None


def _prepare_outbox(settings: Settings, inbox: Path, outbox: Path) -> str:
    """Make it ready for a ledger and chunks; the name of the inbox's bucket. Raises ConfigError."""
    for kept in (".subscriber", ".subscriber/ledger.sqlite", settings.chunk_cache.partition("/")[0]):
        if (outbox / kept).is_symlink():
            raise ConfigError("OUTBOX", f"{outbox / kept} is a link: what is kept there must lie in OUTBOX itself")
    try:
        outbox.mkdir(parents=True, exist_ok=True)
        return bucket_of(inbox, outbox)
    except OSError as error:
        remedy = "name another folder"
        raise ConfigError("OUTBOX", f"{outbox} cannot be made or written: {error.strerror}", remedy) from error


def _is_wanted(selection: Selection, name: str) -> bool:
    try:
        return bool(selection.admits(name, mimetypes.guess_type(name)[0] or ""))
    except NotForUs:
        return False


def local_settings(environ: Mapping[str, str], base_url: str | None) -> Settings:
    """Settings of `subscriber local`: the environment's, with the folders as buckets, and `base_url` as the provider.

    That one is our own, and nobody's bill.
    """
    ours = {"SUBSCRIBER_SUBSCRIPTION": "projects/local/subscriptions/inbox", "SUBSCRIBER_OUTPUT": f"gs://{OUTBOX}"}
    provider = {"OPENAI_BASE_URL": base_url, "SUBSCRIBER_PRICE_USD_PER_MINUTE": "0"} if base_url else {}
    return Settings.from_environ({**environ, **ours, **provider})


def serve(settings: Settings, adapters: Adapters, metrics: Metrics, events: Signals, *, web: bool = True) -> Daemon:
    """Run a daemon until it is told to stop or its source ends. Raises ConfigErrors."""
    daemon = Daemon(settings, adapters, metrics, events)
    daemon.serve(web=web)
    return daemon


@contextmanager
def _transcriber(settings: Settings, metrics: Metrics) -> Iterator[Transcriber]:
    from subscriber.adapters.openai_api import OpenAITranscriber  # noqa: PLC0415

    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    with closing(OpenAITranscriber(api_key=key, base_url=settings.openai_base_url, metrics=metrics)) as transcriber:
        yield transcriber
