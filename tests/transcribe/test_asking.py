"""One chunk: asked once, stored before it is used, and never again."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import FormatRefused, Interrupted, NeighbourDown, SubscriberError, Transient
from subscriber.model import ObjectInfo
from subscriber.transcribe import asking as module
from subscriber.transcribe.asking import Asking
from subscriber.transcript import Answer, ChunkText, Hints, SpeechRequest
from tests.transcribe.scene import OPTIONS, SOON, OnTheWire, Process, Provider, answer, nothing, speech

PCM = speech(3)
GONE = NeighbourDown("whisper", "model", "the model `whisper-1` has been deprecated")


def begin(process: Process, pcm: bytes = PCM, **how: Any) -> Asking:
    return process.asker.begin(process.pool.lane(), process.question(pcm, **how), nothing)


def ask(process: Process, pcm: bytes = PCM, **how: Any) -> ChunkText:
    return begin(process, pcm, **how).verdict.result(SOON)


class Slow(FolderObjects):
    """A folder that tells when it is called, and waits."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"out": folder})
        self.writing, self.write_on = threading.Event(), threading.Event()
        self.missed, self.miss_on = threading.Event(), threading.Event()

    def write(self, *args: Any, **options: Any) -> ObjectInfo:
        self.writing.set()
        assert self.write_on.wait(SOON)
        return super().write(*args, **options)

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        found = super().stat(bucket, name)
        if threading.current_thread().name == "slow":
            self.missed.set()
            assert self.miss_on.wait(SOON)
        return found


def test_a_verdict_is_stored_before_anybody_has_it(tmp_path: Path) -> None:
    objects = Slow(tmp_path)
    asking = begin(Process(tmp_path, Provider(), objects=objects))
    assert objects.writing.wait(SOON)
    assert not asking.verdict.done()
    objects.write_on.set()
    text = asking.verdict.result(SOON)
    (stored,) = (tmp_path / ".chunks").rglob("*.json")
    assert text.text in stored.read_text()


def test_a_second_run_asks_nothing_and_has_the_same_words(tmp_path: Path) -> None:
    provider = Provider()
    first = ask(Process(tmp_path, provider))
    again = begin(Process(tmp_path, provider))
    assert again.source == "cache"
    assert again.verdict.result(SOON) == first
    assert len(provider.requests) == 1


def test_the_same_sound_elsewhere_in_another_file_asks_nothing(tmp_path: Path) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider))
    ask(Process(tmp_path, provider), index=7, start=123.5)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"models": ("whisper-large-v3",)},
        {"hints": Hints("de")},
        {"hints": Hints(prompt="Names: Ada")},
        {"hints": Hints(keywords=("Ada",))},
        {"host": "other.example.com"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_asked_otherwise_is_asked_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider))
    ask(Process(tmp_path, provider, replace(OPTIONS, **change)))
    assert len(provider.requests) == 2


def test_a_salt_asks_anew_and_is_resumed_by_whoever_has_the_same(tmp_path: Path) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider))
    for salt in ("one", "two"):
        for _ in range(2):
            ask(Process(tmp_path, provider), salt=salt)
    assert len(provider.requests) == 3


@pytest.mark.parametrize("version", ["CUTTER_VERSION", "JUDGE_VERSION"])
def test_a_new_cutter_or_judge_asks_anew(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider))
    monkeypatch.setattr(module, version, 99)
    ask(Process(tmp_path, provider))
    assert len(provider.requests) == 2


@pytest.mark.parametrize("change", [{"stall_seconds": 60.0}, {"usd_per_minute": 1.0}])
def test_what_the_provider_does_not_hear_of_asks_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider))
    ask(Process(tmp_path, provider, replace(OPTIONS, **change)))
    assert len(provider.requests) == 1


def test_two_jobs_with_one_chunk_at_the_same_moment_share_one_request(tmp_path: Path) -> None:
    provider = Provider()
    provider.script = wire = OnTheWire()
    process = Process(tmp_path, provider)
    first = begin(process)
    assert wire.came.acquire(timeout=SOON)
    second = begin(process)
    wire.answer.set()
    assert first.verdict.result(SOON) == second.verdict.result(SOON)
    assert (first.source, second.source, len(provider.requests)) == ("paid", "cache", 1)


def test_an_answer_that_comes_while_the_cache_is_looked_into_is_not_paid_twice(tmp_path: Path) -> None:
    """The look finds nothing yet; when it returns, the other job's request has left the wire."""
    provider, objects = Provider(), Slow(tmp_path)
    provider.script = wire = OnTheWire()
    objects.write_on.set()
    process = Process(tmp_path, provider, objects=objects)
    first = begin(process)
    assert wire.came.acquire(timeout=SOON)
    second: Future[Asking] = Future()
    second.add_done_callback(lambda _: objects.missed.set())
    slow = threading.Thread(target=lambda: second.set_result(begin(process)), name="slow")
    slow.start()
    assert objects.missed.wait(SOON)
    wire.answer.set()
    first.verdict.result(SOON)
    objects.miss_on.set()
    second.result(SOON).verdict.result(SOON)
    assert len(provider.requests) == 1


