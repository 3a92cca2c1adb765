"""Recordings become one longer one, with or without a picture: what the demo shows cannot all lie in the package."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.container import OutputContainer
from av.packet import Packet

from subscriber.audio.flac import FRAME_SAMPLES, frame_of
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE

__all__ = ["PAUSE_SECONDS", "joined"]

PAUSE_SECONDS = 0.8
"""After each recording, as a speaker would make it."""

WIDTH, HEIGHT, PICTURES_A_SECOND = 160, 96, 5
DARK, LIGHT, GREY = 16, 235, 128


def joined(recordings: Iterable[Path], *, picture: bool = False) -> bytes:
    """One mp4 of all of them (files of our own, not a stranger's), AAC, with a `picture` that fills as time goes by."""
    pcm = b"".join(_pcm(path) + bytes(_bytes(PAUSE_SECONDS)) for path in recordings)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        tracks = [_sound(output, pcm)]
        if picture:
            tracks.append(_pictures(output, len(pcm) / _bytes(1)))
        for packet in (packet for track in tracks for packet in track):
            output.mux(packet)
    return file.getvalue()


def _bytes(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE) * SAMPLE_BYTES


def _pcm(path: Path) -> bytes:
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return b"".join(bytes(frame.planes[0])[: frame.samples * SAMPLE_BYTES] for frame in frames)


def _sound(output: OutputContainer, pcm: bytes) -> Iterator[Packet[Any]]:
    # At once, not at the first packet: every track must be there before the first one is written.
    stream = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")

    def packets() -> Iterator[Packet[Any]]:
        step = FRAME_SAMPLES * SAMPLE_BYTES
        for start in range(0, len(pcm), step):
            yield from stream.encode(frame_of(pcm[start : start + step], start))
        yield from stream.encode(None)

    return packets()


def _pictures(output: OutputContainer, seconds: float) -> Iterator[Packet[Any]]:
    stream = output.add_stream("mpeg4", rate=PICTURES_A_SECOND, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
    number = round(seconds * PICTURES_A_SECOND)

    def packets() -> Iterator[Packet[Any]]:
        for index in range(number):
            yield from stream.encode(_picture(index / number))
        yield from stream.encode(None)

    return packets()


def _picture(part: float) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    light, *colours = frame.planes
    filled = round(part * WIDTH)
    light.update((bytes([LIGHT]) * filled).ljust(light.line_size, bytes([DARK])) * light.height)
    for colour in colours:
        colour.update(bytes([GREY]) * colour.buffer_size)
    return frame
