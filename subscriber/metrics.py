"""Every metric, declared once: `subscriber_` + attribute + `_total` for a counter is its name.

The law of this file: a label value that can occur is there at 0 from the start, because a rate over a series that
appears with its first event misses that event. No object name is ever a label. Samples are billed: at most 12 buckets.
"""

from __future__ import annotations

import itertools
import platform
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from subscriber import __version__
from subscriber.book import Book
from subscriber.errors import IGNORED, NEIGHBOURS, PAUSES, VERDICTS
from subscriber.model import Outcome

__all__ = ["RPC_CODES", "STAGES", "WHISPER_RESULTS", "MetricInfo", "Metrics", "RecentMax", "catalogue", "reading"]

RPC_CODES = (
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
)
"""gRPC's canonical codes; a neighbour that speaks HTTP is counted under the code of the same meaning."""

WHISPER_RESULTS = ("ok", "rejected", "failed", "rate_limited", "down")
"""How a request ended: an answer, or by the error's remedy: Permanent, Transient, RateLimited, NeighbourDown."""

STAGES = ("claim", "transcribe", "write", "complete", "settle")
"""What a job's time is spent on."""

_JOB = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21_600)
_STAGE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900)
_REQUEST = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900)
_AGE = (1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400, 604_800, 1_209_600)
_RECENT_SECONDS = 600.0


M = TypeVar("M", bound=Counter | Gauge | Histogram)


class _Declared(Generic[M]):
    """A metric as the class below declares it; each `Metrics` makes its own, in its own registry."""

    def __init__(
        self,
        kind: Callable[..., M],
        text: str,
        series: Iterable[tuple[str, ...]],
        labels: Mapping[str, Iterable[str] | None],
        *,
        shown: bool = True,
    ) -> None:
        self._shown = shown
        self._kind = kind
        self._text = text
        self._series = tuple(series)
        self._labels = dict(labels)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"subscriber_{name}" + ("_total" if self._kind is Counter else "")

    def __get__(self, metrics: Metrics, owner: type) -> M:
        """For the type checker only: an instance's own attribute comes first."""
        raise AttributeError(self._name)

    def make(self, registry: CollectorRegistry, models: Iterable[str]) -> M:
        """Make the metric with all its series, at 0; one that need not apply is registered by whoever needs it."""
        made = self._kind(self._name, self._text, list(self._labels), registry=registry if self._shown else None)
        products = itertools.product(*(models if known is None else known for known in self._labels.values()))
        for values in [*self._series, *products] if self._labels else []:
            made.labels(*values)
        return made

    def info(self) -> MetricInfo:
        """What the documentation says."""
        return MetricInfo(self._name, tuple(self._labels), self._text)


def _counter(text: str, *series: tuple[str, ...], **labels: Iterable[str] | None) -> _Declared[Counter]:
    """A counter with every combination of the labels' values, None for the models, and with the further `series`."""
    return _Declared(Counter, text, series, labels)


def _gauge(text: str, **labels: Iterable[str] | None) -> _Declared[Gauge]:
    return _Declared(Gauge, text, (), labels)


def _gauge_where_it_applies(text: str) -> _Declared[Gauge]:
    return _Declared(Gauge, text, (), {}, shown=False)


