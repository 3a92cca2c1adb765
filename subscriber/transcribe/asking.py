"""One chunk: what is asked of which model, where its verdict is kept, and what it cost.

The law of this file: an answer is stored before anybody uses it, under a name made of everything that led to it; that
to a half of a chunk under the chunk's and a suffix. Two jobs that need the same chunk at the same moment share one
request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

from subscriber.audio.cut import CUTTER_VERSION
from subscriber.audio.upload import Upload, wav_or_flac
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.errors import FormatRefused, Interrupted, NeighbourDown, Transient
from subscriber.log import get_logger
from subscriber.metrics import Metrics
from subscriber.ports import Transcriber
from subscriber.transcribe.cache import ChunkCache, chunk_key
from subscriber.transcribe.guards import judge, read
from subscriber.transcribe.pool import Lane
from subscriber.transcribe.profiles import Fields, Profile, billed_seconds, profile_of, request_fields
from subscriber.transcript import NO_HINTS, Answer, ChunkSpan, ChunkText, Hints, SpeechRequest

__all__ = ["MAYBE_BILLED", "Asker", "Asking", "Options", "Question", "Source"]

Source = Literal["paid", "cache", "silent"]

LEAST_TIMEOUT_SECONDS = 60.0
TIMEOUT_A_SECOND = 10.0
"""A request's limit grows with its chunk: ten times the sound, for a local Whisper on a busy machine, and a minute."""

MAYBE_BILLED = {"bad_answer", "no_answer"}
"""Failures of a request that the provider may have heard."""

LOOK_AGAIN_SECONDS = 10.0
"""What has waited longer for a slot may have been answered elsewhere: to another pod that was stopped and had it on the
wire. A look costs a thousandth of a request."""

JUDGE_VERSION = 1
"""Part of every key: the stored verdict is what the guards made of the answer."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for every recording; `hints` for those that have none of their own, `models` by preference."""

    models: tuple[str, ...]
    host: str
    hints: Hints = NO_HINTS
    usd_per_minute: float | None = None
    chunk_seconds: float = 30.0
    stall_seconds: float = 900.0


@dataclass(frozen=True)
class Question:
    """One chunk and how it is asked for. `span` in seconds of the whole recording, `pcm` 16 kHz mono s16.

    `source_id` says for which object it is paid; `salt` makes a new question of an old one (`replay --fresh`);
    `half_of` is the chunk that this is a half of.
    """

    pcm: bytes = field(repr=False)
    span: ChunkSpan
    model: str
    hints: Hints
    fields: Fields
    source_id: str = ""
    salt: str = ""
    half_of: Question | None = None

    @cached_property
    def upload(self) -> Upload:
        """What is sent."""
        return wav_or_flac(self.pcm)

    @property
    def prompt(self) -> str:
        """What the model is told before the sound, keywords included, and may say again."""
        return str(self.fields.get("prompt", ""))

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.span.end - self.span.start

    def half(self, span: ChunkSpan) -> Question:
        """The same question about a half of the chunk."""
        start, end = (SAMPLE_BYTES * sample for sample in self.samples(span))
        return replace(self, pcm=self.pcm[start:end], span=span, half_of=self)

    def samples(self, span: ChunkSpan) -> tuple[int, int]:
        """Where a part of the chunk begins and ends, in samples of the chunk."""
        start, end = (round((at - self.span.start) * SAMPLE_RATE) for at in (span.start, span.end))
        return start, end


class Asking(NamedTuple):
    """A chunk on its way: its verdict to come, where it comes from, and its name in the cache."""

    question: Question
    key: str
    source: Source
    verdict: Future[ChunkText]


