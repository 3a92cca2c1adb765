"""A whole recording: every chunk once, in order, whatever becomes of single requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.audio.cut import Chunk as Cut
from subscriber.audio.cut import cut
from subscriber.audio.wire import SAMPLE_RATE
from subscriber.errors import ClaimLost, FormatRefused, Interrupted, NeighbourDown, Permanent, Transient
from subscriber.lease import HeldClaim
from subscriber.model import ObjectInfo, Pin, Progress
from subscriber.transcribe.asking import Asking, Question
from subscriber.transcribe.assemble import assemble
from subscriber.transcribe.cache import chunk_name, key_in
from subscriber.transcribe.pool import AHEAD, Lane
from subscriber.transcribe.recording import PIN_WITHIN
from subscriber.transcript import Answer, Chunk, Hints, SpeechRequest
from tests.transcribe.scene import (
    CHUNK_SECONDS,
    OPTIONS,
    SOON,
    OnTheWire,
    Process,
    Provider,
    answer,
    claim,
    sentence,
    silence,
    speech,
)

MINUTE = speech(60)
GERMAN = replace(OPTIONS, hints=Hints("de"))
"""With a language told, no chunk waits for the pin."""


def sources(chunks: list[Chunk]) -> list[str]:
    return [chunk.source for chunk in chunks]


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text.text for chunk in chunks]


def failing_once(error: Exception) -> Any:
    """A script that fails for its first request and answers all others."""
    errors = [error]

    def script(request: SpeechRequest) -> Answer:
        if errors:
            raise errors.pop()
        return answer(request)

    return script


class Noting(FolderObjects):
    """A folder that tells of each object that is stored."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"out": folder})
        self.stored = threading.Semaphore(0)

    def write(self, *args: Any, **options: Any) -> ObjectInfo:
        written = super().write(*args, **options)
        self.stored.release()
        return written


