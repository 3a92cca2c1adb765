"""From an object to a transcript in one streaming pass: decoded, cut, asked for and assembled, chunk by chunk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from subscriber.audio.cut import cut
from subscriber.audio.facts import Facts, Limits
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import BlockCache, Bytes
from subscriber.lease import HeldClaim
from subscriber.metrics import Metrics
from subscriber.outage import Outages
from subscriber.ports import Transcriber
from subscriber.transcribe.asking import Asker
from subscriber.transcribe.assemble import assemble
from subscriber.transcribe.pool import SlotPool
from subscriber.transcribe.recording import RecordingOnItsWay
from subscriber.transcript import TimedWarning, Transcript

__all__ = ["Speech"]


class Speech:
    """What all jobs share: decoders, slots, the asker. Thread-safe."""

    def __init__(
        self,
        *,
        decoders: DecoderPool,
        limits: Limits,
        pool: SlotPool,
        asker: Asker,
        transcriber: Transcriber,
        outages: Outages,
        metrics: Metrics,
    ) -> None:
        self._decoders = decoders
        self._limits = limits
        self._blocks = BlockCache()
        self._pool = pool
        self._asker = asker
        self._transcriber = transcriber
        self._outages = outages
        self._metrics = metrics

    def transcribe(self, held: HeldClaim, source: Bytes) -> Transcript:
        """Transcribe the pinned object behind `source`; the claim is asked for before each request is paid.

        Raises Permanent (what the file cannot be), Transient, Interrupted, ClaimLost, and what `source` raises.
        """
        options = self._asker.options
        with self._decoders.open(self._blocks.over(source), self._limits) as decoding, self._pool.lane() as lane:
            recording = RecordingOnItsWay(self._asker, lane, held, self._outages, self._metrics)
            cuts = cut(decoding, options.chunk_seconds)
            chunks = recording.run(cuts, lambda: decoding.facts.declared_seconds)
            return assemble(
                chunks,
                model=recording.model,
                fingerprint=self._fingerprint(recording.model),
                usd_per_minute=self._asker.usd_per_minute(recording.model),
                warnings=_warnings(decoding.facts),
                audio=_audio(decoding.facts),
            )

    def probe(self) -> None:
        """One second of silence, asked for as any chunk is. Raises NeighbourDown."""
        model = self._asker.model(None)
        self._transcriber.probe(model, self._asker.fields(model, self._asker.options.language))

    def _fingerprint(self, model: str) -> str:
        """A short name for model and parameters: two transcripts with the same one were asked for alike."""
        options = self._asker.options
        asked = json.dumps([model, options.language, options.prompt, options.chunk_seconds, options.salt])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _warnings(facts: Facts) -> tuple[TimedWarning, ...]:
    return tuple(TimedWarning(one.kind, one.start, one.end, one.message) for one in facts.warnings)


def _audio(facts: Facts) -> dict[str, object]:
    return {name: value for name, value in asdict(facts).items() if name != "warnings"}
