"""What is known of each model: the shape of its answers, its price, its limits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_REQUEST_BYTES", "Profile", "profile_of"]

MAX_REQUEST_BYTES = 25 * 1024 * 1024
"""OpenAI's upload limit a request (platform documentation, November 2026); compatible servers copy it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`timed` models answer verbose_json with segments; others give text only. Price in US dollars a minute."""

    timed: bool
    usd_per_minute: float | None


PROFILES = (
    # Prices of November 2026. The first prefix that fits decides.
    ("whisper-1", Profile(timed=True, usd_per_minute=0.006)),
    ("gpt-transcribe", Profile(timed=False, usd_per_minute=0.0045)),
    ("gpt-4o-mini-transcribe", Profile(timed=False, usd_per_minute=0.003)),
    ("gpt-4o-transcribe", Profile(timed=False, usd_per_minute=0.006)),
    ("whisper-large-v3-turbo", Profile(timed=True, usd_per_minute=0.0007)),
    ("", Profile(timed=True, usd_per_minute=None)),
)


def profile_of(model: str) -> Profile:
    """The profile of a model; one that nobody knows is taken for a Whisper of unknown price."""
    return next(profile for prefix, profile in PROFILES if model.startswith(prefix))
