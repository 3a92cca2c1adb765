"""From an object to a transcript in one streaming pass: decoded, cut, asked for and assembled, chunk by chunk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date

from subscriber.audio.cut import cut
from subscriber.audio.facts import Facts, Limits
from subscriber.audio.index import index_bytes
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import BlockCache, Bytes
from subscriber.lease import HeldClaim
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.outage import Outages
from subscriber.ports import Transcriber
from subscriber.transcribe.asking import Asker
from subscriber.transcribe.assemble import assemble
from subscriber.transcribe.coverage import warned
from subscriber.transcribe.pool import SlotPool
from subscriber.transcribe.profiles import profile_of, retirement
from subscriber.transcribe.recording import RecordingOnItsWay
from subscriber.transcribe.stall import StallClock
from subscriber.transcribe.turns import Turns
from subscriber.transcript import Chunk, Hints, TimedWarning, Transcript

__all__ = ["Speech"]


class Speech:
    """What all jobs share: decoders, slots, the asker. Thread-safe."""

    def __init__(
        self,
        *,
        decoders: DecoderPool,
        limits: Limits,
        turns: Turns,
        pool: SlotPool,
        asker: Asker,
        transcriber: Transcriber,
        outages: Outages,
        metrics: Metrics,
    ) -> None:
        self._decoders = decoders
        self._limits = limits
        self._blocks = BlockCache()
        self._turns = turns
        self._pool = pool
        self._asker = asker
        self._transcriber = transcriber
        self._outages = outages
        self._metrics = metrics
        self._log = get_logger()

    def transcribe(
        self, held: HeldClaim, source: Bytes, hints: Hints | None = None, ignored: Sequence[str] = ()
    ) -> Transcript:
        """Transcribe the pinned object behind `source`; the claim is asked for before each request is paid.

        `hints` are the recording's own, `ignored` what its transcript shall say that was not done as asked.
        Raises Permanent (what the file cannot be), Transient, Interrupted, ClaimLost, and what `source` raises.
        """
        blocks = self._blocks.over(source)
        with self._turns.turn(index_bytes(blocks)):
            return self._at_work(held, blocks, hints or self._asker.options.hints, ignored)

    def _at_work(self, held: HeldClaim, source: Bytes, hints: Hints, ignored: Sequence[str]) -> Transcript:
        """The job's own time begins here."""
        options = self._asker.options
        clock = StallClock(options.stall_seconds, self._outages.clock)
        with self._decoders.open(_Watched(source, clock), self._limits) as decoding, self._pool.lane() as lane:
            recording = RecordingOnItsWay(
                self._asker, lane, held, hints, clock=clock, outages=self._outages, metrics=self._metrics
            )
            cuts = cut(_watched(decoding, clock), options.chunk_seconds)
            chunks = recording.run(cuts, lambda: decoding.facts.declared_seconds)
            return assemble(
                chunks,
                model=recording.model,
                fingerprint=self._fingerprint(recording.model, hints),
                usd_per_minute=self._asker.usd_per_minute(recording.model),
                warnings=[*_warnings(decoding.facts), *self._ignored(ignored, recording.model, hints, chunks)],
                audio=_audio(decoding.facts),
            )

    def probe(self) -> None:
        """One second of silence, asked for as any chunk is. Raises NeighbourDown."""
        model = self._asker.model(None)
        self._transcriber.probe(model, self._asker.fields(model, self._asker.options.hints))

    def warn_of_retirements(self, today: date) -> None:
        """Name each model of ours whose last day is known."""
        options = self._asker.options
        for model in options.models:
            if told := retirement(model, options.host, today):
                self._log.warning("model_retires", model=model, hint=told)

    def _ignored(
        self, sentences: Sequence[str], model: str, hints: Hints, chunks: Sequence[Chunk]
    ) -> Iterator[TimedWarning]:
        """What was not done as asked, of the whole recording."""
        end = chunks[-1].span.end if chunks else 0.0
        for sentence in sentences:
            yield warned("option_ignored", 0.0, end, sentence)
        if hints.language and profile_of(model).language_field not in self._asker.fields(model, hints):
            yield warned("option_ignored", 0.0, end, f"{model} does not take the language {hints.language}")

    def _fingerprint(self, model: str, hints: Hints) -> str:
        """A short name for model and parameters: two transcripts with the same one were asked for alike."""
        options = self._asker.options
        asked = json.dumps([model, asdict(hints), options.chunk_seconds])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


class _Watched:
    """Bytes whose reader is given the time that a job may stall, and no more."""

    def __init__(self, source: Bytes, clock: StallClock) -> None:
        self._source = source
        self._clock = clock
        self.size = source.size

    def read(self, offset: int, size: int) -> bytes:
        self._clock.charge()
        return self._source.read(offset, size)


def _watched(pieces: Iterable[bytes], clock: StallClock) -> Iterator[bytes]:
    """The sound, as it is decoded."""
    for piece in pieces:
        clock.restart()
        yield piece


def _warnings(facts: Facts) -> tuple[TimedWarning, ...]:
    return tuple(TimedWarning(one.kind, one.start, one.end, one.message) for one in facts.warnings)


def _audio(facts: Facts) -> dict[str, object]:
    """What is known for certain."""
    return {name: value for name, value in asdict(facts).items() if name not in {"warnings", "guessed_seconds"}}
