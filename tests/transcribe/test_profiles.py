"""What each model may be sent, and what it costs."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from subscriber.transcribe.languages import OPENAI_LANGUAGES, iso_code
from subscriber.transcribe.profiles import billed_seconds, profile_of, request_fields, retirement
from subscriber.transcript import NO_HINTS, Hints

TIMED: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("whisper-1", {**TIMED, "language": "de", "prompt": "At the shop. Pub/Sub, b b"}),
        (
            "gpt-transcribe",
            {"response_format": "json", "languages": ["de"], "prompt": "At the shop.", "keywords": ["Pub/Sub", "b b"]},
        ),
        ("gpt-4o-transcribe", {"response_format": "json", "language": "de", "prompt": "At the shop. Pub/Sub, b b"}),
        (
            "gpt-4o-mini-transcribe-2025-12-15",
            {"response_format": "json", "language": "de", "prompt": "At the shop. Pub/Sub, b b"},
        ),
        ("gpt-4o-transcribe-diarize", {"response_format": "json", "language": "de"}),
        ("whisper-large-v3", {**TIMED, "language": "de", "prompt": "At the shop. Pub/Sub, b b"}),
        ("my-own", {**TIMED, "language": "de", "prompt": "At the shop. Pub/Sub, b b"}),
    ],
)
def test_everything_wished_is_sent_as_the_model_takes_it(model: str, fields: dict[str, Any]) -> None:
    found = request_fields(profile_of(model), Hints("German", " At the shop. ", ("Pub/Sub", "<b>\nb", "")))
    assert found == fields


@pytest.mark.parametrize("model", ["whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "whisper-large-v3-turbo", ""])
def test_nothing_wished_is_nothing_sent(model: str) -> None:
    assert request_fields(profile_of(model), NO_HINTS).keys() <= TIMED.keys()


def test_a_language_that_would_be_refused_is_left_to_the_model() -> None:
    assert "languages" not in request_fields(profile_of("gpt-transcribe"), Hints("la"))


def test_an_unknown_server_may_be_asked_for_its_second_format() -> None:
    unknown = profile_of("my-own")
    assert unknown.formats == ("verbose_json", "json")
    assert request_fields(unknown, NO_HINTS, response_format="json") == {"response_format": "json"}


@pytest.mark.parametrize(
    ("model", "price", "timed", "seconds"),
    [
        ("whisper-1", 0.006, True, None),
        ("gpt-transcribe", 0.0045, False, 1390),
        ("gpt-4o-mini-transcribe", 0.003, False, 1400),
        ("gpt-4o-transcribe", 0.006, False, 1400),
        ("whisper-large-v3-turbo", 0.0007, True, None),
        ("whisper-large-v3", 0.00185, True, None),
        ("gpt-4o-transcribe-2025-03-20", 0.006, False, 1400),
        ("Systran/faster-whisper-small", None, True, None),
        ("", None, True, None),
    ],
)
def test_prices_shapes_and_limits(model: str, price: float | None, timed: bool, seconds: float | None) -> None:
    profile = profile_of(model)
    assert (profile.usd_per_minute, profile.timed, profile.max_seconds) == (price, timed, seconds)
    assert profile.pins_language == timed


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe-2025-12-15"])
def test_openai_retires_its_older_models(model: str) -> None:
    assert profile_of(model).retires == date(2027, 2, 26)


@pytest.mark.parametrize("model", ["gpt-transcribe", "whisper-large-v3", "other"])
def test_no_end_is_known_of_the_others(model: str) -> None:
    assert profile_of(model).retires is None


@pytest.mark.parametrize(
    ("model", "seconds", "told", "billed"),
    [
        ("whisper-1", 3.2, None, 4.0),
        ("whisper-1", 3.2, 3.0, 3.0),
        ("whisper-1", 3.2, float("nan"), 4.0),
        ("whisper-large-v3", 3.2, None, 10.0),
        ("whisper-large-v3", 3.2, 3.2, 10.0),
        ("whisper-large-v3", 12.5, None, 12.5),
        ("other", 3.2, None, 3.2),
    ],
)
def test_what_a_request_is_billed_as(model: str, seconds: float, told: float | None, billed: float) -> None:
    assert billed_seconds(profile_of(model), seconds, told) == billed


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("english", "en"),
        ("English", "en"),
        ("en", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("haitian creole", "ht"),
        ("mandarin", "zh"),
        ("klingon", "klingon"),
        ("", None),
        (None, None),
    ],
)
def test_languages_are_codes(told: str | None, code: str | None) -> None:
    assert iso_code(told) == code


def test_every_language_that_openai_lists_is_one_that_we_know() -> None:
    assert len(OPENAI_LANGUAGES) == 57
    assert all(iso_code(f"{code}-XX") == code for code in OPENAI_LANGUAGES)


@pytest.mark.parametrize(
    ("today", "when"),
    [(date(2026, 11, 30), "in 88 days"), (date(2027, 2, 26), "in 0 days"), (date(2027, 3, 1), "3 days ago")],
)
def test_of_a_model_that_is_retired_the_days_are_told(today: date, when: str) -> None:
    assert retirement("whisper-1", "api.openai.com", today) == f"OpenAI retires whisper-1 on 2027-02-26, {when}"


@pytest.mark.parametrize(("model", "host"), [("gpt-transcribe", "api.openai.com"), ("whisper-1", "127.0.0.1:9000")])
def test_of_other_models_and_other_servers_no_end_is_known(model: str, host: str) -> None:
    assert retirement(model, host, date(2026, 11, 30)) is None
