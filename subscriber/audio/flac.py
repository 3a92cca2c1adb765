"""PCM becomes a FLAC file: lossless, half the bytes, and the same bytes for the same PCM."""

from __future__ import annotations

import io

import av
from av.audio.frame import AudioFrame

from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE

__all__ = ["FRAME_SAMPLES", "encode_flac", "frame_of"]

COMPRESSION = "5"
FRAME_SAMPLES = 4096


def encode_flac(pcm: bytes) -> bytes:
    """Return 16 kHz mono s16 `pcm` as a FLAC file; its STREAMINFO holds length and MD5, no writer and no date.

    It runs in the caller's process: the PCM is our own, and FFmpeg lets other threads run meanwhile.
    """
    file = io.BytesIO()
    options = {"fflags": "+bitexact", "flags": "+bitexact"}
    with av.open(file, "w", format="flac", container_options=options) as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, options={"compression_level": COMPRESSION})
        stream.layout, stream.format = "mono", "s16"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for start in range(0, len(pcm), FRAME_SAMPLES * SAMPLE_BYTES):
            container.mux(stream.encode(frame_of(pcm[start : start + FRAME_SAMPLES * SAMPLE_BYTES], start)))
        container.mux(stream.encode(None))
    return file.getvalue()


def frame_of(pcm: bytes, offset: int) -> AudioFrame:
    """16 kHz mono s16 `pcm` that lies `offset` bytes behind the start, as FFmpeg's encoders take it."""
    frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // SAMPLE_BYTES)
    frame.sample_rate = SAMPLE_RATE
    frame.pts = offset // SAMPLE_BYTES
    frame.planes[0].update(pcm)
    return frame