class Forgetful(FolderObjects):
    """A folder of a process that ends before a final verdict replaces a doubted answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"out": folder})

    def write(self, bucket: str, name: str, *args: Any, **options: Any) -> ObjectInfo:
        if options["if_generation"]:
            raise Interrupted("the process ends")
        return super().write(bucket, name, *args, **options)


def watched_pause(process: Process) -> threading.Event:
    """Is set when the process has paused."""
    paused = threading.Event()
    pause = process.outages.pause

    def watched(error: NeighbourDown) -> None:
        pause(error)
        paused.set()

    process.outages.pause = watched  # type: ignore[method-assign]
    return paused


class TestOnce:
    def test_a_recording_is_asked_for_chunk_by_chunk_and_comes_back_in_order(self, tmp_path: Path) -> None:
        """The first chunk is answered last."""
        provider = Provider()
        others = threading.Semaphore(0)

        def script(request: SpeechRequest) -> Answer:
            if request.filename == "chunk-00000.flac":
                assert all(others.acquire(timeout=SOON) for _ in range(5))
            else:
                others.release()
            return answer(request)

        provider.script = script
        chunks = Process(tmp_path, provider, GERMAN).run(MINUTE)
        by_name = sorted(provider.requests, key=lambda request: request.filename)
        assert texts(chunks) == [sentence(request) for request in by_name]
        assert [chunk.span.index for chunk in chunks] == list(range(len(chunks)))
        assert set(sources(chunks)) == {"paid"}

    def test_times_of_the_whole_are_exact_to_the_sample(self, tmp_path: Path) -> None:
        chunks = Process(tmp_path, Provider(), GERMAN).run(MINUTE)
        cuts = list(cut([MINUTE], CHUNK_SECONDS))
        transcript = assemble(chunks, model="whisper-1", fingerprint="f", usd_per_minute=None)
        assert len(cuts) > 5
        assert [one.start for one in transcript.segments] == [one.start_sample / SAMPLE_RATE + 0.5 for one in cuts]
        assert transcript.duration == 60.0

    def test_a_second_run_and_a_copy_under_another_name_cost_nothing(self, tmp_path: Path) -> None:
        provider = Provider()
        first = Process(tmp_path, provider).run(MINUTE)
        asked = len(provider.requests)
        again = Process(tmp_path, provider).run(MINUTE)
        assert len(provider.requests) == asked == len(first)
        assert texts(again) == texts(first)
        assert set(sources(again)) == {"cache"}

    def test_other_cuts_are_other_chunks(self, tmp_path: Path) -> None:
        provider = Provider()
        first = Process(tmp_path, provider, GERMAN).run(MINUTE)
        Process(tmp_path, provider, replace(GERMAN, chunk_seconds=15.0)).run(MINUTE)
        assert len(provider.requests) > len(first)

    def test_who_resumes_pays_only_for_what_was_not_answered(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if request.filename == "chunk-00004.flac":
                raise Interrupted("the process ends")
            return answer(request)

        provider.script = script
        with pytest.raises(Interrupted):
            Process(tmp_path, provider, slots=1).run(MINUTE)
        provider.script, before = answer, [request.data for request in provider.requests[:4]]
        provider.requests.clear()
        Process(tmp_path, provider).run(MINUTE)
        assert not {request.data for request in provider.requests} & set(before)

    def test_two_jobs_with_the_same_sound_at_the_same_time_pay_once(self, tmp_path: Path) -> None:
        provider = Provider()
        process = Process(tmp_path, provider)
        with ThreadPoolExecutor(2) as jobs:
            one, two = (jobs.submit(process.run, MINUTE) for _ in range(2))
            assert texts(one.result(SOON)) == texts(two.result(SOON))
        assert len(provider.requests) == len(one.result())
        paid = sources(one.result()) + sources(two.result())
        assert paid.count("paid") == len(provider.requests)

    def test_silent_chunks_are_never_asked(self, tmp_path: Path) -> None:
        provider = Provider()
        chunks = Process(tmp_path, provider).run(silence(40))
        assert set(sources(chunks)) == {"silent"}
        assert provider.requests == []
        mixed = Process(tmp_path, provider).run(speech(9) + silence(30) + speech(9, voice=2))
        assert sources(mixed).count("paid") == len(provider.requests) == 2
        assert "silent" in sources(mixed)


class TestKeys:
    def test_each_chunk_names_what_is_stored_of_it_and_what_is_stored_names_its_object(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = failing_once(Permanent("too_long", "ask for halves"))
        process = Process(tmp_path, provider, GERMAN)
        chunks = process.run(speech(25) + silence(12))
        keys = {chunk.key for chunk in chunks if chunk.key}
        assert {chunk.key for chunk in chunks if chunk.source == "silent"} == {None}
        objects = FolderObjects({"out": tmp_path})
        found = list(objects.below("out", ".chunks/"))
        assert {info.name for info in found} >= {chunk_name(".chunks/", key) for key in keys}
        assert {key_in(info.name) for info in found} == keys, "also of what was asked in halves"
        assert {info.metadata["source-id"] for info in found} == {claim().claim.job.source_id}
        assert [chunk.key for chunk in process.run(speech(25) + silence(12))] == [chunk.key for chunk in chunks]

    def test_a_chunk_asked_for_in_another_format_names_what_that_one_brought(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = failing_once(FormatRefused("no verbose_json"))
        (chunk,) = Process(tmp_path, provider, replace(GERMAN, models=("any",))).run(speech(9))
        assert chunk.key
        assert (tmp_path / chunk_name(".chunks/", chunk.key)).is_file()


class TestDoubts:
    def test_a_loud_chunk_without_words_is_asked_once_more_in_halves_and_never_again(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = lambda request: answer(request, "")
        process = Process(tmp_path, provider)
        (chunk,) = process.run(speech(9))
        assert len(provider.requests) == 3
        assert [warning.kind for warning in chunk.text.warnings] == ["no_text"]
        assert chunk.text.billed_seconds == pytest.approx(18.0, abs=2.0)
        (again,) = Process(tmp_path, provider).run(speech(9))
        assert (again.text, again.source, len(provider.requests)) == (chunk.text, "cache", 3)

    def test_words_of_the_halves_are_placed_where_they_were_said(self, tmp_path: Path) -> None:
        provider = Provider()
        asked = iter(["", "one two", "three four"])
        provider.script = lambda request: answer(request, next(asked))
        (chunk,) = Process(tmp_path, provider, slots=1).run(speech(9))
        assert chunk.text.text == "one two three four"
        first, second = chunk.text.segments
        assert first.start == 0.5
        assert 3.0 < second.start < 7.5

    def test_two_jobs_with_a_doubtful_chunk_ask_for_its_halves_once(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire(lambda request: answer(request, ""))
        process = Process(tmp_path, provider)
        with ThreadPoolExecutor(2) as jobs:
            one, two = (jobs.submit(process.run, speech(9)) for _ in range(2))
            assert wire.came.acquire(timeout=SOON)
            wire.answer.set()
            assert texts(one.result(SOON)) == texts(two.result(SOON)) == [""]
        assert len(provider.requests) == 3
        assert sorted(sources(one.result()) + sources(two.result())) == ["cache", "paid"]

    def test_both_halves_are_asked_at_once(self, tmp_path: Path) -> None:
        provider = Provider()
        together = threading.Barrier(2)

        def script(request: SpeechRequest) -> Answer:
            if len(provider.requests) == 1:
                return answer(request, "")
            together.wait(SOON)
            return answer(request)

        provider.script = script
        (chunk,) = Process(tmp_path, provider).run(speech(9))
        assert len(provider.requests) == 3
        assert {sentence(request) for request in provider.requests[1:]} == {one.text for one in chunk.text.segments}

    @pytest.mark.parametrize("answered", [0, 1, 2], ids=["no half", "one half", "both halves"])
    def test_who_resumes_a_doubtful_chunk_pays_only_for_the_halves_that_were_not_answered(
        self, tmp_path: Path, answered: int
    ) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if len(provider.requests) > 1 + answered:
                raise Interrupted("the process ends")
            return answer(request, "" if len(provider.requests) == 1 else None)

        provider.script = script
        with pytest.raises(Interrupted):
            Process(tmp_path, provider, slots=1, objects=Forgetful(tmp_path)).run(speech(9))
        before = [request.data for request in provider.requests[: 1 + answered]]
        resumed = Provider()
        (chunk,) = Process(tmp_path, resumed).run(speech(9))
        assert len(resumed.requests) == 2 - answered
        assert not {request.data for request in resumed.requests} & set(before)
        assert (len(chunk.text.segments), chunk.source) == (2, "cache" if answered == 2 else "paid")
        assert chunk.text.billed_seconds == pytest.approx(18.0, abs=2.0)
        (again,) = Process(tmp_path, resumed).run(speech(9))
        assert (again.text, again.source) == (chunk.text, "cache")

    def test_a_half_that_was_answered_is_stored_although_the_other_one_fails(self, tmp_path: Path) -> None:
        provider, objects = Provider(), Noting(tmp_path)
        asked = count(1)

        def script(request: SpeechRequest) -> Answer:
            number = next(asked)
            if number == 2:
                assert all(objects.stored.acquire(timeout=SOON) for _ in ("the whole", "the other half"))
                raise Permanent("audio_rejected", "no audio")
            return answer(request, "" if number == 1 else None)

        provider.script = script
        with pytest.raises(Permanent, match="no audio"):
            Process(tmp_path, provider, slots=2, objects=objects).run(speech(9))
        provider.script = answer
        Process(tmp_path, provider).run(speech(9))
        assert len(provider.requests) == 4, "the whole, both halves, and the one that failed once more"

    @pytest.mark.parametrize("reason", ["too_long", "too_large"])
    def test_a_chunk_that_is_too_much_for_its_model_is_asked_in_halves(self, tmp_path: Path, reason: str) -> None:
        provider = Provider()
        provider.script = failing_once(Permanent(reason, "longer than 5 seconds"))
        (chunk,) = Process(tmp_path, provider, slots=1).run(speech(9))
        assert len(provider.requests) == 3
        assert chunk.text.text == " ".join(sentence(request) for request in provider.requests[1:])
        Process(tmp_path, provider).run(speech(9))
        assert len(provider.requests) == 3

    def test_a_verdict_on_the_file_ends_the_job(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = failing_once(Permanent("audio_rejected", "no audio"))
        with pytest.raises(Permanent, match="no audio"):
            Process(tmp_path, provider).run(speech(9))


class TestFailures:
    def test_a_request_without_an_answer_is_sent_once_more(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = failing_once(Transient("no_answer", "no answer"))
        process = Process(tmp_path, provider)
        (chunk,) = process.run(speech(9))
        assert chunk.text.text == sentence(provider.requests[1])
        assert len(provider.requests) == 2
        assert process.sample("possibly_billed_seconds_total", model="whisper-1") == 9.0

    def test_but_never_a_third_time(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(_: SpeechRequest) -> Answer:
            raise Transient("no_answer", "no answer")

        provider.script = script
        process = Process(tmp_path, provider)
        with pytest.raises(Permanent) as verdict:
            process.run(speech(9))
        assert verdict.value.reason == "unanswered"
        assert len(provider.requests) == 2
        assert process.sample("possibly_billed_seconds_total", model="whisper-1") == 18.0

    def test_before_a_silent_provider_is_asked_once_more_its_probe_must_pass(self, tmp_path: Path) -> None:
        """Else a proxy that hangs up on everybody would bury every recording within a second."""
        provider = Provider()
        process = Process(tmp_path, provider, GERMAN)
        provider.down = NeighbourDown("whisper", "unavailable", "hangs up")
        provider.script = failing_once(Transient("no_answer", "the connection broke"))
        paused = watched_pause(process)
        with ThreadPoolExecutor(1) as jobs:
            job = jobs.submit(process.run, speech(9))
            assert paused.wait(SOON)
            assert (job.done(), len(provider.requests)) == (False, 1)
            provider.down = None
            process.outages.probe()
            assert texts(job.result(SOON)) == [sentence(provider.requests[1])]

    def test_a_second_silence_in_an_outage_lets_the_job_go_and_condemns_nobody(self, tmp_path: Path) -> None:
        provider = Provider()
        process = Process(tmp_path, provider, GERMAN)

        def script(_: SpeechRequest) -> Answer:
            if len(provider.requests) > 1:
                provider.down = NeighbourDown("whisper", "unavailable", "hangs up")
            raise Transient("no_answer", "the connection broke")

        provider.script = script
        with pytest.raises(Interrupted, match="the connection broke"):
            process.run(speech(9))
        assert len(provider.requests) == 2
        assert process.sample("possibly_billed_seconds_total", model="whisper-1") == 18.0

    def test_an_answer_of_the_wrong_shape_is_the_attempts_failure(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = failing_once(Transient("bad_answer", "HTML"))
        with pytest.raises(Transient, match="HTML"):
            Process(tmp_path, provider).run(speech(9))
        assert len(provider.requests) == 1

    def test_but_where_everybody_gets_such_answers_it_is_an_outage(self, tmp_path: Path) -> None:
        """A gateway that asks for a sign-in must not use up the attempts of every recording."""
        provider = Provider()
        process = Process(tmp_path, provider, GERMAN)
        provider.down = NeighbourDown("whisper", "unavailable", "HTML")
        provider.script = failing_once(Transient("bad_answer", "HTML"))
        paused = watched_pause(process)
        with ThreadPoolExecutor(1) as jobs:
            job = jobs.submit(process.run, speech(9))
            assert paused.wait(SOON)
            provider.down = None
            process.outages.probe()
            assert texts(job.result(SOON)) == [sentence(provider.requests[1])]
        assert process.sample("possibly_billed_seconds_total", model="whisper-1") == 9.0

    def test_an_outage_is_waited_out_and_nothing_is_paid_meanwhile(self, tmp_path: Path) -> None:
        provider = Provider()
        process = Process(tmp_path, provider, GERMAN)
        provider.down = NeighbourDown("whisper", "unavailable", "503")
        provider.script = failing_once(provider.down)
        paused = watched_pause(process)
        with ThreadPoolExecutor(1) as jobs:
            job = jobs.submit(process.run, speech(9))
            assert paused.wait(SOON)
            assert (job.done(), len(provider.requests)) == (False, 1)
            provider.down = None
            process.outages.probe()
            assert texts(job.result(SOON)) == [sentence(provider.requests[1])]
        assert process.sample("billed_seconds_total", model="whisper-1") == 9.0

    def test_a_provider_that_is_well_but_not_for_this_file_costs_it_an_attempt(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(_: SpeechRequest) -> Answer:
            raise FormatRefused("no verbose_json")

        provider.script = script
        with pytest.raises(Transient) as failure:
            Process(tmp_path, provider).run(speech(9))
        assert failure.value.reason == "provider_error"

    def test_without_a_claim_nothing_is_paid(self, tmp_path: Path) -> None:
        provider = Provider()

        def taken_over(held: HeldClaim) -> None:
            held.lost = True
            raise ClaimLost("another worker has it")

        with pytest.raises(ClaimLost):
            Process(tmp_path, provider).run(speech(9), claim(renew=taken_over, ended=True))
        assert provider.requests == []

    def test_another_jobs_lost_claim_is_not_ours(self, tmp_path: Path) -> None:
        """It had asked for the chunk that we need, too; now we ask."""
        provider = Provider()
        process = Process(tmp_path, provider, GERMAN, slots=1)
        asked, lose = threading.Event(), threading.Event()

        def taken_over(held: HeldClaim) -> None:
            asked.set()
            assert lose.wait(SOON)
            held.lost = True
            raise ClaimLost("another worker has it")

        joined = threading.Event()
        begin = process.asker.begin

        def watched(lane: Lane, question: Question, still_ours: Callable[[], None]) -> Asking:
            asking = begin(lane, question, still_ours)
            if asking.source == "cache":
                joined.set()
            return asking

        process.asker.begin = watched  # type: ignore[method-assign]
        with ThreadPoolExecutor(2) as jobs:
            theirs = jobs.submit(process.run, speech(9), claim(renew=taken_over, ended=True))
            assert asked.wait(SOON)
            ours = jobs.submit(process.run, speech(9))
            assert joined.wait(SOON)
            lose.set()
            with pytest.raises(ClaimLost):
                theirs.result(SOON)
            (chunk,) = ours.result(SOON)
        assert (chunk.source, len(provider.requests)) == ("paid", 1)

    def test_a_refused_format_is_refused_once_for_the_whole_process(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if request.fields["response_format"] != "json":
                raise FormatRefused("verbose_json is refused")
            return replace(answer(request), segments=())

        provider.script = script
        process = Process(tmp_path, provider, replace(GERMAN, models=("mine",)), slots=1)
        chunks = process.run(speech(9))
        process.run(MINUTE)
        formats = provider.told("response_format")
        assert (formats[:2], set(formats[2:])) == (["verbose_json", "json"], {"json"})
        assert chunks[0].text.timing == "estimated"

    def test_halves_are_asked_in_the_format_that_was_not_refused(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if request.fields["response_format"] != "json":
                raise FormatRefused("verbose_json is refused")
            return answer(request, "")

        provider.script = script
        Process(tmp_path, provider, replace(GERMAN, models=("mine",))).run(speech(9))
        assert provider.told("response_format") == ["verbose_json", "json", "json", "json"]

    def test_a_format_that_is_refused_only_for_the_halves_is_asked_for_no_more(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if len(provider.requests) == 1:
                raise Permanent("too_long", "longer than 5 seconds")
            if request.fields["response_format"] != "json":
                raise FormatRefused("verbose_json is refused")
            return answer(request)

        provider.script = script
        Process(tmp_path, provider, replace(GERMAN, models=("mine",))).run(speech(9))
        whole, *halves = provider.told("response_format")
        assert (whole, halves.count("json")) == ("verbose_json", 2)
        assert halves.count("verbose_json") <= 2, "both may be on the wire when the first is refused"


class TestPin:
    def test_the_language_of_the_first_three_chunks_is_sent_with_all_others(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = lambda request: answer(request, language="german")
        held = claim()
        chunks = Process(tmp_path, provider, slots=1).run(MINUTE, held)
        assert provider.told("language") == [None] * 3 + ["de"] * (len(chunks) - 3)
        assert held.pin == Pin("whisper-1", "de")

    def test_it_does_not_depend_on_which_answer_comes_first(self, tmp_path: Path) -> None:
        """No fourth chunk goes out before the first one, which takes longest, is answered."""
        provider = Provider()
        provider.script = wire = OnTheWire()
        with ThreadPoolExecutor(1) as jobs:
            job = jobs.submit(Process(tmp_path, provider, slots=8).run, MINUTE)
            for _ in range(3):
                assert wire.came.acquire(timeout=SOON)
            assert len(provider.requests) == 3
            wire.answer.set()
            job.result(SOON)
        by_name = sorted(provider.requests, key=lambda request: request.filename)
        assert [request.fields.get("language") for request in by_name][:4] == [None, None, None, "en"]

    def test_what_an_earlier_claim_pinned_wins(self, tmp_path: Path) -> None:
        provider = Provider()
        held = claim(Pin("whisper-1", "fr"))
        Process(tmp_path, provider, slots=1).run(MINUTE, held)
        assert provider.told("language")[2:4] == [None, "fr"]
        assert held.pin == Pin("whisper-1", "fr")

    def test_but_not_what_was_pinned_for_another_model(self, tmp_path: Path) -> None:
        provider = Provider()
        held = claim(Pin("no-longer-configured", "fr"))
        Process(tmp_path, provider, slots=1).run(MINUTE, held)
        assert provider.told("language")[3] == "en"

    def test_a_file_keeps_the_model_that_it_began_with(self, tmp_path: Path) -> None:
        provider = Provider()
        process = Process(tmp_path, provider, replace(OPTIONS, models=("gpt-transcribe", "whisper-1")))
        process.run(speech(9), claim(Pin("whisper-1")))
        fresh = claim()
        process.run(speech(9), fresh)
        assert [request.model for request in provider.requests] == ["whisper-1", "gpt-transcribe"]
        assert fresh.pin.model == "gpt-transcribe", "also a model that is not told a language"

    def test_when_its_model_is_gone_it_begins_anew_with_the_next(self, tmp_path: Path) -> None:
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            if request.model == "whisper-1":
                raise NeighbourDown("whisper", "model", "has been retired")
            return replace(answer(request), segments=())

        provider.script = script
        process = Process(tmp_path, provider, replace(OPTIONS, models=("whisper-1", "gpt-transcribe")))
        first = claim()
        with pytest.raises(Interrupted):
            process.run(speech(9), first)
        second = claim(first.pin)
        process.run(speech(9), second)
        assert second.pin.model == "gpt-transcribe"
        assert [request.model for request in provider.requests] == ["whisper-1", "gpt-transcribe"]

    @pytest.mark.parametrize("options", [GERMAN, replace(OPTIONS, models=("gpt-transcribe",))])
    def test_nobody_waits_where_nothing_is_pinned(self, tmp_path: Path, options: Any) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire()
        with ThreadPoolExecutor(1) as jobs:
            job = jobs.submit(Process(tmp_path, provider, options, slots=5).run, MINUTE)
            for _ in range(5):
                assert wire.came.acquire(timeout=SOON)
            wire.answer.set()
            job.result(SOON)

    @pytest.mark.parametrize("backwards", [False, True])
    def test_where_three_chunks_do_not_decide_the_next_five_go_out_together(
        self, tmp_path: Path, backwards: bool
    ) -> None:
        """And whichever of them is answered first, each chunk is asked alike."""
        provider = Provider()
        together, answered = threading.Barrier(5), threading.Semaphore(0)

        def script(request: SpeechRequest) -> Answer:
            number = int(request.filename[6:11])
            if number in range(3, 8):
                together.wait(SOON)
                for _ in range(7 - number if backwards else number - 3):
                    assert answered.acquire(timeout=SOON)
                answered.release(5)
            return answer(request, "Oh." if number < 3 else None)

        provider.script = script
        held = claim()
        Process(tmp_path, provider, slots=8).run(speech(130), held)
        by_name = sorted(provider.requests, key=lambda request: request.filename)
        told = [request.fields.get("language") for request in by_name]
        assert told == [None] * PIN_WITHIN + ["en"] * (len(told) - PIN_WITHIN)
        assert len(told) > PIN_WITHIN
        assert held.pin.language == "en"

    def test_a_recording_that_tells_no_language_is_not_held_up_for_ever(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = lambda request: answer(request, language=None)
        held = claim()
        chunks = Process(tmp_path, provider).run(speech(130), held)
        assert len(chunks) > PIN_WITHIN
        assert (set(provider.told("language")), held.pin.language) == ({None}, None)


class TestProgress:
    def test_it_follows_the_chunks_that_are_done_in_order(self, tmp_path: Path) -> None:
        held, seen = claim(), []
        provider = Provider()

        def script(request: SpeechRequest) -> Answer:
            seen.append(held.progress)
            return answer(request)

        provider.script = script
        Process(tmp_path, provider, slots=1).run(MINUTE, held)
        assert seen[0] == Progress()
        assert [one.done for one in seen] == sorted(one.done for one in seen)
        assert seen[4].done > 0
        assert held.progress == Progress(60.0, 60.0)

    def test_chunks_and_audio_are_counted(self, tmp_path: Path) -> None:
        process = Process(tmp_path, Provider())
        process.run(speech(9) + silence(30))
        process.run(speech(9) + silence(30))
        assert [process.sample("chunks_total", source=one) for one in ("paid", "cache")] == [1, 1]
        assert process.sample("chunks_total", source="silent") >= 2
        assert process.sample("audio_seconds_total") == pytest.approx(78.0)


class TestWindow:
    """How much of a recording is decoded ahead; a chunk's sound is held only as long as it is needed."""

    def test_while_nothing_is_answered_no_more_is_decoded_than_has_room(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = wire = OnTheWire()
        process = Process(tmp_path, provider, GERMAN, slots=2)
        decoded: list[int] = []
        full = threading.Event()

        def cuts() -> Iterator[Cut]:
            for one in cut([speech(130)], CHUNK_SECONDS):
                decoded.append(one.index)
                yield one

        with ThreadPoolExecutor(1) as jobs, process.pool.lane() as lane:
            has_room = lane.has_room

            def watched(held: int) -> bool:
                room = has_room(held)
                if not room:
                    full.set()
                return room

            lane.has_room = watched  # type: ignore[method-assign]
            recording = process.recording(lane)
            job = jobs.submit(recording.run, cuts(), lambda: None)
            assert full.wait(SOON)
            assert len(decoded) == AHEAD * 2 + 1, "and the next one at hand"
            wire.answer.set()
            assert len(job.result(SOON)) == len(decoded) > 12

    def test_one_slow_answer_holds_up_no_other_chunk_and_no_other_chunks_sound(self, tmp_path: Path) -> None:
        provider = Provider()
        last = threading.Event()

        def script(request: SpeechRequest) -> Answer:
            if request.filename == "chunk-00000.flac":
                assert last.wait(SOON)
            return answer(request)

        provider.script = script
        process = Process(tmp_path, provider, GERMAN, slots=2)
        most = 0
        with process.pool.lane() as lane:
            recording = process.recording(lane)

            def cuts() -> Iterator[Cut]:
                nonlocal most
                for one in cut([speech(130)], CHUNK_SECONDS):
                    most = max(most, sum(not isinstance(other, Chunk) for other in recording._pending))
                    yield one
                last.set()

            chunks = recording.run(cuts(), lambda: None)
        assert [chunk.span.index for chunk in chunks] == list(range(len(chunks)))
        assert most <= AHEAD * 2

    def test_a_recording_that_is_stored_already_is_not_held_in_memory(self, tmp_path: Path) -> None:
        Process(tmp_path, Provider(), GERMAN).run(speech(130))
        process = Process(tmp_path, Provider(), GERMAN, slots=2)
        with process.pool.lane() as lane:
            recording = process.recording(lane)
            for one in cut([speech(130)], CHUNK_SECONDS):
                recording._begin(one, None)
                assert recording._under_way() == 0