class Asker:
    """Thread-safe; one process has one. It knows which models are gone and which format each takes."""

    def __init__(self, transcriber: Transcriber, cache: ChunkCache, options: Options, metrics: Metrics) -> None:
        self._transcriber = transcriber
        self._cache = cache
        self._metrics = metrics
        self._gone: set[str] = set()
        self._refused: set[tuple[str, str]] = set()
        self._on_the_wire: dict[str, Future[ChunkText]] = {}
        self._settling: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._log = get_logger()
        self.options = options

    def model(self, pinned: str | None) -> str:
        """The model for a whole file: the one that it began with, unless that is gone, else the best that is not."""
        if pinned in self.options.models and pinned not in self._gone:
            return pinned
        return next((model for model in self.options.models if model not in self._gone), self.options.models[-1])

    def question(
        self, pcm: bytes, span: ChunkSpan, model: str, hints: Hints, *, source_id: str = "", salt: str = ""
    ) -> Question:
        """How a chunk is asked for, by all that is known of the model."""
        return Question(pcm, span, model, hints, self.fields(model, hints), source_id, salt)

    def anew(self, question: Question) -> Question:
        """The same question, in the format that the model takes by now."""
        return replace(question, fields=self.fields(question.model, question.hints))

    def fields(self, model: str, hints: Hints) -> Fields:
        """All that is sent beside a chunk, in the best format that the model has not refused."""
        profile = profile_of(model)
        formats = [one for one in profile.formats if (model, one) not in self._refused] or [profile.formats[-1]]
        return request_fields(profile, hints, response_format=formats[0])

    def begin(self, lane: Lane, question: Question, still_ours: Callable[[], None]) -> Asking:
        """Look for the chunk's verdict, or have it asked for; join whoever is asking for the same one."""
        key = self._key(question)
        # On the wire first: the other way round, an answer that is stored between the two looks would be paid twice.
        shared = self._on_the_wire.get(key)
        if not shared and (stored := self._cache.get(key)):
            return Asking(question, key, "cache", _done(stored))
        with self._lock:
            if shared := shared or self._on_the_wire.get(key):
                return Asking(question, key, "cache", shared)
            request = partial(self._ask_unless_stored, key, question, lane, still_ours, time.monotonic())
            asked = self._on_the_wire[key] = lane.submit(request, partial(self._judge, key, question))
        asked.add_done_callback(partial(self._landed, key))
        return Asking(question, key, "paid", asked)

    def _ask_unless_stored(
        self, key: str, question: Question, lane: Lane, still_ours: Callable[[], None], begun_at: float
    ) -> Answer:
        """Raises CancelledError for what was stored while it waited: whoever needs it begins anew, and finds it."""
        if time.monotonic() - begun_at > LOOK_AGAIN_SECONDS and self._cache.get(key):
            raise CancelledError
        still_ours()
        while lane.waited_for_gate():  # closed while we looked, or asked for the claim
            still_ours()
        return self._ask(question)

    def _ask(self, question: Question) -> Answer:
        """One request, and its cost."""
        limit = LEAST_TIMEOUT_SECONDS + TIMEOUT_A_SECOND * question.seconds
        request = SpeechRequest(
            data=question.upload.data,
            # The provider learns nothing of the object's name.
            filename=f"chunk-{question.span.index:05}.{question.upload.ending}",
            model=question.model,
            seconds=question.seconds,
            fields=question.fields,
            # A request and its one repetition fit into what a job is given.
            timeout_seconds=min(limit, self.options.stall_seconds / 2),
        )
        try:
            answer = self._transcriber.transcribe(request)
        except FormatRefused as refusal:
            raise self._in_another_format(question, refusal) from refusal
        except NeighbourDown as error:
            self._count_possibly_billed(question, maybe=error.maybe_billed)
            raise self._without_model(question.model, error) from error
        except Transient as failure:
            self._count_possibly_billed(question, maybe=failure.reason in MAYBE_BILLED)
            raise
        self._account(question, answer)
        return answer

    def settle(
        self, question: Question, in_halves: Callable[[], tuple[ChunkText, Source]]
    ) -> tuple[ChunkText, Source, str]:
        """The final verdict on a chunk that its first answer has not brought, whether it was paid for now, its key.

        One job at a time asks for halves; whoever waited for it takes what it stored.
        """
        key = self._key(question)
        with self._lock:
            alone = self._settling.setdefault(key, threading.Lock())
        with alone:
            if (stored := self._cache.get(key)) and not stored.doubted:
                return stored, "cache", key
            text, source = in_halves()
            return self._cache.put(key, text, question.source_id), source, key

    def usd_per_minute(self, model: str) -> float | None:
        """The price, or None where nobody told it."""
        told = self.options.usd_per_minute
        return profile_of(model).usd_per_minute if told is None else told

    def _judge(self, key: str, question: Question, answer: Answer) -> ChunkText:
        """Outside the slot: what was paid for is stored before anybody sees it. A half is not doubted by itself."""
        profile: Profile = profile_of(question.model)
        believe = read if question.half_of else judge
        text = believe(answer, question.span, prompt=question.prompt, profile=profile)
        return self._cache.put(key, text, question.source_id)

    def _landed(self, key: str, _: Future[ChunkText]) -> None:
        """What is stored, or has failed, need not be shared any longer."""
        self._on_the_wire.pop(key, None)

    def _in_another_format(self, question: Question, refusal: FormatRefused) -> Exception:
        """Remember what the model does not answer in. One that refuses even its last format is no use to anybody."""
        refused = str(question.fields["response_format"])
        if refused == profile_of(question.model).formats[-1]:
            return NeighbourDown("whisper", "unavailable", f"refuses {refused}: {refusal}")
        self._refused.add((question.model, refused))
        return Transient("format_refused", str(refusal))

    def _key(self, question: Question) -> str:
        chunk = question.half_of or question
        asked = {
            "host": self.options.host,
            "model": question.model,
            "fields": question.fields,
            "versions": [CUTTER_VERSION, JUDGE_VERSION],
            "salt": question.salt,
        }
        start, end = chunk.samples(question.span)
        return chunk_key(chunk.pcm, asked) + (f".{start}-{end}" if question.half_of else "")

    def _without_model(self, model: str, error: NeighbourDown) -> Exception:
        """The provider's own words say that the model is gone: the next one, if there is one, begins each file anew."""
        if error.reason != "model" or not set(self.options.models) - self._gone - {model}:
            return error
        if model not in self._gone:
            self._gone.add(model)
            self._metrics.model_gone.labels(model).set(1)
            self._log.error("model_gone", model=model, next_model=self.model(None), error=str(error))
        return Interrupted(f"{model} is gone; beginning anew with {self.model(None)}")

    def _count_possibly_billed(self, question: Question, *, maybe: bool) -> None:
        self._metrics.possibly_billed_seconds.labels(question.model).inc(question.seconds if maybe else 0.0)

    def _account(self, question: Question, answer: Answer) -> None:
        billed = billed_seconds(profile_of(question.model), question.seconds, answer.billed_seconds)
        price = self.usd_per_minute(question.model)
        self._metrics.billed_seconds.labels(question.model).inc(billed)
        self._metrics.spend(question.model, billed / 60 * price if price else 0.0)


def _done(text: ChunkText) -> Future[ChunkText]:
    future: Future[ChunkText] = Future()
    future.set_result(text)
    return future
