"""Which checks a daemon's settings call for.

The SDKs are imported in their functions, as in `compose.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from subscriber.app import Adapters
from subscriber.compose import cloud_adapters
from subscriber.compose_desk import ledger_project
from subscriber.config import Settings
from subscriber.decisions import Verdict
from subscriber.desk.bucket_rules import (
    echo_findings,
    notification_findings,
    output_findings,
    place_finding,
    source_findings,
)
from subscriber.desk.checking import Check, port_findings, probe_output, proven, run
from subscriber.desk.facts import BucketFacts, Finding, Level, Unseen
from subscriber.desk.other_rules import clock_finding, ledger_findings, model_findings, retirement_findings
from subscriber.desk.subscription_rules import replay_findings, subscription_findings
from subscriber.metrics import Metrics
from subscriber.model import Job, Record
from subscriber.outputs import OutputLocation
from subscriber.ports import Records
from subscriber.queries import ALL
from subscriber.transcribe.profiles import profile_of, request_fields
from subscriber.transcript import Hints

if TYPE_CHECKING:
    from subscriber.adapters.checks_firestore import FirestoreFacts
    from subscriber.adapters.checks_gcs import GcsFacts
    from subscriber.adapters.checks_pubsub import PubSubFacts

__all__ = ["checks"]

LATEST = 100
"""How many of the newest records tell which buckets recordings come from."""


@contextmanager
def checks(settings: Settings, sources: tuple[str, ...], *, spend: bool) -> Iterator[list[Check]]:
    """Everything that a daemon with these settings needs. `sources`: the buckets with recordings, if they are told.

    Raises ConfigError where credentials are missing.
    """
    from subscriber.adapters.checks_firestore import FirestoreFacts  # noqa: PLC0415
    from subscriber.adapters.checks_gcs import GcsFacts  # noqa: PLC0415
    from subscriber.adapters.checks_pubsub import PubSubFacts  # noqa: PLC0415
    from subscriber.adapters.firestore_records import FirestoreRecords  # noqa: PLC0415

    place = (ledger_project(settings), settings.firestore_database, settings.firestore_collection)
    host = settings.firestore_emulator_host
    with ExitStack() as stack:
        yield _Checks(
            settings,
            stack.enter_context(cloud_adapters(settings, Metrics(settings.model))),
            stack.enter_context(closing(PubSubFacts(settings.pubsub_emulator_host))),
            stack.enter_context(
                closing(GcsFacts(user_project=settings.user_project, endpoint=settings.storage_emulator_host))
            ),
            stack.enter_context(closing(FirestoreFacts(*place, emulator_host=host))),
            stack.enter_context(closing(FirestoreRecords(*place, emulator_host=host))),
            sources,
        ).all(spend=spend)


class _Checks:
    """One check a method; the lists say in which order."""

    def __init__(  # noqa: PLR0917 - the neighbours, then what to ask about
        self,
        settings: Settings,
        adapters: Adapters,
        pubsub: PubSubFacts,
        gcs: GcsFacts,
        firestore: FirestoreFacts,
        records: Records,
        sources: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._adapters = adapters
        self._pubsub = pubsub
        self._gcs = gcs
        self._firestore = firestore
        self._records = records
        self._sources = sources
        self._location = OutputLocation.parse(settings.output)

    def all(self, *, spend: bool) -> list[Check]:
        return [
            *self._messages(),
            Check("recordings", self._recordings),
            *self._outputs(),
            *self._ledger(),
            *self._provider(spend=spend),
            Check("port", partial(port_findings, self._settings.port)),
        ]

    def _messages(self) -> Iterator[Check]:
        emulator = self._settings.pubsub_emulator_host is not None
        prove = self._adapters.checks
        named = ", ".join(self._settings.subscription)
        yield proven("subscription", prove["pubsub"], f"{named} may be pulled", emulator=emulator)
        for subscription in self._settings.subscription:
            yield Check("subscription", partial(self._subscription, subscription))
        if topic := self._settings.result_topic:
            yield proven("result topic", prove["result topic"], f"{topic} may be published to", emulator=emulator)
        yield Check("replay topic", self._replay_topic)

    def _replay_topic(self) -> Iterator[Finding]:
        settings, topic = self._settings, self._settings.replay_topic
        may_publish = topic is not None and self._pubsub.may_publish(topic)
        sources = {name: self._pubsub.subscription(name).topic for name in settings.subscription}
        yield from replay_findings(topic, sources, may_publish=may_publish)

    def _outputs(self) -> Iterator[Check]:
        emulator, bucket = self._settings.storage_emulator_host is not None, self._location.bucket
        message = f"gs://{bucket} is there, with the rights that outputs take"
        yield proven("output", self._adapters.checks["gcs"], message, emulator=emulator)
        yield Check("output", self._output_settings)
        yield Check("output", self._output_probe)

    def _ledger(self) -> Iterator[Check]:
        emulator = self._settings.firestore_emulator_host is not None
        yield proven("ledger", self._adapters.checks["firestore"], "can be read")
        yield proven("ledger", self._firestore.prove_writing, "takes writes", emulator=emulator)
        yield Check("ledger", self._administration)
        yield Check("clock", self._clock)

    def _provider(self, *, spend: bool) -> Iterator[Check]:
        settings = self._settings
        message = f"{settings.openai_base_url} does not refuse the key"
        yield proven("provider", self._adapters.checks["whisper"], message)
        yield Check("provider", self._models)
        yield Check("provider", partial(retirement_findings, settings.model, datetime.now(UTC).date()))
        if spend:
            model = settings.model[0]
            fields = request_fields(profile_of(model), Hints(settings.language, settings.prompt, settings.keywords))
            probe = partial(self._adapters.transcriber.probe, model, fields)
            yield proven("provider", probe, f"{model} answers a request of one second")
        else:
            yield Check("provider", _not_asked)

    def _subscription(self, name: str) -> Iterator[Finding]:
        facts = self._pubsub.subscription(name)
        yield from subscription_findings(facts, max_event_age_seconds=self._settings.max_event_age_seconds)

    def _recordings(self) -> Iterator[Finding]:
        buckets = self._sources or tuple(sorted({one.bucket for one in self._latest()} - {""}))
        yield place_finding(self._location, buckets)
        if self._location.bucket not in buckets:
            yield from run([Check("output", self._echoes)])
        if not buckets:
            raise Unseen("no record names a bucket yet: name it with --bucket")
        for bucket in buckets:
            looks = (self._source_rights, self._source_settings, self._source_notifications)
            yield from run(Check("recordings", partial(look, bucket)) for look in looks)

    def _latest(self) -> Iterator[Record]:
        return islice(self._records.search(ALL), LATEST)

    def _source_settings(self, bucket: str) -> Iterator[Finding]:
        yield from source_findings(self._gcs.bucket(bucket), self._settings.user_project)

    def _source_notifications(self, bucket: str) -> Iterator[Finding]:
        found = self._gcs.notifications(bucket)
        topic = self._pubsub.subscription(self._settings.subscription[0]).topic
        yield from notification_findings(bucket, found, topic, self._location)

    def _echoes(self) -> Iterator[Finding]:
        """Also of a bucket of which nobody says that recordings come there: notifications may."""
        found = self._gcs.notifications(self._location.bucket)
        topic = self._pubsub.subscription(self._settings.subscription[0]).topic
        if self._location.covers_whole_bucket and any(one.topic == topic for one in found):
            yield place_finding(self._location, [self._location.bucket])
        yield from echo_findings(found, topic, self._location)

    def _source_rights(self, bucket: str) -> Iterator[Finding]:
        if missing := self._gcs.missing_rights(bucket):
            grant = f"gcloud storage buckets add-iam-policy-binding gs://{bucket} --member=MEMBER"
            why = f"we lack {', '.join(sorted(missing))} on gs://{bucket}"
            yield Finding(Level.FAIL, "recordings", why, f"{grant} --role=roles/storage.objectViewer")
        else:
            yield Finding(Level.OK, "recordings", f"gs://{bucket} can be read")

    def _output_settings(self) -> Iterator[Finding]:
        yield from output_findings(self._output_facts(), self._chunk_prefix, self._settings.user_project)

    def _output_probe(self) -> Iterator[Finding]:
        """Not where the probe could not be taken away again."""
        try:
            facts = self._output_facts()
        except Unseen:
            pass  # the write itself tells
        else:
            if facts.retention_seconds or facts.default_hold:
                raise Unseen("no object was written to try: retention or a hold would keep it")
        yield from probe_output(self._adapters.objects, self._location.bucket, self._chunk_prefix)

    def _output_facts(self) -> BucketFacts:
        return self._gcs.bucket(self._location.bucket)

    @property
    def _chunk_prefix(self) -> str:
        return self._location.chunk_prefix(self._settings.chunk_cache)

    def _administration(self) -> Iterator[Finding]:
        settings = self._settings
        facts = self._firestore.administration()
        yield from ledger_findings(facts, settings.firestore_database, settings.firestore_collection)

    def _clock(self) -> Iterator[Finding]:
        before = datetime.now(UTC)
        theirs = self._adapters.ledger.transact(Job("", "", 0, "check"), _time)
        after = datetime.now(UTC)
        yield clock_finding(before + (after - before) / 2 - theirs)

    def _models(self) -> Iterator[Finding]:
        from subscriber.adapters.checks_openai import listed_models  # noqa: PLC0415

        url, key = self._settings.openai_base_url, self._settings.openai_api_key
        served = listed_models(key.get_secret_value() if key else None, url)
        yield from model_findings(self._settings.model, served, urlsplit(url).hostname or "")


def _time(_: Record | None, now: datetime) -> Verdict[datetime]:
    return Verdict(now)


def _not_asked() -> Iterator[Finding]:
    raise Unseen("whether a request is answered: --spend asks for one second, which costs some $0.0001")
