"""One recording: chunks go out while the rest is still being decoded, verdicts come back, in order.

The law of this file: what is asked follows from the recording and the settings alone, never from which answer came
first, so that whoever resumes a job meets everything that was paid for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from subscriber.audio.cut import Chunk as Cut
from subscriber.audio.wire import SAMPLE_RATE
from subscriber.errors import ClaimLost, Interrupted, NeighbourDown, Permanent, Transient
from subscriber.lease import HeldClaim
from subscriber.metrics import Metrics
from subscriber.model import Pin, Progress
from subscriber.outage import Outages
from subscriber.transcribe.asking import MAYBE_BILLED, Asker, Asking, Question, Source
from subscriber.transcribe.assemble import PIN_CHUNKS, pin_language
from subscriber.transcribe.coverage import halves, quiet_middle
from subscriber.transcribe.guards import judge_halves
from subscriber.transcribe.pool import Lane
from subscriber.transcribe.profiles import profile_of
from subscriber.transcribe.stall import StallClock
from subscriber.transcript import SILENCE, Chunk, ChunkSpan, ChunkText, Hints

__all__ = ["RecordingOnItsWay"]

T = TypeVar("T")

PIN_WITHIN = 8
"""How many chunks may go without a language for the sake of its pin; if these do not agree, all others do, too."""

TICK_SECONDS = 1.0
"""How often a job that waits looks at what it waits for."""

TOO_MUCH = {"too_long", "too_large"}
"""Refusals of a chunk that its halves may not meet."""


class RecordingOnItsWay:
    """The chunks of one job: `pending` on the wire or in the queue, `done` in order. Used by the job's thread only."""

    def __init__(
        self,
        asker: Asker,
        lane: Lane,
        held: HeldClaim,
        hints: Hints,
        *,
        clock: StallClock,
        outages: Outages,
        metrics: Metrics,
    ) -> None:
        self._asker = asker
        self._lane = lane
        self._held = held
        self._hints = hints
        self._clock = clock
        self._outages = outages
        self._metrics = metrics
        self._pending: deque[Asking | Chunk] = deque()
        self._asked = 0
        self.model = asker.model(held.claim.pin.model)
        self.done: list[Chunk] = []
        # A job that is resumed keeps its model, also where no language is pinned. Rides along with the next renewal.
        self._pinned = held.claim.pin.language if held.claim.pin.model == self.model else None
        held.pin = Pin(self.model, self._pinned)
        self._pins = profile_of(self.model).pins_language and hints.language is None

    def run(self, cuts: Iterable[Cut], total_seconds: Callable[[], float | None]) -> list[Chunk]:
        """Have every chunk transcribed. Raises Permanent, Transient, Interrupted, ClaimLost, and what `cuts` raises."""
        for cut in cuts:
            while self._pending and (isinstance(self._pending[0], Chunk) or not self._lane.has_room(self._under_way())):
                self._make_room(total_seconds())
            self._begin(cut, total_seconds())
        while self._pending:
            self._collect(total_seconds())
        return self.done

    def _begin(self, cut: Cut, total_seconds: float | None) -> None:
        span = _span(cut)
        if cut.silent:
            self._pending.append(Chunk(span, SILENCE, "silent"))
            return
        if self._pins and self._asked in {PIN_CHUNKS, PIN_WITHIN}:
            self._settle_language(total_seconds)
        claim = self._held.claim
        question = self._asker.question(
            cut.pcm, span, self.model, self._hints, source_id=claim.job.source_id, salt=claim.salt
        )
        self._pending.append(self._asker.begin(self._lane, question, self._held.before_request))
        self._asked += 1

    def _settle_language(self, total_seconds: float | None) -> None:
        """Wait for the earlier answers: from here on each chunk is told the language that the first ones agree on.

        Only at two places of a recording, so that in between its chunks go out together, and each is asked alike
        whoever asks for it again.
        """
        while self._pending:
            self._collect(total_seconds)
        if pin := pin_language(self.done):
            self._hints = replace(self._hints, language=self._pinned or pin)
            self._held.pin = Pin(self.model, self._hints.language)
        self._pins = pin is None and self._asked < PIN_WITHIN

    def _under_way(self) -> int:
        """How many chunks still need their sound. That of all others is let go of, however long the oldest takes."""
        before = self._pending
        self._pending = deque(_settled(one) for one in before)
        if any(one is not earlier for one, earlier in zip(self._pending, before, strict=True)):
            self._clock.restart()
        return sum(isinstance(one, Asking) for one in self._pending)

    def _make_room(self, total_seconds: float | None) -> None:
        """Take the oldest chunk if it is answered, else wait for any."""
        oldest = self._pending[0]
        if isinstance(oldest, Chunk) or oldest.verdict.done():
            self._collect(total_seconds)
            return
        askings = [one.verdict for one in self._pending if isinstance(one, Asking)]
        self._await(*(one for one in askings if not one.done()))

    def _await(self, *answers: Future[Any]) -> None:
        """Wait for one of them. Raises Transient when the job stalls: its requests on the wire are its own time."""
        self._clock.forgive()
        while not wait(answers, TICK_SECONDS, FIRST_COMPLETED).done:
            self._under_way()
            if self._lane.in_flight:
                self._clock.charge()
            else:
                self._clock.forgive()

    def _collect(self, total_seconds: float | None) -> None:
        """Wait for the oldest chunk."""
        oldest = self._pending.popleft()
        self._add(oldest if isinstance(oldest, Chunk) else self._concluded(oldest), total_seconds)

    def _add(self, chunk: Chunk, total_seconds: float | None) -> None:
        self.done.append(chunk)
        self._clock.restart()
        self._held.progress = Progress(chunk.span.end, total_seconds)
        self._metrics.chunks.labels(chunk.source).inc()
        self._metrics.audio_seconds.inc(chunk.span.end - chunk.span.start)

    def _concluded(self, asking: Asking) -> Chunk:
        question = asking.question
        middle = quiet_middle(question.span)
        whole: ChunkText | None = None
        source: Source = "cache"  # a refusal costs nothing
        try:
            whole, asked = self._verdict(asking)
        except Permanent as refusal:
            if refusal.reason not in TOO_MUCH or middle is None:
                raise
        else:
            if middle is None or not whole.doubted:
                return Chunk(question.span, whole, asked.source, asked.key)
            source = asked.source
        anew = self._asker.anew(question)
        in_halves = partial(self._in_halves, anew, whole, source, middle)
        return Chunk(question.span, *self._asker.settle(anew, in_halves))

    def _verdict(self, asking: Asking) -> tuple[ChunkText, Asking]:
        """What became of a chunk, if need be asked for once more in the format that the model takes by now."""
        asked = asking

        def again() -> Future[ChunkText]:
            nonlocal asked
            asked = self._asker.begin(self._lane, self._asker.anew(asking.question), self._held.before_request)
            return asked.verdict

        verdict = self._answer_of(asking.verdict, again)
        return verdict, asked

    def _in_halves(
        self, question: Question, whole: ChunkText | None, source: Source, cut: float
    ) -> tuple[ChunkText, Source]:
        """A loud chunk with too few words, or one that is too long for its model, is asked once more, in two parts.

        Each half is stored by itself: whoever resumes pays for what is missing. `source` is that of `whole`.
        """
        spans = [span for span in halves(question.span, cut) if not span.silent]
        sent = [self._asker.begin(self._lane, question.half(span), self._held.before_request) for span in spans]
        heard = [self._verdict(one) for one in sent]
        parts = [(span, text) for span, (text, _) in zip(spans, heard, strict=True)]
        sources = {source, *(asked.source for _, asked in heard)}
        return judge_halves(whole, parts, question.span), "paid" if "paid" in sources else "cache"

    def _answer_of(self, first: Future[T], again: Callable[[], Future[T]]) -> T:
        """Wait for a request, out an outage, and once more after one whose answer never came: it may be billed."""
        unheard = 0
        tries = chain([first], iter(again, None))

        def answer() -> T:
            future = next(tries)
            self._await(future)
            answered = future.result()
            self._clock.restart()  # also by an answer that is no verdict yet
            return answered

        while True:
            try:
                return self._outages.ride("whisper", answer)
            except CancelledError:
                continue  # another job asked for the same chunk and was ended
            except ClaimLost:
                if self._held.lost:
                    raise
                # it was the other job's claim
            except Transient as failure:
                unheard += failure.reason in MAYBE_BILLED
                self._require_repeatable(failure, unheard)
                self._clock.restart()  # these have a limit of their own

    def _require_repeatable(self, failure: Transient, unheard: int) -> None:
        """Return if the request may be made again: in another format, or once more, after an outage that shows now.

        What a recording meets twice is its own misfortune, unless everybody meets it: then the job waits without its
        claim, free of charge. Raises Permanent, Transient, Interrupted.
        """
        if failure.reason == "format_refused":
            return
        if failure.reason not in MAYBE_BILLED:
            raise failure
        down = self._outages.suspect(NeighbourDown("whisper", "unavailable", str(failure)))
        if down and unheard > 1:
            raise Interrupted(f"whisper is down, and has answered neither request: {failure}") from failure
        if failure.reason == "bad_answer" and not down:
            raise failure
        if unheard > 1:
            raise Permanent("unanswered", f"twice no answer, each may have been billed: {failure}") from failure


def _settled(pending: Asking | Chunk) -> Asking | Chunk:
    """An answered chunk, without its sound, if the answer is final."""
    if isinstance(pending, Chunk) or not _is_final(pending.verdict):
        return pending
    return Chunk(pending.question.span, pending.verdict.result(), pending.source, pending.key)


def _is_final(verdict: Future[ChunkText]) -> bool:
    answered = verdict.done() and not verdict.cancelled() and not verdict.exception()
    return answered and not verdict.result().doubted


def _span(cut: Cut) -> ChunkSpan:
    start = cut.start_sample / SAMPLE_RATE
    loud = tuple((start + a, start + b) for a, b in cut.loud)
    return ChunkSpan(cut.index, start, start + cut.seconds, cut.silent, loud)