def _histogram(text: str, buckets: tuple[float, ...], **labels: Iterable[str] | None) -> _Declared[Histogram]:
    return _Declared(partial(Histogram, buckets=buckets), text, (), labels)


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One metric for the documentation."""

    name: str
    labels: tuple[str, ...]
    help: str


class RecentMax:
    """The highest value of the last one to two windows: a maximum since the start would never let an alert clear."""

    def __init__(self, window_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_seconds = window_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._before = self._now = 0.0

    def see(self, value: float) -> None:
        """Take part in the maximum."""
        with self._lock:
            self._turn()
            self._now = max(self._now, value)

    def value(self) -> float:
        """The maximum, 0 without values."""
        with self._lock:
            self._turn()
            return max(self._before, self._now)

    def _turn(self) -> None:
        windows = (self._clock() - self._began) // self._window_seconds
        if windows:
            self._before, self._now = (self._now if windows == 1 else 0.0), 0.0
            self._began += windows * self._window_seconds


class Metrics:
    """The metrics of one daemon, in a registry of their own. `models` are those that it may ask.

    `book` is what the status page knows of the last hour; it is told by whoever counts.
    """

    deliveries = _counter("Deliveries by their outcome for us.", outcome=Outcome)
    jobs = _counter(
        "Jobs that this process brought to their end.",
        ("done", ""),
        ("gone", "gone"),
        ("superseded", "superseded"),
        ("skipped", "skipped"),
        *(("dead", reason) for reason in VERDICTS),
        result=(),
        reason=(),
    )
    ignored = _counter("Messages that ask nothing of us.", reason=IGNORED)
    settlements = _counter("Deliveries that Pub/Sub was told about.", kind=("ack", "defer"), result=("ok", "error"))
    rpc_errors = _counter("Failed calls of a neighbour.", adapter=NEIGHBOURS, code=RPC_CODES)
    delivery_attempt_max = _gauge("Highest delivery attempt of the last 10 to 20 minutes.")
    claims = _counter("Answers to claims.", result=("granted", "taken_over", "duplicate", "busy", "early", "dead"))
    jobs_in_flight = _gauge("Jobs in work.")
    jobs_parked = _gauge("Deliveries that wait: for another worker's job, or for a place for a large one.")
    jobs_limit = _gauge("Most jobs in work at once.")
    job_seconds = _histogram("Work on a job, from arrival to end.", _JOB)
    stage_seconds = _histogram("One stage of a job.", _STAGE, stage=STAGES)
    delivery_age_seconds = _histogram("From a message's publication to its arrival.", _AGE)
    end_to_end_seconds = _histogram("From a message's publication to its transcript.", _AGE)
    lease_renewals = _counter(
        "Renewals of leases and claims.",
        ("ack", "refused"),
        ("claim", "lost"),
        kind=("ack", "claim"),
        result=("ok", "error"),
    )
    lease_staleness_seconds = _gauge("Since a keeper's last success.", kind=("ack", "claim"))
    whisper_requests = _counter("Requests to the provider.", model=None, result=WHISPER_RESULTS)
    whisper_request_seconds = _histogram("One request to the provider.", _REQUEST, model=None)
    model_gone = _gauge("1 once the provider has said that it no longer serves the model.", model=None)
    whisper_in_flight = _gauge("Requests on the wire.")
    whisper_slots = _gauge("Most requests on the wire at once, as of now.")
    audio_seconds = _counter("Audio transcribed.")
    billed_seconds = _counter("Audio that the provider billed.", model=None)
    possibly_billed_seconds = _counter("Audio of requests whose answer never came.", model=None)
    chunks = _counter("Chunks by where their verdict came from.", source=("paid", "cache", "silent"))
    cost_usd = _counter("Estimated cost in US dollars.", model=None)
    budget_remaining_usd = _gauge_where_it_applies("US dollars that are left of today's budget; absent without one.")
    provider_paused = _gauge("1 while a neighbour's outage of this reason pauses us.", reason=PAUSES)
    last_success_timestamp_seconds = _gauge("Unix time of the last transcript, at first of our start.")
    draining = _gauge("1 once we were told to stop.")
    build_info = _gauge("Always 1.", version=(__version__,), python=(platform.python_version(),))

    def __init__(self, models: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second sample for each series, which nobody reads
        self.book = Book()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        models = tuple(models)
        for attribute, declared in _declarations():
            vars(self)[attribute] = declared.make(self.registry, models)
        self._attempts = RecentMax(_RECENT_SECONDS)
        self.delivery_attempt_max.set_function(self._attempts.value)
        self.last_success_timestamp_seconds.set_to_current_time()
        self.build_info.labels(__version__, platform.python_version()).set(1)

    def see_delivery_attempt(self, attempt: int) -> None:
        """Take Pub/Sub's delivery attempt of an arrival into `delivery_attempt_max`."""
        self._attempts.see(attempt)

    def see_age(self, seconds: float) -> None:
        """Take in how long after its publication a message has arrived."""
        self.delivery_age_seconds.observe(seconds)
        self.book.see_arrival(seconds)

    def see_in_flight(self, jobs: int) -> None:
        """So many jobs are in work from now on."""
        self.jobs_in_flight.set(jobs)
        self.book.see_in_flight(jobs)

    def spend(self, model: str, usd: float) -> None:
        """Count what an answer has cost."""
        self.cost_usd.labels(model).inc(usd)
        self.book.see_cost(usd)

    def watch_staleness(self, kind: str, seconds: Callable[[], float]) -> None:
        """Ask `seconds` at every scrape how long ago the keeper of that kind (ack, claim) last succeeded."""
        self.lease_staleness_seconds.labels(kind).set_function(seconds)

    def show_budget(self) -> Gauge:
        """The gauge of what remains of the day's budget, from now on among the others."""
        self.registry.register(self.budget_remaining_usd)
        return self.budget_remaining_usd

    def render(self) -> bytes:
        """Prometheus's text format 0.0.4."""
        return generate_latest(self.registry)


def reading(metric: Counter | Gauge) -> float:
    """What a scrape would find now: the sum over all series."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)


def catalogue() -> list[MetricInfo]:
    """Every metric of ours, in the order of declaration."""
    return [declared.info() for _, declared in _declarations()]


def _declarations() -> list[tuple[str, _Declared[Any]]]:
    return [(name, value) for name, value in vars(Metrics).items() if isinstance(value, _Declared)]
