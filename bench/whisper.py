"""A Whisper whose answers take a fixed time: the stub, with as many words as a person would have said."""

from __future__ import annotations

from typing import Any

from subscriber.whisper_server import StubEngine

__all__ = ["FixedDelay"]

CHARACTERS_A_SECOND = 12
"""People say so much. The stub's two words would be too few for 30 s of sound, and asked for once more in halves."""


class FixedDelay(StubEngine):
    """Answers after `latency` seconds."""

    def transcribe(self, data: bytes, filename: str, **asked: Any) -> dict[str, Any]:
        """The stub's answer, its text as long as the sound."""
        answer = super().transcribe(data, filename, **asked)
        said, seconds = answer["text"], answer["duration"] or 0.0
        # Each part is another word: a phrase that comes again and again is a loop, and dropped.
        letters = f"{said} ".encode().hex()
        words = [f"{number}{letters[:9]}" for number in range(round(seconds * CHARACTERS_A_SECOND / 12))]
        answer["text"] = answer["segments"][0]["text"] = " ".join([said, *words])
        return answer