def test_a_verdict_that_another_process_stored_meanwhile_is_taken(tmp_path: Path) -> None:
    ours, theirs = Provider(), Provider()
    ours.script = wire = OnTheWire(lambda request: answer(request, "ours"))
    theirs.script = lambda request: answer(request, "theirs")
    asking = begin(Process(tmp_path, ours))
    assert wire.came.acquire(timeout=SOON)
    ask(Process(tmp_path, theirs))
    wire.answer.set()
    assert asking.verdict.result(SOON).text == "theirs"


@pytest.mark.parametrize(("waits", "requests"), [("long", 0), ("not long", 1)])
def test_what_has_waited_long_for_a_slot_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: str, requests: int
) -> None:
    """Another pod, that was stopped with the chunk on the wire, may have stored it meanwhile."""
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0.0 if waits == "long" else SOON)
    ours = Provider()
    process = Process(tmp_path, ours, slots=1)
    with process.pool.lane() as lane:
        taken, free = threading.Event(), threading.Event()

        def hold() -> None:
            taken.set()
            assert free.wait(SOON)

        lane.submit(hold)
        assert taken.wait(SOON)
        waiting = process.asker.begin(lane, process.question(PCM), nothing)
        ask(Process(tmp_path, Provider()))
        free.set()
        wait([waiting.verdict], SOON)
        again = process.asker.begin(lane, process.question(PCM), nothing)
        assert (again.source, len(ours.requests)) == ("cache", requests)


def test_an_error_is_never_stored(tmp_path: Path) -> None:
    provider = Provider()
    provider.script = fails(Transient("bad_answer", "HTML"))
    with pytest.raises(Transient):
        ask(Process(tmp_path, provider))
    assert not list(tmp_path.rglob("*.json"))
    provider.script = answer
    assert ask(Process(tmp_path, provider)).text


def test_a_doubted_answer_is_stored_before_anybody_has_it(tmp_path: Path) -> None:
    provider, objects = Provider(), Slow(tmp_path)
    provider.script = lambda request: answer(request, "")
    process = Process(tmp_path, provider, objects=objects)
    asking = begin(process)
    assert objects.writing.wait(SOON)
    assert not asking.verdict.done()
    objects.write_on.set()
    assert (first := asking.verdict.result(SOON)).doubted
    assert process.cache.get(asking.key) == first


class Counting(FolderObjects):
    """A folder that counts how often somebody looks whether there is an object."""

    looks = 0

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        self.looks += 1
        return super().stat(bucket, name)


@pytest.mark.parametrize("said", [None, ""], ids=["a final verdict", "a doubted answer"])
def test_one_look_tells_what_is_known_of_a_chunk(tmp_path: Path, said: str | None) -> None:
    provider = Provider()
    provider.script = lambda request: answer(request, said)
    for source in ("paid", "cache"):
        objects = Counting({"out": tmp_path})
        asking = begin(Process(tmp_path, provider, objects=objects))
        assert (asking.source, objects.looks) == (source, 1)
        assert asking.verdict.result(SOON).doubted == (said == "")


def test_until_its_halves_are_judged_whoever_needs_it_has_the_doubtful_answer(tmp_path: Path) -> None:
    provider = Provider()
    provider.script = lambda request: answer(request, "")
    process = Process(tmp_path, provider)
    asking = begin(process)
    first = asking.verdict.result(SOON)
    second, elsewhere = begin(process), begin(Process(tmp_path, provider))
    assert [(one.source, one.verdict.result(SOON)) for one in (second, elsewhere)] == [("cache", first)] * 2
    final = replace(first, text="in halves", doubted=False)
    assert process.asker.settle(asking.question, lambda: (final, "paid")) == (final, "paid", asking.key)
    assert process.asker.settle(asking.question, lambda: (first, "paid")) == (final, "cache", asking.key)
    third = begin(process)
    assert third.verdict.result(SOON) == final
    assert len(provider.requests) == 1


def test_what_earlier_versions_have_stored_is_found_by_its_name(tmp_path: Path) -> None:
    question = replace(Process(tmp_path, Provider()).question(b"\0\1" * 16_000), source_id="any")
    key = Process(tmp_path, Provider()).asker._key(question)
    assert key == "b081ebc4bb4a1235cd428b637eeb24ab5bdda9e05e7eb3ab92c5efcbc859933a"


def test_the_limit_of_a_request_grows_with_its_sound_up_to_half_of_a_stall(tmp_path: Path) -> None:
    provider = Provider()
    process = Process(tmp_path, provider, replace(OPTIONS, stall_seconds=190.0))
    for seconds in (2, 3, 8):
        ask(process, speech(seconds))
    assert [request.timeout_seconds for request in provider.requests] == [80.0, 90.0, 95.0]


