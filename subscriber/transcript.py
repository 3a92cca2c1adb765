"""The nouns of speech: what is asked of a provider, what it answers, what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answer", "OutputFile", "Segment", "SpeechRequest", "Transcript", "Word"]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One rendered file of a transcript, not yet written."""

    extension: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Word:
    """One word; times in seconds from the start of the audio."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of text; times in seconds from the start of the audio. Unknown is None, never an invented 0."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What one request to a provider carries. `filename`'s ending tells the provider the container."""

    data: bytes
    filename: str
    model: str
    language: str | None = None
    prompt: str | None = None
    timeout_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's validated answer for one request. `segments` is empty where the model gives text only."""

    text: str
    language: str | None
    duration: float | None
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    model: str
    request_id: str | None
    billed_seconds: float | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a job's audio became. Seconds and US dollars are None where nobody told us."""

    answer: Answer
    billed_seconds: float | None
    cost_usd: float | None
    fingerprint: str
