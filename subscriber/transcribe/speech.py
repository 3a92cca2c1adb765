"""One recording, one request, one transcript. Recordings that do not fit into one request end dead with that reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from subscriber.errors import Permanent
from subscriber.metrics import Metrics
from subscriber.model import ObjectInfo
from subscriber.notification import MEDIA_ENDINGS
from subscriber.outage import Outages
from subscriber.ports import Transcriber
from subscriber.transcribe.languages import iso_code
from subscriber.transcribe.pool import SlotPool
from subscriber.transcribe.profiles import MAX_REQUEST_BYTES, profile_of
from subscriber.transcript import Answer, SpeechRequest, Transcript

__all__ = ["Speech", "SpeechOptions"]

SAME_CONTAINER = {".opus": ".ogg", ".oga": ".ogg", ".m4b": ".m4a", ".m4v": ".mp4"}
"""Endings that OpenAI refuses although it reads the container under its other name (measured for .opus)."""

ENDINGS_OF_TYPES = {
    **dict.fromkeys(("audio/flac", "audio/x-flac"), ".flac"),
    **dict.fromkeys(("audio/mp4", "audio/m4a", "audio/x-m4a"), ".m4a"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), ".mp3"),
    **dict.fromkeys(("audio/ogg", "audio/opus"), ".ogg"),
    **dict.fromkeys(("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"), ".wav"),
    **dict.fromkeys(("audio/webm", "video/webm"), ".webm"),
    "video/mp4": ".mp4",
    "video/mpeg": ".mpeg",
}
"""For names without an ending that says audio: an object may be wanted for its content type alone."""

SECONDS_A_MEGABYTE = 20.0
LEAST_TIMEOUT_SECONDS = 60.0
"""A request's limit grows with its size: a megabyte is about 8 minutes of speech at 16 kbit/s, which a slow local
Whisper (25 times realtime) needs 20 s for."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """What is asked of the provider for every recording. `usd_per_minute` overrides the profile's price."""

    model: str
    language: str | None = None
    prompt: str | None = None
    usd_per_minute: float | None = None
    longest_request_seconds: float = 900.0

    @property
    def fingerprint(self) -> str:
        """A short name for model and parameters: two transcripts with the same one were asked for alike."""
        asked = json.dumps([self.model, self.language, self.prompt], ensure_ascii=False)
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


class Speech:
    """The one way to the provider: fair slots, one gate, outages waited out."""

    def __init__(
        self, transcriber: Transcriber, pool: SlotPool, outages: Outages, options: SpeechOptions, metrics: Metrics
    ) -> None:
        self._transcriber = transcriber
        self._pool = pool
        self._outages = outages
        self._metrics = metrics
        self.options = options

    def transcribe(self, recording: ObjectInfo, data: bytes, still_ours: Callable[[], None]) -> Transcript:
        """Ask for a transcript; `still_ours` is called right before each request is paid and may raise ClaimLost.

        Raises Permanent (`empty`, `too_large`, and what the provider refuses), Transient, Interrupted.
        """
        request = self._request(recording, data)

        def send() -> Answer:
            still_ours()
            return self._transcriber.transcribe(request)

        answer = self._outages.ride("whisper", lambda: self._pool.send(send))
        return self._account(answer)

    def require_sendable(self, recording: ObjectInfo) -> None:
        """Refuse what one request cannot take, before a byte is fetched. Raises Permanent."""
        if recording.size == 0:
            raise Permanent("empty", "the object holds no bytes")
        if recording.size > MAX_REQUEST_BYTES:
            raise Permanent("too_large", f"{recording.size} bytes; a request takes {MAX_REQUEST_BYTES}")

    def _request(self, recording: ObjectInfo, data: bytes) -> SpeechRequest:
        limit = max(LEAST_TIMEOUT_SECONDS, len(data) / 2**20 * SECONDS_A_MEGABYTE)
        return SpeechRequest(
            data=data,
            # The provider learns nothing of the object's name but its ending.
            filename="audio" + _ending(recording),
            model=self.options.model,
            language=self.options.language,
            prompt=self.options.prompt,
            timeout_seconds=min(limit, self.options.longest_request_seconds),
        )

    def _account(self, answer: Answer) -> Transcript:
        """What the answer cost; unknown stays unknown."""
        price = self.options.usd_per_minute
        price = profile_of(answer.model).usd_per_minute if price is None else price
        billed = answer.billed_seconds if answer.billed_seconds is not None else answer.duration
        cost = None if billed is None or price is None else billed / 60 * price
        self._metrics.audio_seconds.inc(answer.duration or 0)
        self._metrics.billed_seconds.labels(answer.model).inc(billed or 0)
        self._metrics.cost_usd.labels(answer.model).inc(cost or 0)
        return Transcript(
            text=answer.text,
            language=iso_code(answer.language),
            duration=answer.duration,
            timing="model" if answer.segments else None,
            segments=answer.segments,
            words=answer.words,
            chunks=(),
            warnings=(),
            model=answer.model,
            billed_seconds=billed,
            cost_usd=cost,
            fingerprint=self.options.fingerprint,
        )


def _ending(recording: ObjectInfo) -> str:
    """The ending by which the provider knows the container; what stands behind any other dot is nobody's business."""
    name, kind = recording.name.lower(), recording.content_type.partition(";")[0].strip().lower()
    said = next((ending for ending in MEDIA_ENDINGS if name.endswith(ending)), ENDINGS_OF_TYPES.get(kind, ""))
    return SAME_CONTAINER.get(said, said)