def test_the_provider_learns_a_chunks_number_and_no_name(tmp_path: Path) -> None:
    provider = Provider()
    ask(Process(tmp_path, provider), index=12)
    assert [request.filename for request in provider.requests] == ["chunk-00012.wav"]


def test_what_is_sent_is_named_by_its_container(tmp_path: Path) -> None:
    provider = Provider()
    for seconds in (3, 8):
        ask(Process(tmp_path, provider), speech(seconds))
    sent = [(request.filename.partition(".")[2], request.data[:4]) for request in provider.requests]
    assert sent == [("wav", b"RIFF"), ("flac", b"fLaC")]


def test_every_request_is_counted_with_its_price(tmp_path: Path) -> None:
    process = Process(tmp_path, Provider(), replace(OPTIONS, usd_per_minute=0.6))
    ask(process)
    assert process.sample("billed_seconds_total", model="whisper-1") == 3.0
    assert process.sample("cost_usd_total", model="whisper-1") == pytest.approx(0.03)


@pytest.mark.parametrize(
    "failure", [Transient("no_answer", "no answer"), NeighbourDown("whisper", "unavailable", "504", maybe_billed=True)]
)
def test_an_answer_that_never_came_counts_as_possibly_billed(tmp_path: Path, failure: SubscriberError) -> None:
    provider = Provider()
    provider.script = fails(failure)
    process = Process(tmp_path, provider)
    with pytest.raises(type(failure)):
        ask(process)
    assert process.sample("possibly_billed_seconds_total", model="whisper-1") == 3.0
    assert process.sample("billed_seconds_total", model="whisper-1") == 0.0


class TestModels:
    def test_the_first_is_asked_and_a_file_keeps_the_one_that_it_began_with(self, tmp_path: Path) -> None:
        asker = Process(tmp_path, Provider(), replace(OPTIONS, models=("gpt-transcribe", "whisper-1"))).asker
        assert asker.model(None) == "gpt-transcribe"
        assert asker.model("whisper-1") == "whisper-1"
        assert asker.model("no-longer-configured") == "gpt-transcribe"

    def test_when_one_is_gone_the_job_begins_anew_with_the_next(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provider = Provider()
        provider.script = fails(GONE)
        process = Process(tmp_path, provider, replace(OPTIONS, models=("whisper-1", "gpt-transcribe")))
        with pytest.raises(Interrupted, match="gpt-transcribe"):
            ask(process)
        assert process.asker.model("whisper-1") == process.asker.model(None) == "gpt-transcribe"
        assert "model_gone" in "".join(capsys.readouterr())
        gone = [process.sample("model_gone", model=model) for model in ("whisper-1", "gpt-transcribe")]
        assert gone == [1, 0]

    def test_also_when_the_file_had_begun_with_the_last_one(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = fails(GONE)
        process = Process(tmp_path, provider, replace(OPTIONS, models=("gpt-transcribe", "whisper-1")))
        question = replace(process.question(PCM), model="whisper-1")
        with pytest.raises(Interrupted, match="gpt-transcribe"):
            process.asker._ask(question)

    def test_when_none_is_left_the_provider_is_of_no_use(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = fails(GONE)
        with pytest.raises(NeighbourDown, match="deprecated"):
            ask(Process(tmp_path, provider))

    @pytest.mark.parametrize("reason", ["forbidden", "unavailable", "billing"])
    def test_no_other_refusal_costs_a_model_its_place(self, tmp_path: Path, reason: str) -> None:
        provider = Provider()
        provider.script = fails(NeighbourDown("whisper", reason, "404"))
        process = Process(tmp_path, provider, replace(OPTIONS, models=("whisper-1", "gpt-transcribe")))
        with pytest.raises(NeighbourDown):
            ask(process)
        assert process.asker.model(None) == "whisper-1"


class TestFormats:
    def test_what_a_model_refuses_is_not_asked_for_again(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = text_only
        process = Process(tmp_path, provider, replace(OPTIONS, models=("mine",)))
        with pytest.raises(Transient, match="refused"):
            ask(process)
        assert ask(process).timing == "estimated"
        ask(process, speech(2))
        assert provider.told("response_format") == ["verbose_json", "json", "json"]

    def test_a_model_that_refuses_its_only_format_is_no_use_and_no_endless_loop(self, tmp_path: Path) -> None:
        provider = Provider()
        provider.script = fails(FormatRefused("no verbose_json"))
        with pytest.raises(NeighbourDown, match="refuses verbose_json"):
            ask(Process(tmp_path, provider))


def fails(error: Exception) -> Any:
    def script(_: SpeechRequest) -> Answer:
        raise error

    return script


def text_only(request: SpeechRequest) -> Answer:
    """A server that knows no segments."""
    if request.fields["response_format"] != "json":
        raise FormatRefused("verbose_json is refused")
    return replace(answer(request), segments=())
