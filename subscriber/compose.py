"""Which neighbours a daemon gets: the cloud's, or a folder's.

The SDKs take 0.7 s to import, so each is imported in its function: after the signal handlers are in, and only if used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from subscriber.app import Adapters, Check, Daemon
from subscriber.config import Settings
from subscriber.errors import ConfigError
from subscriber.metrics import Metrics
from subscriber.outputs import OutputLocation
from subscriber.ports import Transcriber
from subscriber.signals import Signals

__all__ = ["cloud_adapters", "folder_adapters", "local_settings", "serve"]

INBOX, OUTBOX = "inbox", "outbox"
"""The buckets that the two folders of `subscriber local` stand for."""


@contextmanager
def cloud_adapters(settings: Settings, metrics: Metrics) -> Iterator[Adapters]:
    """Pub/Sub, Firestore and Cloud Storage, or their emulators. Raises ConfigError where credentials are missing."""
    from subscriber.adapters.firestore import FirestoreLedger  # noqa: PLC0415
    from subscriber.adapters.gcs import GcsObjects  # noqa: PLC0415
    from subscriber.adapters.pubsub import PubSubAnnouncer, PubSubSource  # noqa: PLC0415

    bucket = OutputLocation.parse(settings.output).bucket
    with ExitStack() as open_ones, _transcriber(settings, metrics) as transcriber:
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
            "pubsub": source.check,
            "firestore": ledger.check,
            "gcs": lambda: objects.check_output(bucket),
            "whisper": transcriber.check,
        }
        announcer = None
        if settings.result_topic:
            announcer = PubSubAnnouncer(settings.result_topic, settings.pubsub_emulator_host, metrics)
            open_ones.callback(announcer.close)
            checks["result topic"] = announcer.check
        yield Adapters(source, ledger, objects, transcriber, announcer, checks, budget_ledger=ledger)


@contextmanager
def folder_adapters(
    settings: Settings, metrics: Metrics, inbox: Path, outbox: Path, *, watch: bool
) -> Iterator[Adapters]:
    """A folder tree in, a folder tree out, and SQLite beside the outputs. Raises ConfigError."""
    from subscriber.adapters.folder import FolderObjects  # noqa: PLC0415
    from subscriber.adapters.inbox import InboxSource  # noqa: PLC0415
    from subscriber.adapters.sqlite import SqliteLedger  # noqa: PLC0415

    if not inbox.is_dir():
        raise ConfigError("INBOX", f"{inbox} is not a folder")
    if outbox.resolve().is_relative_to(inbox.resolve()):
        raise ConfigError("OUTBOX", f"{outbox} lies in the inbox: its files would be taken for new ones")
    try:
        (outbox / ".subscriber").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("OUTBOX", f"{outbox} cannot be made: {error.strerror}", "name another folder") from error
    objects = FolderObjects({INBOX: inbox, OUTBOX: outbox})
    with (
        closing(SqliteLedger(outbox / ".subscriber" / "ledger.sqlite")) as ledger,
        _transcriber(settings, metrics) as transcriber,
    ):
        checks: dict[str, Check] = {
            "firestore": ledger.check,
            "gcs": lambda: objects.check_output(OUTBOX),
            "whisper": transcriber.check,
        }
        source = InboxSource(inbox, INBOX, watch=watch)
        yield Adapters(source, ledger, objects, transcriber, None, checks, budget_ledger=ledger)


def local_settings(environ: Mapping[str, str], base_url: str | None) -> Settings:
    """Settings of `subscriber local`: the environment's, with the folders as buckets and `base_url` as the provider."""
    ours = {"SUBSCRIBER_SUBSCRIPTION": "projects/local/subscriptions/inbox", "SUBSCRIBER_OUTPUT": f"gs://{OUTBOX}"}
    provider = {"OPENAI_BASE_URL": base_url} if base_url else {}
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
