"""Long recordings, made on the spot: a minute of our own speech, encoded once, its packets muxed in ever new order.

Each stretch of a recording is another mixture, and each seed another recording, so that no chunk of one is met again
in the chunk cache; only a real recording would be as dear, and it would take an hour to encode.
"""

from __future__ import annotations

import functools
import io
import itertools
import random
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import FileBytes
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.recordings import recordings

__all__ = ["FLAC", "M4A", "MP3", "OPUS", "Encoding", "long_recording", "short_recording", "speech"]

MINUTE = 60 * SAMPLE_RATE * SAMPLE_BYTES

STRETCH_SECONDS = 7.3
"""What is moved about in one piece: some sentences."""

LOUD_OF_A_SECOND = 0.6
"""The rest is faint noise: it tells the cutter the floor, and leaves a stub's few words enough sound to explain."""


@dataclass(frozen=True)
class Encoding:
    """How a recording is encoded, in FFmpeg's words."""

    name: str
    container: str
    codec: str
    sample_format: str
    rate: int
    layout: str
    bit_rate: int
    options: tuple[tuple[str, str], ...] = ()


# Without a reservoir each MP3 frame stands for itself, as they must when their order changes.
MP3 = Encoding("MP3", "mp3", "libmp3lame", "fltp", 44_100, "stereo", 128_000, (("reservoir", "0"),))
# FFmpeg's muxer puts the index at the end, as recorders do.
M4A = Encoding("M4A", "ipod", "aac", "fltp", 44_100, "mono", 64_000)
OPUS = Encoding("Ogg Opus", "ogg", "libopus", "s16", 48_000, "mono", 32_000)
FLAC = Encoding("FLAC in Matroska", "matroska", "flac", "s16", 48_000, "stereo", 0)


def long_recording(encoding: Encoding, seconds: float, seed: int = 0) -> bytes:
    """About so many seconds of speech."""
    file = io.BytesIO()
    chance = random.Random(seed)  # noqa: S311 - no secret
    minute, samples = _minute(encoding)
    with av.open(io.BytesIO(minute), "r") as source, av.open(file, "w", format=encoding.container) as output:
        original = source.streams.audio[0]
        stream = output.add_stream_from_template(original)
        # The last frame may be a short one.
        packets = [packet for packet in source.demux(original) if packet.size][:-1]
        endless = itertools.chain.from_iterable(_shuffled(packets, chance) for _ in itertools.count())
        for number, packet in enumerate(itertools.islice(endless, round(seconds * encoding.rate / samples))):
            copy = av.Packet(bytes(packet))
            copy.stream, copy.time_base = stream, Fraction(1, encoding.rate)
            copy.pts = copy.dts = number * samples
            copy.duration = samples
            output.mux(copy)
    return file.getvalue()


def _shuffled(packets: list[av.Packet[AudioStream]], chance: random.Random) -> Iterator[av.Packet[AudioStream]]:
    """The packets of the minute, its sentences in another order."""
    length = round(STRETCH_SECONDS * len(packets) / 60)
    turned = chance.randrange(length)
    stretches = [packets[max(0, at) : at + length] for at in range(-turned, len(packets), length)]
    chance.shuffle(stretches)
    for stretch in stretches:
        yield from stretch


@functools.cache
def _minute(encoding: Encoding) -> tuple[bytes, int]:
    """A minute of our own speech as one Matroska file, and how many samples a packet has."""
    file = io.BytesIO()
    sound: dict[str, Any] = {"format": encoding.sample_format, "layout": encoding.layout, "rate": encoding.rate}
    with av.open(file, "w", format="matroska") as output:
        stream = cast("AudioStream", output.add_stream(encoding.codec, options=dict(encoding.options), **sound))
        if encoding.bit_rate:
            stream.bit_rate = encoding.bit_rate
        resampler = AudioResampler(**sound)
        for frame in _frames(speech()):
            _encode(output, stream, resampler.resample(frame))
        _encode(output, stream, resampler.resample(None))
        output.mux(stream.encode(None))
        samples = stream.codec_context.frame_size
    return file.getvalue(), samples


def _encode(output: OutputContainer, stream: AudioStream, frames: list[AudioFrame]) -> None:
    for frame in frames:
        output.mux(stream.encode(frame))


def speech() -> bytes:
    """A minute of the bundled recordings, by our own decoder."""
    pcm = b""
    with DecoderPool() as pool:
        for recording in recordings():
            with pool.open(FileBytes(recording.path)) as decoding:
                pcm += b"".join(decoding)
    return pcm[:MINUTE]


def _frames(pcm: bytes) -> Iterator[AudioFrame]:
    for start in range(0, len(pcm), SAMPLE_RATE * SAMPLE_BYTES):
        piece = pcm[start : start + SAMPLE_RATE * SAMPLE_BYTES]
        frame = AudioFrame(format="s16", layout="mono", samples=len(piece) // SAMPLE_BYTES)
        frame.sample_rate, frame.pts = SAMPLE_RATE, start // SAMPLE_BYTES
        frame.planes[0].update(piece)
        yield frame


def short_recording(number: int, seconds: float = 1.0) -> bytes:
    """A WAV of its own for every number: mostly a tone, so that nobody takes it for silence, and a pause after it."""
    rate = SAMPLE_RATE
    at = np.arange(round(seconds * rate))
    # The hundred tones come again; the noise under them never does.
    tone = 8000 * np.sin(2 * np.pi * (200 + 17 * (number % 100)) / rate * at) * (at % rate < LOUD_OF_A_SECOND * rate)
    noise = np.random.default_rng(number).uniform(-60, 60, at.size)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(rate)
        out.writeframes((tone + noise).astype("<i2").tobytes())
    return file.getvalue()
