"""Which neighbours the operator's commands get: the cloud's, or those of an outbox of `subscriber local`.

The SDKs are imported in their functions, as in `compose.py`: `--help` and a mistyped address need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from subscriber.audio.facts import Limits
from subscriber.compose import INBOX, OUTBOX, local_settings
from subscriber.config import Settings
from subscriber.desk.estimate import Means
from subscriber.desk.tools import Desk, Store
from subscriber.errors import ConfigError
from subscriber.metrics import Metrics
from subscriber.notification import Notice, Selection
from subscriber.outputs import OutputLocation
from subscriber.ports import Ledger, Objects, Records, Source
from subscriber.transcribe.paying import tariff

__all__ = ["desk", "holding", "ledger_project", "means"]

CONNECTIONS = 8
PULL_SECONDS = 5.0
KEYS = ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE")


@contextmanager
def desk(environ: Mapping[str, str], outbox: Path | None = None) -> Iterator[Desk]:
    """The desk of the daemon whose environment this is, or of an outbox. Raises ConfigErrors, ConfigError."""
    if outbox:
        with _embedded(local_settings(_keyless(environ), None), outbox) as made:
            yield made
    else:
        with _cloud(Settings.from_environ(_keyless(environ))) as made:
            yield made


@contextmanager
def means(environ: Mapping[str, str], objects: Objects) -> Iterator[Means]:
    """How an estimate is made with the settings of that daemon. Raises ConfigErrors."""
    from subscriber.audio.pool import DecoderPool  # noqa: PLC0415
    from subscriber.lengths import seconds_of  # noqa: PLC0415

    settings = Settings.from_environ(_keyless(environ))
    limits = Limits(max_audio_seconds=settings.max_audio_seconds)
    with DecoderPool() as decoders:
        yield Means(
            probe=partial(seconds_of, objects=objects, decoders=decoders, limits=limits),
            model=settings.model[0],
            usd_per_minute=_usd_per_minute(settings),
            slots=settings.whisper_concurrency,
            chunk_seconds=settings.chunk_seconds,
        )


def ledger_project(settings: Settings) -> str:
    """The project that the ledger is in: the first subscription's unless it is told."""
    return settings.google_cloud_project or settings.subscription[0].split("/")[1]


@contextmanager
def holding(environ: Mapping[str, str], name: str) -> Iterator[tuple[Source, str]]:
    """A subscription that holds dead letters, and its full name. Raises ConfigErrors, ConfigError."""
    from subscriber.adapters.pubsub import PubSubSource  # noqa: PLC0415

    settings = Settings.from_environ(_keyless(environ))
    subscription = name if "/" in name else f"projects/{ledger_project(settings)}/subscriptions/{name}"
    if subscription in settings.subscription:
        raise ConfigError(
            "--from-dead-letter", f"{subscription} is the daemon's own: name the one that holds what it gave up"
        )
    source = PubSubSource([subscription], settings.pubsub_emulator_host, PULL_SECONDS, Metrics(settings.model))
    with closing(source):
        try:
            source.check()
        except ConfigError as error:
            grant = f"gcloud pubsub subscriptions add-iam-policy-binding {subscription} --member=user:YOU"
            why = f"{subscription} does not exist or must not be consumed by you"
            raise ConfigError("--from-dead-letter", why, f"{grant} --role=roles/pubsub.subscriber") from error
        yield source, subscription


@contextmanager
def _cloud(settings: Settings) -> Iterator[Desk]:
    from subscriber.adapters.firestore import FirestoreLedger  # noqa: PLC0415
    from subscriber.adapters.firestore_records import FirestoreRecords  # noqa: PLC0415
    from subscriber.adapters.gcs import GcsObjects  # noqa: PLC0415
    from subscriber.adapters.pubsub_notifier import PubSubNotifier  # noqa: PLC0415

    place = (ledger_project(settings), settings.firestore_database, settings.firestore_collection)
    host = settings.firestore_emulator_host
    objects = GcsObjects(
        connections=CONNECTIONS,
        user_project=settings.user_project,
        emulator=settings.storage_emulator_host is not None,
        endpoint=settings.storage_emulator_host,
    )
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(FirestoreLedger(*place, emulator_host=host)))
        records = stack.enter_context(closing(FirestoreRecords(*place, emulator_host=host)))
        publisher = None
        if topic := settings.replay_topic:
            publisher = stack.enter_context(closing(PubSubNotifier(topic, emulator_host=settings.pubsub_emulator_host)))
        yield replace(_desk(settings, ledger, records, objects), publisher=publisher)


@contextmanager
def _embedded(settings: Settings, outbox: Path) -> Iterator[Desk]:
    from subscriber.adapters.folder import FolderObjects  # noqa: PLC0415
    from subscriber.adapters.sqlite import SqliteLedger  # noqa: PLC0415
    from subscriber.adapters.sqlite_records import SqliteRecords  # noqa: PLC0415

    path = outbox / ".subscriber" / "ledger.sqlite"
    with closing(SqliteLedger(path)) as ledger:
        made = _desk(settings, ledger, SqliteRecords(path), FolderObjects({OUTBOX: outbox}))
        yield replace(made, publisher=_NextRun(), source_bucket=INBOX)


class _NextRun:
    """The embedded `Notifier`: whenever `local` runs, its inbox tells of all files."""

    def notify(self, notices: Sequence[Notice]) -> None:
        """Nothing is left to be done."""


def _keyless(environ: Mapping[str, str]) -> dict[str, str]:
    """Whoever is on call needs no key of the provider's: nothing here asks it."""
    return {**{name: value for name, value in environ.items() if name not in KEYS}, "OPENAI_API_KEY": "unused"}


def _usd_per_minute(settings: Settings) -> float | None:
    try:
        return tariff(settings.price_usd_per_minute, settings.openai_base_url)(settings.model[0])
    except ValueError:
        return None


def _desk(settings: Settings, ledger: Ledger, records: Records, objects: Store) -> Desk:
    location = OutputLocation.parse(settings.output)
    return Desk(
        ledger=ledger,
        records=records,
        objects=objects,
        location=location,
        chunk_prefix=location.chunk_prefix(settings.chunk_cache),
        selection=Selection(settings.include, settings.exclude),
        max_attempts=settings.max_attempts,
        max_event_age_seconds=settings.max_event_age_seconds,
        usd_per_minute=_usd_per_minute(settings),
    )
