"""What is known of each model: what it may be sent, the shape of its answers, its limits, its price, its end.

The law of this file: only what the model is known to take is sent, because a provider ignores unknown fields with a
200 and refuses known ones that it does not like; and what is sent is a pure function, because it is part of the chunk
cache's key. Documentation and prices of November 2026.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from subscriber.transcribe.languages import OPENAI_LANGUAGES, iso_code
from subscriber.transcript import Hints

__all__ = ["MAX_REQUEST_BYTES", "Fields", "Profile", "billed_seconds", "profile_of", "request_fields", "retirement"]

MAX_REQUEST_BYTES = 25 * 1024 * 1024
"""OpenAI's upload limit a request (platform documentation, November 2026); compatible servers copy it."""

OPENAI_HOST = "api.openai.com"

OPENAI_RETIREMENT = date(2027, 2, 26)
"""The day on which OpenAI shuts down whisper-1 and every gpt-4o transcription model (its deprecations page)."""

Fields = dict[str, str | list[str]]
"""Form fields by the SDK's names; a list is sent as NAME[], once for each element."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One family of models.

    `formats`: what to ask for, best first; the next one only when that is refused. `language_field`: how it is told the
    language, one of `languages` (None: any). `pins_language`: it guesses the language of each chunk anew. Lengths in
    seconds, price in US dollars a minute; None is unlimited, or unknown.
    """

    formats: tuple[str, ...]
    usd_per_minute: float | None
    language_field: str = "language"
    languages: frozenset[str] | None = None
    prompt: bool = True
    keywords: bool = False
    pins_language: bool = True
    max_seconds: float | None = None
    max_bytes: int = MAX_REQUEST_BYTES
    least_billed_seconds: float = 0.0
    billing_step_seconds: float = 0.0
    retires: date | None = None

    @property
    def timed(self) -> bool:
        """Whether its answers have segments with times."""
        return self.formats[0] == "verbose_json"


_OPENAI_TEXT = Profile(
    formats=("json",),
    usd_per_minute=0.006,
    pins_language=False,
    max_seconds=1400.0,
    retires=OPENAI_RETIREMENT,
)
_GROQ = Profile(formats=("verbose_json",), usd_per_minute=0.00185, least_billed_seconds=10.0)

PROFILES = (
    # The first prefix that fits decides.
    (
        "whisper-1",
        # Billed to the second; rounding up is never too little.
        Profile(("verbose_json",), 0.006, billing_step_seconds=1.0, retires=OPENAI_RETIREMENT),
    ),
    (
        "gpt-transcribe",
        # The singular `language` is ignored; a language that is not on the list, or both fields, are a 400.
        replace(
            _OPENAI_TEXT,
            usd_per_minute=0.0045,
            language_field="languages",
            languages=OPENAI_LANGUAGES,
            keywords=True,
            max_seconds=1390.0,
            retires=None,
        ),
    ),
    ("gpt-4o-mini-transcribe", replace(_OPENAI_TEXT, usd_per_minute=0.003)),
    ("gpt-4o-transcribe-diarize", replace(_OPENAI_TEXT, prompt=False)),
    ("gpt-4o-transcribe", _OPENAI_TEXT),
    ("whisper-large-v3-turbo", replace(_GROQ, usd_per_minute=0.0007)),
    ("whisper-large-v3", _GROQ),
    ("", Profile(formats=("verbose_json", "json"), usd_per_minute=None)),
)


def profile_of(model: str) -> Profile:
    """The profile of a model; one that nobody knows is taken for a Whisper of unknown price."""
    return next(profile for prefix, profile in PROFILES if model.startswith(prefix))


def request_fields(profile: Profile, hints: Hints, *, response_format: str = "") -> Fields:
    """Everything that is sent beside the file and the model's name. `response_format`: another than the best one.

    A model without keywords is told them in its prompt, which is what its makers advise for rare names.
    """
    wanted = response_format or profile.formats[0]
    fields: Fields = {"response_format": wanted}
    if wanted == "verbose_json":
        fields["timestamp_granularities"] = ["segment"]
    code = iso_code(hints.language)
    if code and (profile.languages is None or code in profile.languages):
        fields[profile.language_field] = [code] if profile.language_field == "languages" else code
    terms = [term for keyword in hints.keywords if (term := _as_keyword(keyword))]
    if profile.keywords and terms:
        fields["keywords"] = terms
    if profile.prompt and (told := _prompt(hints.prompt, [] if profile.keywords else terms)):
        fields["prompt"] = told
    return fields


def billed_seconds(profile: Profile, seconds: float, told: float | None = None) -> float:
    """What a request of so many seconds of audio is billed as: what the provider told, but no less than its least."""
    step = profile.billing_step_seconds
    rounded = math.ceil(seconds / step) * step if step else seconds
    return max(told if told is not None and math.isfinite(told) else rounded, profile.least_billed_seconds)


def retirement(model: str, host: str, today: date) -> str | None:
    """When OpenAI no longer serves the model, for people; None if that is unknown, or another host serves it."""
    ends = profile_of(model).retires
    if ends is None or host != OPENAI_HOST:
        return None
    days = (ends - today).days
    return f"OpenAI retires {model} on {ends}, " + (f"in {days} days" if days >= 0 else f"{-days} days ago")


def _as_keyword(keyword: str) -> str:
    """A keyword is one line without angle brackets: one bad one, and the whole request is refused (OpenAI's guide)."""
    return " ".join(keyword.replace("<", " ").replace(">", " ").split())


def _prompt(prompt: str | None, terms: Sequence[str]) -> str:
    return " ".join(filter(None, [(prompt or "").strip(), ", ".join(terms)]))
