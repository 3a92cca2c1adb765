"""Transcripts as files. Pure: a transcript and its source go in, bytes come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from subscriber import __version__
from subscriber.model import SCHEMA_VERSION, Claim, ObjectInfo
from subscriber.transcript import OutputFile, Transcript

__all__ = ["render_json", "render_txt"]


def render_txt(transcript: Transcript) -> OutputFile:
    """The text alone, one newline at its end."""
    return OutputFile("txt", "text/plain; charset=utf-8", (transcript.answer.text.strip() + "\n").encode())


def render_json(
    transcript: Transcript, recording: ObjectInfo, claim: Claim, outputs: Mapping[str, int], *, provider: str
) -> OutputFile:
    """A superset of OpenAI's verbose_json. `outputs` maps each file of the set to its object generation.

    What nobody told us is null, never an invented 0.
    """
    answer = transcript.answer
    document = {
        "schema_version": SCHEMA_VERSION,
        "task": "transcribe",
        "language": answer.language,
        "duration": answer.duration,
        "text": answer.text,
        "timing": "model" if answer.segments else None,
        "segments": [{"id": number, **asdict(segment)} for number, segment in enumerate(answer.segments)],
        "words": [asdict(word) for word in answer.words],
        "source": _source(recording),
        "audio": {"seconds": answer.duration},
        "engine": {"provider": provider, "model": answer.model, "subscriber": __version__},
        "chunks": [{"start": 0.0, "end": answer.duration, "request_id": answer.request_id}],
        "usage": {"billed_seconds": transcript.billed_seconds, "estimated_cost_usd": transcript.cost_usd},
        "warnings": [],
        "epoch": claim.epoch,
        "fingerprint": transcript.fingerprint,
        "outputs": {name: str(generation) for name, generation in outputs.items()},
    }
    return OutputFile("json", "application/json", (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def _source(recording: ObjectInfo) -> dict[str, object]:
    return {
        "bucket": recording.bucket,
        "name": recording.name,
        "generation": str(recording.generation),  # 64 bits: more than a JavaScript number holds
        "size": recording.size,
        "content_type": recording.content_type,
        "md5": recording.md5,
    }
