"""What answers a transcription request: a local Whisper, or a stub whose text says which bytes it was given."""

from __future__ import annotations

import hashlib
import io
import time
import wave
from typing import Any, Protocol

__all__ = ["Engine", "StubEngine", "duration_seconds"]


class Engine(Protocol):
    """Turns one audio file into the `verbose_json` shape; called from several threads at once."""

    @property
    def name(self) -> str:
        """The model's id, as `/v1/models` shows it."""

    def transcribe(
        self,
        data: bytes,
        filename: str,
        *,
        language: str | None = None,
        prompt: str | None = None,
        temperature: float = 0.0,
        word_timestamps: bool = False,
    ) -> dict[str, Any]:
        """Keys `task language duration text segments words`; times in seconds, unknown is None or absent.

        Raises:
            Permanent: this file will never work (HTTP 400).
            ValueError: a parameter is at fault (HTTP 400).
            Transient: it may work when asked again (HTTP 500).

        """


class StubEngine:
    """Answers after `latency` seconds with the first 12 hex digits of the file's SHA-256, so that a swap is seen."""

    name = "stub"

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency

    def transcribe(
        self,
        data: bytes,
        filename: str,  # noqa: ARG002 the Protocol's
        *,
        language: str | None = None,
        prompt: str | None = None,  # noqa: ARG002 the Protocol's
        temperature: float = 0.0,
        word_timestamps: bool = False,
    ) -> dict[str, Any]:
        """One segment over the whole file (1 s where the length is not known), two words."""
        time.sleep(self.latency)
        seconds = duration_seconds(data)
        end = seconds or 1.0
        words = ["speech", hashlib.sha256(data).hexdigest()[:12]]
        answer: dict[str, Any] = {
            "task": "transcribe",
            # OpenAI names the language in full, whatever was sent.
            "language": language or "english",
            "duration": seconds,
            "text": " ".join(words),
            "segments": [_segment(" ".join(words), end, temperature)],
        }
        if word_timestamps:
            answer["words"] = [{"word": w, "start": end * i / 2, "end": end * (i + 1) / 2} for i, w in enumerate(words)]
        return answer


def _segment(text: str, end: float, temperature: float) -> dict[str, Any]:
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": end,
        "text": f" {text}",
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": -0.2,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }


def duration_seconds(data: bytes) -> float | None:
    """The length that a WAV or FLAC header states; None for other files and for headers that do not know it."""
    if data[:4] == b"fLaC" and len(data) >= 26:
        # STREAMINFO packs 20 bits of sample rate, 8 of layout and 36 of sample count into eight bytes.
        packed = int.from_bytes(data[18:26], "big")
        rate, samples = packed >> 44, packed & (1 << 36) - 1
        return samples / rate if rate and samples else None
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            frames, rate = file.getnframes(), file.getframerate()
            return frames / rate
    except (wave.Error, EOFError, ZeroDivisionError):
        return None
