"""Small real recordings: every text has sound of its own, with pauses, so that no chunk of it is taken for silence."""

from __future__ import annotations

import hashlib
import io
import math
import random
import wave
from array import array

from subscriber.audio.cut import cut
from subscriber.audio.upload import wav_or_flac
from subscriber.audio.wire import SAMPLE_RATE

__all__ = ["chunks", "heard", "heavy", "said", "sha256", "silent", "wav"]

LOUD_OF_A_SECOND = 0.6
"""The rest is faint noise: it tells the cutter the floor, and leaves a stub's few words enough sound to explain."""

WAV_HEADER = 44


def wav(text: str = "one", seconds: float = 1.0) -> bytes:
    """A recording of its own for every text: a tone in noise, as a provider and a decoder take it unchanged."""
    chance = random.Random(text)  # noqa: S311 - no secret
    step = 2 * math.pi * chance.uniform(200, 2000) / SAMPLE_RATE
    samples = array("h")
    for number in range(round(seconds * SAMPLE_RATE)):
        loud = number % SAMPLE_RATE < LOUD_OF_A_SECOND * SAMPLE_RATE
        samples.append(round((8000 * math.sin(step * number) if loud else 0) + chance.uniform(-60, 60)))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def silent(seconds: float = 1.0) -> bytes:
    """A recording for which nobody is asked."""
    data = wav("silence", seconds)
    return data[:WAV_HEADER] + bytes(len(data) - WAV_HEADER)


def chunks(data: bytes, chunk_seconds: float = 30.0) -> list[str]:
    """What the provider knows the requests for such a recording by: SHA-256 of each chunk's file, in order."""
    with wave.open(io.BytesIO(data), "rb") as file:
        pcm = file.readframes(file.getnframes())
    return [sha256(wav_or_flac(one.pcm).data) for one in cut([pcm], chunk_seconds) if not one.silent]


def heard(data: bytes) -> str:
    """The same of a recording of one chunk."""
    (only,) = chunks(data)
    return only


def said(data: bytes) -> str:
    """What the stub says of it."""
    return f"speech {heard(data)[:12]}"


def sha256(data: bytes) -> str:
    """Hex digits."""
    return hashlib.sha256(data).hexdigest()


def heavy(data: bytes, size: int = 10_000_000) -> bytes:
    """The same recording in a file of so many bytes: a large object that costs no time to make or to hear."""
    junk = b"JUNK" + (size - len(data) - 8).to_bytes(4, "little") + bytes(size - len(data) - 8)
    return b"RIFF" + (size - 8).to_bytes(4, "little") + data[8:12] + junk + data[12:]
