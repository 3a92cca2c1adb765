"""The JSON of a transcript: a superset of OpenAI's verbose_json. What nobody told us is null, never an invented 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from pydantic_core import to_json

from subscriber import __version__
from subscriber.model import SCHEMA_VERSION, Claim, ObjectInfo
from subscriber.transcript import Chunk, OutputFile, Segment, TimedWarning, Transcript, Word

__all__ = ["render_json"]


def render_json(
    transcript: Transcript, recording: ObjectInfo, claim: Claim, outputs: Mapping[str, int], *, provider: str
) -> OutputFile:
    """`outputs` maps each other file of the set to its object generation. Times are rounded to the millisecond."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "task": "transcribe",
        "language": transcript.language,
        "duration": _rounded(transcript.duration),
        "text": transcript.text,
        "timing": transcript.timing,
        "segments": [{"id": number, **_timed(segment)} for number, segment in enumerate(transcript.segments)],
        "words": [_timed(word) for word in transcript.words],
        "source": _source(recording),
        "audio": {"seconds": _rounded(transcript.duration), **transcript.audio},
        "engine": {"provider": provider, "model": transcript.model, "subscriber": __version__},
        "chunks": [_chunk(chunk) for chunk in transcript.chunks],
        "usage": {"billed_seconds": transcript.billed_seconds, "estimated_cost_usd": transcript.cost_usd},
        "warnings": [_timed(warning) for warning in transcript.warnings],
        "epoch": claim.epoch,
        "fingerprint": transcript.fingerprint,
        "outputs": {name: str(generation) for name, generation in outputs.items()},
    }
    return OutputFile("json", "application/json", to_json(document, indent=1) + b"\n")


def _source(recording: ObjectInfo) -> dict[str, object]:
    return {
        "bucket": recording.bucket,
        "name": recording.name,
        "generation": str(recording.generation),  # 64 bits: more than a JavaScript number holds
        "size": recording.size,
        "content_type": recording.content_type,
        "md5": recording.md5,
    }


def _timed(thing: Segment | Word | TimedWarning) -> dict[str, object]:
    return asdict(thing) | {"start": _rounded(thing.start), "end": _rounded(thing.end)}


def _chunk(chunk: Chunk) -> dict[str, object]:
    return {
        "start": _rounded(chunk.span.start),
        "end": _rounded(chunk.span.end),
        "source": chunk.source,
        "key": chunk.key,
        "timing": chunk.text.timing,
        "language": chunk.text.language,
        "billed_seconds": chunk.text.billed_seconds,
        "request_ids": list(chunk.text.request_ids),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
