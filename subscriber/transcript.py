"""The nouns of speech: what is asked of a provider, what it answers, what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "NO_HINTS",
    "SILENCE",
    "WARNINGS",
    "Answer",
    "Chunk",
    "ChunkSpan",
    "ChunkText",
    "Hints",
    "OutputFile",
    "Segment",
    "SpeechRequest",
    "TimedWarning",
    "Timing",
    "Transcript",
    "Word",
]

WARNINGS = {
    "loop": "a phrase came again and again; it was kept once",
    "no_speech": "the model doubted that it heard speech, and there is no sound: its words were dropped",
    "no_text": "there is sound, and asked twice the model has too little text for it, or none",
    "option_ignored": "the recording was transcribed without an option that cannot be granted",
    "prompt_echo": "the model repeated the prompt; its words were dropped",
    "times": "the model's times were impossible; they are estimated",
    "too_much_text": "asked twice, the model has more text than anybody can say in that time",
}
"""What a reader of a transcript should know of it: the `kind` of each of its warnings."""

Timing = Literal["model", "estimated"]
"""Who says when something was said: the model, or we from the text's length and the loud stretches."""


@dataclass(frozen=True, slots=True)
class TimedWarning:
    """Something that a reader should know. Times in seconds, from the start of whatever it is a warning of."""

    kind: str
    start: float
    end: float
    message: str


@dataclass(frozen=True, slots=True)
class Hints:
    """What a model is told of a recording: its language (ISO 639-1), a text to go before it, words that occur in it."""

    language: str | None = None
    prompt: str | None = None
    keywords: tuple[str, ...] = ()


NO_HINTS = Hints()


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One rendered file of a transcript, not yet written."""

    extension: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Word:
    """One word; times in seconds from the start of the recording, in an answer of what was sent."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of text; times as a word's. Unknown is None, never an invented 0."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What one request to a provider carries. `filename`'s ending tells the container, `fields` all that is beside.

    `seconds` is the length of its sound, which is what it costs.
    """

    data: bytes
    filename: str
    model: str
    seconds: float
    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
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
class ChunkSpan:
    """Where a chunk lies; times in seconds from the start of the audio, exact to the sample.

    `loud`: the stretches above the noise floor, in order. `silent`: nothing in it is worth asking a provider for.
    """

    index: int
    start: float
    end: float
    silent: bool = False
    loud: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkText:
    """The verdict on a chunk's sound; what the chunk cache stores. Final unless `doubted`: its halves are asked for.

    All times are seconds from the start of the *chunk*: the same sound elsewhere has the same verdict. `timing` is None
    where nothing was said, `language` an ISO 639-1 code where it is known.
    """

    text: str
    language: str | None
    timing: Timing | None
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    warnings: tuple[TimedWarning, ...]
    billed_seconds: float | None
    request_ids: tuple[str, ...]
    model: str
    doubted: bool = False


SILENCE = ChunkText("", None, None, (), (), (), 0.0, (), "")
"""The verdict on a silent chunk: nobody was asked."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of one job, done: where it lies, what it became, and whether it was paid for now.

    `key` names its verdict in the chunk cache; a silent one has none there.
    """

    span: ChunkSpan
    text: ChunkText
    source: Literal["paid", "cache", "silent"]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a job's audio became. Times and lengths in seconds, cost in US dollars; None where nobody told us.

    `audio` holds what the decoder found out about the file, for the reader of the JSON.
    """

    text: str
    language: str | None
    duration: float | None
    timing: Timing | None
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    chunks: tuple[Chunk, ...]
    warnings: tuple[TimedWarning, ...]
    model: str
    billed_seconds: float | None
    cost_usd: float | None
    fingerprint: str
    audio: Mapping[str, object] = field(default_factory=dict)
