"""Recordings of every kind, made with PyAV while the tests run: no ffmpeg on the machine is needed."""

from __future__ import annotations

import functools
import io
import math
import statistics
import struct
import wave
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from subscriber.audio.cut import _powers
from subscriber.audio.facts import Facts, Limits
from subscriber.audio.pool import DecoderPool
from subscriber.recordings import recordings

RATE = 16_000


@dataclass(frozen=True)
class Memory:
    """Bytes that are there already."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def decoded(pool: DecoderPool, data: bytes, limits: Limits | None = None) -> tuple[bytes, Facts]:
    with pool.open(Memory(data), limits) as decoding:
        pcm = b"".join(decoding)
    return pcm, decoding.facts


@functools.cache
def speech(seconds: float = 20.0) -> bytes:
    """Speech of our own, 16 kHz mono s16, repeated up to this length."""
    pcm = b""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    for recording in recordings():
        with av.open(str(recording.path)) as container:
            for frame in container.decode(audio=0):
                frame.pts = None
                pcm += b"".join(bytes(out.planes[0])[: out.samples * 2] for out in resampler.resample(frame))
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    size = round(seconds * RATE) * 2
    return (pcm * (size // len(pcm) + 1))[:size]


def scaled(pcm: bytes, factor: float) -> bytes:
    return array("h", [max(-32768, min(32767, round(sample * factor))) for sample in array("h", pcm)]).tobytes()


def level(pcm: bytes) -> float:
    """Root mean square in dBFS."""
    samples = array("h", pcm)
    return 10 * math.log10(sum(sample * sample for sample in samples) / len(samples) / 2**30)


def alike(one: bytes, other: bytes) -> float:
    """How well the loudness of two recordings goes together over time, 1 being perfectly."""
    powers = list(zip(_powers(one), _powers(other), strict=False))
    return statistics.correlation([math.sqrt(a) for a, _ in powers], [math.sqrt(b) for _, b in powers])


def frames(pcm: bytes, rate: int, layout: str, sample_format: str) -> Iterable[AudioFrame]:
    """The same sound in another rate, layout and format, a second at a time."""
    resampler = AudioResampler(format=sample_format, layout=layout, rate=rate)
    for start in range(0, len(pcm), 2 * RATE):
        frame = AudioFrame(format="s16", layout="mono", samples=len(pcm[start : start + 2 * RATE]) // 2)
        frame.sample_rate, frame.pts = RATE, start // 2
        frame.planes[0].update(pcm[start : start + 2 * RATE])
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


CODECS = {
    "ac3": ("ac3", "fltp"),
    "mp3": ("libmp3lame", "fltp"),
    "aac": ("aac", "fltp"),
    "opus": ("libopus", "s16"),
    "flac": ("flac", "s16"),
    "flac24": ("flac", "s32"),
    "mulaw": ("pcm_mulaw", "s16"),
    "s24": ("pcm_s24le", "s32"),
    "float": ("pcm_f32le", "flt"),
    "double": ("pcm_f64le", "dbl"),
}


def recording(
    container: str,
    codec: str,
    pcm: bytes | None = None,
    *,
    rate: int = 48_000,
    layout: str = "mono",
    options: dict[str, str] | None = None,
) -> bytes:
    """A whole file: `container` by FFmpeg's name, `codec` by CODECS' key; speech, or this 16 kHz mono `pcm`."""
    encoder, sample_format = CODECS[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options=options or {}) as output:
        stream = cast("AudioStream", output.add_stream(encoder, rate=rate, layout=layout, format=sample_format))
        for frame in frames(speech() if pcm is None else pcm, rate, layout, sample_format):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def with_gap(seconds: float, *, container: str = "webm", after: float = 5.0) -> bytes:
    """Speech whose timestamps jump by `seconds` after so many seconds."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(recording("webm", "opus")), "r") as source,
        av.open(file, "w", format=container) as output,
    ):
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if not packet.size:
                continue
            assert packet.pts is not None
            assert packet.time_base is not None
            if packet.pts * packet.time_base >= after:
                packet.pts += round(seconds / packet.time_base)
                packet.dts = packet.pts
            packet.stream = stream
            output.mux(packet)
    return file.getvalue()


def film(*, sound: tuple[bytes, ...], default: int = 0) -> bytes:
    """A Matroska film of two seconds of grey and any number of sound tracks, one of them marked as the default."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        picture = output.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        tracks = [output.add_stream("flac", rate=RATE, layout="mono", format="s16") for _ in sound]
        for number, track in enumerate(tracks):
            track.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition.dub
        for _ in range(20):
            output.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(picture.encode(None))
        for track, pcm in zip(tracks, sound, strict=True):
            for frame in frames(pcm, RATE, "mono", "s16"):
                output.mux(track.encode(frame))
            output.mux(track.encode(None))
    return file.getvalue()


def wav_of(samples: bytes, *, channels: int = 1, rate: int = RATE) -> bytes:
    """A WAV of these bytes, as 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((channels, 2, rate, 0, "NONE", ""))
        output.writeframes(samples)
    return file.getvalue()


def stereo_wav(left: bytes, right: bytes) -> bytes:
    both = array("h", bytes(len(left) * 2))
    both[0::2], both[1::2] = array("h", left), array("h", right)
    return wav_of(both.tobytes(), channels=2)


def gsm_wav(seconds: int) -> bytes:
    """FFmpeg cannot write GSM: blocks of 65 bytes, 320 samples each, whatever their bits are."""
    blocks = seconds * 8000 // 320
    head = struct.pack("<HHIIHHHH", 0x31, 1, 8000, 1625, 65, 0, 2, 320)
    data = bytes(range(65)) * blocks
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def spoiled(data: bytes, at: float = 0.5, size: int = 1500) -> bytes:
    """The same file with `size` bytes overwritten at a part of its length."""
    start = round(len(data) * at)
    noise = bytes((index * 197 + 31) % 251 for index in range(size))
    return data[:start] + noise + data[start + size :]
