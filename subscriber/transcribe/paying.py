"""Requests within a budget: each is paid for at its worst before it is sent, and settled once its end is known.

The law of this file: nothing is sent that was not paid for, the canary's second included; and what was taken for a
request is given back only where nothing can have been billed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from subscriber.errors import FormatRefused, NeighbourDown, Permanent, RateLimited
from subscriber.ports import Transcriber
from subscriber.transcribe.profiles import billed_seconds, profile_of
from subscriber.transcript import Answer, SpeechRequest

__all__ = ["PaidTranscriber", "Purse", "Tariff", "dearest_request_usd", "tariff"]

CANARY_SECONDS = 1.0

PRICED_DOMAINS = ("openai.com", "groq.com")
"""Whose list prices the profiles hold. The same model elsewhere may cost anything."""

Tariff = Callable[[str], float]
"""US dollars a minute of a model."""


class Purse(Protocol):
    """What this process may spend."""

    def take(self, usd: float) -> None:
        """Pay for a request that is about to be sent. Raises NeighbourDown: too little is left, or nobody can tell."""

    def give_back(self, usd: float) -> None:
        """A request has cost so much less than was taken for it; below 0, so much more."""


@dataclass(slots=True)
class _Bill:
    """What a request has cost: its worst, until something better is known."""

    usd: float


class PaidTranscriber:
    """A `Transcriber` that a purse pays for."""

    def __init__(self, transcriber: Transcriber, purse: Purse, usd_per_minute: Tariff) -> None:
        self._transcriber = transcriber
        self._purse = purse
        self._usd_per_minute = usd_per_minute

    def check(self) -> None:
        """As the port says; it costs nothing."""
        self._transcriber.check()

    def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None:
        """As the port says. Raises NeighbourDown for the budget as well."""
        with self._paying(self._cost(model, CANARY_SECONDS)):
            self._transcriber.probe(model, fields)

    def transcribe(self, request: SpeechRequest) -> Answer:
        """As the port says. Raises NeighbourDown for the budget as well."""
        with self._paying(self._cost(request.model, request.seconds)) as bill:
            answer = self._transcriber.transcribe(request)
            bill.usd = self._cost(request.model, request.seconds, answer.billed_seconds)
            return answer

    def _cost(self, model: str, seconds: float, told_seconds: float | None = None) -> float:
        return billed_seconds(profile_of(model), seconds, told_seconds) / 60 * self._usd_per_minute(model)

    @contextmanager
    def _paying(self, worst_usd: float) -> Iterator[_Bill]:
        """Take the worst cost, run the request, give back what it has not cost."""
        self._purse.take(worst_usd)
        bill = _Bill(worst_usd)
        try:
            yield bill
        except (FormatRefused, Permanent, RateLimited):
            bill.usd = 0.0  # a refusal: providers bill answers
            raise
        except NeighbourDown as error:
            bill.usd = worst_usd if error.maybe_billed else 0.0
            raise
        finally:
            self._purse.give_back(worst_usd - bill.usd)


def tariff(usd_per_minute: float | None, base_url: str) -> Tariff:
    """The price that was told, else the list's. Raises ValueError for a model of which neither is known."""
    domain = ".".join((urlsplit(base_url).hostname or "").split(".")[-2:])

    def price(model: str) -> float:
        listed = profile_of(model).usd_per_minute if domain in PRICED_DOMAINS else None
        known = listed if usd_per_minute is None else usd_per_minute
        if known is None:
            raise ValueError(f"needs SUBSCRIBER_PRICE_USD_PER_MINUTE: what {model} costs there is not known")
        return known

    return price


def dearest_request_usd(models: Sequence[str], usd_per_minute: Tariff, seconds: float) -> float:
    """The most that one request of so many seconds costs. Raises ValueError as the tariff does."""
    return max(usd_per_minute(model) * billed_seconds(profile_of(model), seconds) / 60 for model in models)
