"""PCM becomes a WAV file: the same PCM, and 44 bytes."""

from __future__ import annotations

import io
import wave

from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE

__all__ = ["encode_wav"]


def encode_wav(pcm: bytes) -> bytes:
    """Return 16 kHz mono s16 `pcm` as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(SAMPLE_BYTES)
        audio.setframerate(SAMPLE_RATE)
        audio.writeframes(pcm)
    return file.getvalue()
