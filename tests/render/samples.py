"""Transcripts for the tests of what is made from them."""

from __future__ import annotations

from subscriber.text import join
from subscriber.transcript import Chunk, ChunkSpan, ChunkText, Segment, TimedWarning, Transcript, Word


def transcript(*segments: Segment, loud: tuple[tuple[float, float], ...] = ()) -> Transcript:
    """A transcript of one paid chunk."""
    text = join(segment.text for segment in segments)
    end = 60.0
    said = ChunkText(text, "en", "model", segments, (), (), end, ("req_1",), "whisper-1")
    return Transcript(
        text=text,
        language="en",
        duration=end,
        timing="model",
        segments=segments,
        words=(Word("word", 0.00049, 1.00051),),
        chunks=(Chunk(ChunkSpan(0, 0.0, end, loud=loud), said, "paid"),),
        warnings=(TimedWarning("loop", 1.0, 2.0, "a phrase"),),
        model="whisper-1",
        billed_seconds=60.0,
        cost_usd=0.006,
        fingerprint="abc",
        audio={"codec": "opus"},
    )
