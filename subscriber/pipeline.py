"""The life of a message, from arrival to settlement. Read this file first; it reads from top to bottom.

The law of this file: every effect may happen twice, because a crash may come before or after any of them. The order is
the guarantee: outputs, then the record, then the announcement, then the ack. Every late writer is fenced by its claim.
Calls to neighbours wait out outages by themselves (`riding.py`); the other ways to end stand in `endings.py`.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from structlog.contextvars import bind_contextvars, bound_contextvars

from subscriber.arrival import Arrivals
from subscriber.decisions import ClaimRequest, Refusal, decide_announced, decide_claim, decide_completion
from subscriber.endings import Endings
from subscriber.errors import Gone, NotForUs, Permanent, Superseded
from subscriber.lease import ClaimKeeper, HeldClaim
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.model import (
    ChunkCounts,
    Claim,
    Delivery,
    Ending,
    Job,
    Message,
    ObjectInfo,
    Outcome,
    Record,
    Result,
    State,
)
from subscriber.outage import Outages
from subscriber.outputs import OutputLocation, require_writable, write_set
from subscriber.ports import Announcer, Ledger, Objects
from subscriber.registry import Registry
from subscriber.render import render, render_json
from subscriber.settlement import Settler
from subscriber.solitude import Solitude
from subscriber.transcribe.speech import Speech
from subscriber.transcript import Transcript
from subscriber.wishes import Wishes, wishes_of

__all__ = ["Pipeline", "PipelineOptions"]

LONGEST_PARKED_SECONDS = 15.0
"""How long a parked job waits at most before it asks again whether its other owner is done."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What configuration tells the pipeline; `usual` is for objects without wishes of their own.

    `owner` names this process, `provider` the Whisper host.
    """

    location: OutputLocation
    usual: Wishes
    owner: str
    provider: str
    claim_seconds: float
    max_attempts: int
    max_event_age_seconds: float


class Pipeline:
    """One delivery a thread, any number of threads."""

    def __init__(
        self,
        *,
        arrivals: Arrivals,
        objects: Objects,
        ledger: Ledger,
        speech: Speech,
        announcer: Announcer | None,
        claims: ClaimKeeper,
        registry: Registry,
        solitude: Solitude,
        endings: Endings,
        settler: Settler,
        outages: Outages,
        metrics: Metrics,
        options: PipelineOptions,
    ) -> None:
        self._arrivals = arrivals
        self._objects = objects
        self._ledger = ledger
        self._speech = speech
        self._announcer = announcer
        self._claims = claims
        self._registry = registry
        self._solitude = solitude
        self._endings = endings
        self._settler = settler
        self._outages = outages
        self._metrics = metrics
        self._options = options
        self._log = get_logger()

    def handle(self, delivery: Delivery) -> None:
        """Take a delivery from its arrival to its settlement, or let it join a job that this process has already.

        A large job that finds no place for it waits in the registry, unclaimed; the worker has it go on with `work`.
        """
        with bound_contextvars(message_id=delivery.message.id):
            try:
                job, large = self._arrivals.identify(delivery.message)
            except Exception as error:  # noqa: BLE001 - whatever arrives is settled
                self._finish([delivery], self._endings.of_delivery(error), time.monotonic())
                return
            match self._registry.join(job, delivery, large=large):
                case "lead":
                    self.work(job, delivery)
                case "full":
                    full = Ending(Outcome.EARLY, "max_parked", retry_after_seconds=LONGEST_PARKED_SECONDS)
                    self._finish([delivery], full, time.monotonic())

    def work(self, job: Job, delivery: Delivery) -> None:
        """Work on a job that the registry gave us; then settle every delivery that waits for it."""
        with bound_contextvars(
            job=job.uri, generation=str(job.generation), message_id=delivery.message.id, request_id=None
        ):
            began = time.monotonic()
            try:
                ending = self._attempt(job, delivery)
            except Exception as error:  # noqa: BLE001 - every way of ending is settled
                ending = self._endings.of_delivery(error)
            if ending.outcome is Outcome.BUSY and self._registry.park(job, _look_again_in(ending)):
                return
            self._finish(self._registry.finish(job), ending, began)

    def _attempt(self, job: Job, delivery: Delivery) -> Ending:
        with self._solitude.company():
            asked_at = time.monotonic()
            answer = self._claim(job, delivery.message)
            if isinstance(answer, Refusal):
                ending = _refused(answer)
            else:
                with self._claims.holding(answer, asked_at) as held:
                    ending = self._under_claim(held)
        self._announce(job, ending.record)
        return ending

    def _under_claim(self, held: HeldClaim) -> Ending:
        """The main line, and the ways of leaving it."""
        try:
            self._accept_sentence(held.claim)
            with self._solitude.if_suspect(held):
                recording = self._open(held.claim.job)
                wishes = self._wishes(recording)
                transcript = self._transcribe(held, recording, wishes)
                outputs = self._write(held, recording, transcript, wishes.formats)
                return self._complete(held, transcript, outputs)
        except Gone as gone:
            return self._endings.without_transcript(held.claim, State.GONE, str(gone))
        except Superseded as newer:
            return self._endings.without_transcript(held.claim, State.SUPERSEDED, str(newer))
        except NotForUs as unwanted:
            return self._endings.unwanted(held.claim, unwanted)
        except Exception as error:  # noqa: BLE001 - named and recorded one by one over there
            return self._endings.of_claim(held, error)

    def _claim(self, job: Job, message: Message) -> Claim | Refusal:
        ask = ClaimRequest(
            job=job,
            nonce=uuid.uuid4().hex,
            owner=self._options.owner,
            message_id=message.id,
            published_at=message.published_at,
            claim_seconds=self._options.claim_seconds,
            max_attempts=self._options.max_attempts,
            max_event_age_seconds=self._options.max_event_age_seconds,
        )
        with self._stage("claim"):
            answer = self._ledger.transact(job, partial(decide_claim, ask=ask))
        self._metrics.claims.labels(_claim_result(answer)).inc()
        return answer

    def _accept_sentence(self, claim: Claim) -> None:
        """A claim without attempts left, of too old a message or of poison may only bury its job."""
        if claim.sentence:
            raise Permanent(claim.sentence.kind, claim.sentence.message)

    def _open(self, job: Job) -> ObjectInfo:
        """The pinned generation, if it is still the live one. Raises Gone, Superseded: before anything is paid."""
        live = self._objects.stat(job.bucket, job.name)
        if live is None or live.generation < job.generation:
            raise Gone(f"generation {job.generation} was deleted")
        if live.generation > job.generation:
            raise Superseded(f"generation {live.generation} is live")
        return live

    def _wishes(self, recording: ObjectInfo) -> Wishes:
        """How this object is to be transcribed. Raises NotForUs where it says that it is not."""
        wishes = wishes_of(recording.metadata, self._options.usual)
        if wishes.refused:
            self._log.warning("options_ignored", options=wishes.refused)
        return wishes

    def _transcribe(self, held: HeldClaim, recording: ObjectInfo, wishes: Wishes) -> Transcript:
        """Decoded, cut and asked for in one pass over ranges of the pinned generation."""
        require_writable(self._objects, self._options.location, held.claim)
        with self._stage("transcribe", held):
            transcript = self._speech.transcribe(
                held, ObjectBytes(self._objects, recording), wishes.hints, wishes.refused
            )
        paid = (chunk.text.request_ids for chunk in transcript.chunks if chunk.source == "paid")
        bind_contextvars(request_id=", ".join(name for names in paid for name in names) or None)
        return transcript

    def _write(
        self, held: HeldClaim, recording: ObjectInfo, transcript: Transcript, formats: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The outputs, JSON last. Past its end the claim is asked for first, and a newer owner's outputs fence ours."""
        self._outages.ride("firestore", held.ensure)
        files = render(transcript, formats)
        json_file = partial(render_json, transcript, recording, held.claim, provider=self._options.provider)
        with self._stage("write", held):
            return write_set(
                self._objects, self._options.location, held.claim, files, json_file, transcript.fingerprint
            )

    def _complete(self, held: HeldClaim, transcript: Transcript, outputs: tuple[str, ...]) -> Ending:
        result = Result(
            outputs=outputs,
            audio_seconds=transcript.duration,
            billed_seconds=transcript.billed_seconds,
            cost_usd=transcript.cost_usd,
            model=transcript.model,
            language=transcript.language,
            fingerprint=transcript.fingerprint,
            chunks=_chunk_counts(transcript),
            warnings=tuple(sorted({warning.kind for warning in transcript.warnings})),
        )
        with self._stage("complete", held):
            decide = partial(decide_completion, claim=held.claim, result=result)
            record = self._ledger.transact(held.claim.job, decide)
        return Ending(Outcome.TRANSCRIBED, record=record, claim=held.claim)

    def _announce(self, job: Job, record: Record | None) -> None:
        """Tell of a settled job of which nobody was told yet: also after a crash between record and event."""
        if self._announcer and record and record.state.final and not record.announced_at:
            self._announcer.announce(record)
            self._ledger.transact(job, partial(decide_announced, epoch=record.epoch))

    def _finish(self, deliveries: list[Delivery], ending: Ending, began: float) -> None:
        self._endings.report(ending, deliveries[0], time.monotonic() - began)
        self._settler.settle(deliveries, ending)

    @contextmanager
    def _stage(self, stage: str, held: HeldClaim | None = None) -> Iterator[None]:
        if held:
            held.stage = stage
        with self._metrics.stage_seconds.labels(stage).time():
            yield


class ObjectBytes:
    """A pinned generation as the decoder reads it."""

    def __init__(self, objects: Objects, info: ObjectInfo) -> None:
        self._objects = objects
        self._info = info
        self.size = info.size

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises Gone, Transient, Interrupted."""
        return self._objects.read_range(self._info, offset, size)


def _refused(answer: Refusal) -> Ending:
    reason = answer.record.reason if answer.record else None
    kind, message = (reason.kind, reason.message) if reason else ("", "")
    return Ending(answer.outcome, kind, message, answer.retry_after_seconds, answer.record)


def _chunk_counts(transcript: Transcript) -> ChunkCounts:
    sources = Counter(chunk.source for chunk in transcript.chunks)
    return ChunkCounts(paid=sources["paid"], cached=sources["cache"], silent=sources["silent"])


def _look_again_in(busy: Ending) -> float:
    return min(max(busy.retry_after_seconds, 1.0), LONGEST_PARKED_SECONDS)


def _claim_result(answer: Claim | Refusal) -> str:
    if isinstance(answer, Claim):
        return "taken_over" if answer.taken_over else "granted"
    return {Outcome.BUSY: "busy", Outcome.EARLY: "early", Outcome.DUPLICATE: "duplicate"}.get(answer.outcome, "dead")
