"""Nothing is sent unpaid, and only what cannot have been billed is given back."""

from __future__ import annotations

import pytest

from subscriber.errors import FormatRefused, NeighbourDown, Permanent, RateLimited, Transient
from subscriber.transcribe.paying import PaidTranscriber, dearest_request_usd, tariff
from subscriber.transcript import Answer, SpeechRequest
from tests.transcribe.scene import Provider, answer

OPENAI = "https://api.openai.com/v1"
REQUEST = SpeechRequest(b"", "chunk.flac", "whisper-1", 30.0)
CHUNK_USD = 0.003


class Purse:
    """Counts what is taken and given back; an empty one refuses."""

    def __init__(self) -> None:
        self.taken = 0.0
        self.most = float("inf")

    def take(self, usd: float) -> None:
        if self.taken + usd > self.most:
            raise NeighbourDown("budget", "budget", "empty")
        self.taken += usd

    def give_back(self, usd: float) -> None:
        self.taken -= usd


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def purse() -> Purse:
    return Purse()


@pytest.fixture
def paid(provider: Provider, purse: Purse) -> PaidTranscriber:
    return PaidTranscriber(provider, purse, tariff(None, OPENAI))


def test_a_request_is_paid_for_before_it_is_sent(paid: PaidTranscriber, provider: Provider, purse: Purse) -> None:
    seen = []

    def look(request: SpeechRequest) -> Answer:
        seen.append(purse.taken)
        return answer(request)

    provider.script = look
    paid.transcribe(REQUEST)
    assert seen == [CHUNK_USD]
    assert purse.taken == CHUNK_USD


def test_what_cannot_be_paid_for_is_not_sent(paid: PaidTranscriber, provider: Provider, purse: Purse) -> None:
    purse.most = 0.0
    with pytest.raises(NeighbourDown, match="empty"):
        paid.transcribe(REQUEST)
    with pytest.raises(NeighbourDown, match="empty"):
        paid.probe("whisper-1", {})
    assert provider.requests == []


def test_the_canary_costs_its_second(paid: PaidTranscriber, purse: Purse) -> None:
    paid.probe("whisper-1", {})
    assert purse.taken == pytest.approx(0.0001)


def test_a_check_costs_nothing(paid: PaidTranscriber, purse: Purse) -> None:
    paid.check()
    assert purse.taken == 0


@pytest.mark.parametrize(("told", "cost"), [(None, 0.003), (10.0, 0.001), (60.0, 0.006)])
def test_a_request_has_cost_what_the_provider_says(
    paid: PaidTranscriber, provider: Provider, purse: Purse, told: float | None, cost: float
) -> None:
    provider.script = lambda request: Answer("", None, None, (), (), request.model, None, told)
    paid.transcribe(REQUEST)
    assert purse.taken == pytest.approx(cost)


@pytest.mark.parametrize(
    ("end", "cost"),
    [
        (Permanent("audio_rejected", "no audio"), 0.0),
        (FormatRefused("no verbose_json"), 0.0),
        (RateLimited(1.0, "slowly"), 0.0),
        (NeighbourDown("whisper", "unavailable", "a 500"), 0.0),
        (NeighbourDown("whisper", "unavailable", "broken off", maybe_billed=True), CHUNK_USD),
        (Transient("no_answer", "no answer in time"), CHUNK_USD),
        (Transient("bad_answer", "HTML"), CHUNK_USD),
        (RuntimeError("whatever"), CHUNK_USD),
    ],
    ids=str,
)
def test_only_what_cannot_have_been_billed_is_given_back(
    paid: PaidTranscriber, provider: Provider, purse: Purse, end: Exception, cost: float
) -> None:
    def fail(_: SpeechRequest) -> Answer:
        raise end

    provider.script = fail
    with pytest.raises(type(end)):
        paid.transcribe(REQUEST)
    assert purse.taken == cost


def test_a_price_that_was_told_goes_before_the_list() -> None:
    assert tariff(0.5, OPENAI)("whisper-1") == 0.5
    assert tariff(None, OPENAI)("whisper-1") == 0.006
    assert tariff(None, "https://api.groq.com/openai/v1")("whisper-large-v3") == 0.00185
    assert tariff(0.0, "http://localhost:9000/v1")("mine") == 0.0


@pytest.mark.parametrize(
    ("model", "url"), [("mine", OPENAI), ("whisper-1", "http://10.0.0.7:9000/v1"), ("whisper-1", "https://a.example/")]
)
def test_a_price_that_nobody_told_is_none(model: str, url: str) -> None:
    with pytest.raises(ValueError, match="needs SUBSCRIBER_PRICE_USD_PER_MINUTE"):
        tariff(None, url)(model)


def test_the_dearest_request_is_the_dearest_models_with_its_least_bill() -> None:
    assert dearest_request_usd(["gpt-transcribe", "whisper-1"], tariff(None, OPENAI), 29.5) == pytest.approx(0.003)
    groq = tariff(None, "https://api.groq.com/openai/v1")
    assert dearest_request_usd(["whisper-large-v3"], groq, 1.0) == pytest.approx(0.00185 / 6)
