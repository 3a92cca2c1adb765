"""Opening a stranger's file: which containers we read, which track, and what the file says of its own length.

The law of this file: FFmpeg sees one file object and nothing else. A text that names other files is no container, and
no demuxer can open a second file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, NoReturn, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition

from subscriber.errors import Permanent

__all__ = ["Recording", "open_recording"]

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,tta,voc,"
    "w64,wav,webm,wv"
)
"""Containers that hold sound by themselves. Playlists (concat, hls, dash, sdp), raw samples that need to be told their
rate, and pictures are not among them."""

SCALE = 1_000_000
"""A container counts microseconds."""

GUESSED = "Estimating duration from bitrate"
"""What FFmpeg logs when a container does not say how long it is; such a length proves nothing."""


GZIP = b"\x1f\x8b"
"""How such a file begins. Cloud Storage keeps an object as it was uploaded, and its unpacking knows no ranges."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An opened file. Times in seconds; `shares_its_length`: `declared` may be that of a picture.

    One of `declared` and `guessed` is None, or both are.
    """

    container: InputContainer
    stream: AudioStream
    format: str
    codec: str
    origin: float
    declared: float | None
    guessed: float | None
    shares_its_length: bool


def open_recording(file: BinaryIO) -> Recording:
    """Open the default sound track. Raises Permanent (`undecodable`, `no_audio_stream`), MemoryError."""
    try:
        container, guessed = _open(file)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, MemoryError):
            raise
        raise Permanent("undecodable", _complaint(file)) from error
    stream = _sound(container)
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    length = _length(container, stream)
    return Recording(
        container=container,
        stream=stream,
        format=container.format.name,
        codec=stream.codec_context.name,
        origin=(container.start_time or 0) / SCALE,
        declared=None if guessed else length,
        guessed=length if guessed and length and length > 0 else None,  # it may be wrong in any way
        shares_its_length=stream.duration is None and len(container.streams) > 1,
    )


def _complaint(file: BinaryIO) -> str:
    """Why a file could not be opened, in words of ours: FFmpeg's would list its demuxers."""
    file.seek(0)
    if file.read(len(GZIP)) == GZIP:
        return "compressed with gzip (is its Content-Encoding gzip?): upload the recording as it is"
    return "no container that we read, or its index or header is missing"


def _open(file: BinaryIO) -> tuple[InputContainer, bool]:
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as logs:
            container = av.open(file, "r", options=_options(file), io_open=_refuse, metadata_errors="replace")
        return container, any(GUESSED in text for _, _, text in logs)
    finally:
        av.logging.set_level(None)


def _options(file: BinaryIO) -> dict[str, str]:
    """What FFmpeg is told. In a WAV's samples it looks for DTS and AC-3, which 4 packets, 16 KiB, are enough for.

    By itself it looks through all that there is, five times as long as it takes to open the file.
    """
    is_wav = file.read(12).endswith(b"WAVE")
    file.seek(0)
    return {"format_whitelist": FORMATS, **({"max_probe_packets": "4"} if is_wav else {})}


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:  # noqa: ARG001 - FFmpeg's signature
    raise PermissionError(f"the file asks for another file: {url[:200]}")


def _sound(container: InputContainer) -> AudioStream:
    """The track that a player would play: the first that is marked as the default, else the first."""
    tracks = container.streams.audio
    if not tracks:
        raise Permanent("no_audio_stream", f"{container.format.name} without a sound track")
    marked = [track for track in tracks if track.disposition & Disposition.default]
    track = (marked or list(tracks))[0]
    # PyAV's types do not know that a codec may be missing.
    if cast("object", track.codec_context) is None:
        raise Permanent("undecodable", f"{container.format.name}: no decoder for its sound track, or it is encrypted")
    return track


def _length(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / SCALE
