"""The only composition root: settings and adapters go in, a running daemon comes out.

The law of this file: it wires and orders, and decides nothing about a message.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from subscriber.acks import Acks
from subscriber.arrival import Arrivals
from subscriber.audio.facts import Limits
from subscriber.audio.memory import give_large_buffers_back
from subscriber.audio.pool import KEPT_SECONDS, DecoderPool
from subscriber.budget import BudgetPurse, BudgetTerms
from subscriber.config import ConfigErrors, Settings
from subscriber.descriptors import allow_many
from subscriber.drain import Drain
from subscriber.endings import Endings, RetryPolicy
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.first_checks import Check
from subscriber.lease import ClaimKeeper, LeaseKeeper
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.notification import Selection
from subscriber.outage import Outages
from subscriber.outputs import OutputLocation
from subscriber.pipeline import Pipeline, PipelineOptions
from subscriber.ports import Announcer, BudgetLedger, Ledger, Objects, Source, Transcriber
from subscriber.registry import Registry
from subscriber.riding import RidingAnnouncer, RidingLedger, RidingObjects
from subscriber.settlement import Settler
from subscriber.signals import Signals
from subscriber.solitude import Solitude
from subscriber.transcribe.asking import Asker, Options
from subscriber.transcribe.cache import ChunkCache
from subscriber.transcribe.paying import PaidTranscriber, dearest_request_usd, tariff
from subscriber.transcribe.pool import SlotPool
from subscriber.transcribe.speech import Speech
from subscriber.transcribe.turns import Turns
from subscriber.transcript import Hints
from subscriber.web import WebServer
from subscriber.wishes import Wishes
from subscriber.worker import Worker

if TYPE_CHECKING:
    from subscriber.status import StatusReport

__all__ = ["Adapters", "Daemon"]


@dataclass(frozen=True, slots=True)
class Adapters:
    """The neighbours of one daemon. `checks`, by neighbour, raise NeighbourDown or ConfigError.

    `chunks`: where paid chunks are kept (None: with the outputs); `provider`: what they are kept under as the one who
    answered (None: the host of OPENAI_BASE_URL).
    """

    source: Source
    ledger: Ledger
    objects: Objects
    transcriber: Transcriber
    announcer: Announcer | None
    checks: Mapping[str, Check]
    budget_ledger: BudgetLedger | None = None
    chunks: Objects | None = None
    provider: str | None = None


class Daemon:
    """One process: the parts and the order in which they start and stop."""

    def __init__(self, settings: Settings, adapters: Adapters, metrics: Metrics, events: Signals) -> None:
        self._settings = settings
        self._adapters = adapters
        self._metrics = metrics
        self._events = events
        self._mistakes: list[str] = []
        self._started = False
        self._log = get_logger()
        self.drain = Drain(settings.shutdown_grace_seconds)
        self.decoders = DecoderPool()
        probes = {**adapters.checks, "whisper": self._probe_whisper, "configuration": _never_mended}
        self.outages = Outages(probes, self.drain, metrics)
        self.registry = Registry(settings.max_parked, settings.max_jobs)
        self.leases = LeaseKeeper(adapters.source, settings.ack_lease_seconds, metrics)
        self.claims = ClaimKeeper(adapters.ledger, settings.claim_seconds, metrics)
        self.solitude = Solitude(self.claims, self.drain)
        self._owner = f"{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
        self._transcriber, self._purse = self._within_budget()
        self.acks = Acks(adapters.source, self.drain, metrics)
        self.settler = Settler(self.acks, self.leases, metrics)
        self._speech = self._compose_speech()
        self.worker = self._worker()

    def serve(self, *, web: bool = True) -> None:
        """Check, pull, and drain on the first event. Raises ConfigErrors for what only configuration can mend."""
        give_large_buffers_back()
        allow_many()
        with ExitStack() as parts:
            parts.enter_context(self.decoders)
            if self._purse:
                parts.enter_context(self._purse)
            parts.enter_context(self.leases)
            parts.enter_context(self.claims)
            parts.enter_context(self.acks)
            if web:
                status = self.status if self._settings.status_page == "on" else None
                parts.enter_context(
                    WebServer(self._settings.port, self._metrics.render, self.live, self.ready, status=status)
                )
            self.worker.start()
            while not self._events.get(KEPT_SECONDS):
                self.decoders.end_idle()
            self._drain()
        if self._mistakes:
            raise ConfigErrors(self._mistakes)

    def live(self) -> bool:
        """Whether the pull loop and the lease keeper take their turns, and acks go out."""
        return self.worker.alive() and self.leases.alive() and self.acks.alive()

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether we pull or are paused (a pause must not block the rollout that mends it), and why."""
        if self.drain.draining:
            return False, {"state": "draining"}
        if not self._started:
            return False, {"state": "starting"}
        if paused := self.outages.paused:
            return True, {"state": "paused", "why": paused}
        return True, {"state": "pulling"}

    def status(self) -> dict[str, Any]:
        """What the status page shows: see `status_fields.py`."""
        return self._report.make().model_dump(mode="json")

    @cached_property
    def _report(self) -> StatusReport:
        from subscriber.status import StatusReport  # noqa: PLC0415 - its fields take 20 ms, and nobody looks so early

        return StatusReport(
            settings=self._settings,
            owner=self._owner,
            metrics=self._metrics,
            leases=self.leases,
            claims=self.claims,
            outages=self.outages,
            ready=self.ready,
            live=self.live,
        )

    def _probe_whisper(self) -> None:
        """A check costs nothing and proves little: a pause ends with a real answer."""
        self._speech.probe()

    def _drain(self) -> None:
        """Drain; each further signal takes the remaining grace away."""
        self._metrics.draining.set(1)
        self._log.info("draining", grace_seconds=self._settings.shutdown_grace_seconds)
        self.drain.begin()
        self.worker.drain(lambda: self._events.put("drained"))
        while (event := self._events.get()) != "drained":
            if event == "stop":
                self.drain.begin()
        self._log.info("drained")

    def _prepare(self) -> bool:
        """Prove that each neighbour does what we need: pause for one that is away, stop for what is misconfigured."""
        budget = {"budget": self._purse.check} if self._purse else {}
        for neighbour, check in {**self._adapters.checks, **budget}.items():
            try:
                check()
            except NeighbourDown as error:
                self.outages.pause(error)
            except ConfigError as error:
                self._mistakes.append(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the pull loop before its first turn
                unknown = f"{type(error).__name__}: {error}"
                self.outages.pause(NeighbourDown(neighbour, "unavailable", unknown, probe=check))
        self._started = not self._mistakes
        if self._started:
            self._speech.warn_of_retirements(datetime.now(UTC).date())
            self._log.info("started", subscription=self._settings.subscription, output=self._settings.output)
        return self._started

    def _worker(self) -> Worker:
        return Worker(
            source=self._adapters.source,
            ledger=self._adapters.ledger,
            pipeline=self._pipeline(),
            leases=self.leases,
            claims=self.claims,
            registry=self.registry,
            solitude=self.solitude,
            settler=self.settler,
            outages=self.outages,
            drain=self.drain,
            metrics=self._metrics,
            max_jobs=self._settings.max_jobs,
            prepare=self._prepare,
            on_finished=lambda: self._events.put("finished"),
        )

    def _pipeline(self) -> Pipeline:
        settings, adapters = self._settings, self._adapters
        location = OutputLocation.parse(settings.output)
        ledger = RidingLedger(adapters.ledger, self.outages)
        objects = RidingObjects(adapters.objects, self.outages)
        retry = RetryPolicy(settings.max_attempts, settings.retry_min_seconds, settings.retry_max_seconds)
        selection = Selection(settings.include, settings.exclude)
        return Pipeline(
            arrivals=Arrivals(objects, location, selection, self.outages),
            objects=objects,
            ledger=ledger,
            speech=self._speech,
            announcer=RidingAnnouncer(adapters.announcer, self.outages) if adapters.announcer else None,
            claims=self.claims,
            registry=self.registry,
            solitude=self.solitude,
            endings=Endings(
                ledger=ledger,
                objects=objects,
                location=location,
                retry=retry,
                drain=self.drain,
                metrics=self._metrics,
            ),
            settler=self.settler,
            outages=self.outages,
            metrics=self._metrics,
            options=PipelineOptions(
                location=location,
                usual=Wishes(_hints(settings), settings.formats),
                owner=self._owner,
                provider=urlsplit(settings.openai_base_url).hostname or "",
                claim_seconds=settings.claim_seconds,
                max_attempts=settings.max_attempts,
                max_event_age_seconds=settings.max_event_age_seconds,
            ),
        )

    def _within_budget(self) -> tuple[Transcriber, BudgetPurse | None]:
        """The transcriber, and the purse that pays for it where there is a limit."""
        settings, adapters = self._settings, self._adapters
        if settings.budget_usd_per_day is None or adapters.budget_ledger is None:
            return adapters.transcriber, None
        price = tariff(settings.price_usd_per_minute, settings.openai_base_url)
        chunk = dearest_request_usd(settings.model, price, settings.chunk_seconds)
        terms = BudgetTerms(settings.budget_usd_per_day, chunk, settings.whisper_concurrency)
        purse = BudgetPurse(adapters.budget_ledger, terms, self._owner, self.drain, self._metrics)
        return PaidTranscriber(adapters.transcriber, purse, price), purse

    def _compose_speech(self) -> Speech:
        settings, adapters = self._settings, self._adapters
        location = OutputLocation.parse(settings.output)
        options = Options(
            models=settings.model,
            host=adapters.provider or urlsplit(settings.openai_base_url).netloc,
            hints=_hints(settings),
            usd_per_minute=settings.price_usd_per_minute,
            chunk_seconds=settings.chunk_seconds,
            stall_seconds=settings.stall_seconds,
        )
        prefix = location.chunk_prefix(settings.chunk_cache)
        chunks = RidingObjects(adapters.chunks or adapters.objects, self.outages)
        cache = ChunkCache(chunks, location.bucket, prefix)
        return Speech(
            decoders=self.decoders,
            limits=Limits(max_audio_seconds=settings.max_audio_seconds),
            turns=Turns(self.drain),
            pool=SlotPool(settings.whisper_concurrency, settings.requests_per_minute, self.drain, self._metrics),
            asker=Asker(self._transcriber, cache, options, self._metrics),
            transcriber=self._transcriber,
            outages=self.outages,
            metrics=self._metrics,
        )


def _hints(settings: Settings) -> Hints:
    return Hints(settings.language, settings.prompt, settings.keywords)


def _never_mended() -> None:
    """The probe of a pause that only a restart with other settings ends."""
    raise NeighbourDown("configuration", "configuration", "waiting for another OUTPUT")
