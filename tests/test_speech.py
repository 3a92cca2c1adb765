"""One recording, one request: what is refused unsent, what the provider is told, what an answer costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from subscriber.drain import Drain
from subscriber.errors import ClaimLost, NeighbourDown, Permanent, RateLimited, Transient
from subscriber.metrics import Metrics
from subscriber.model import ObjectInfo
from subscriber.outage import OWN_FAILURES, Outages
from subscriber.transcribe.pool import SlotPool
from subscriber.transcribe.profiles import MAX_REQUEST_BYTES
from subscriber.transcribe.speech import Speech, SpeechOptions
from subscriber.transcript import Answer, SpeechRequest

RECORDING = ObjectInfo("bucket", "calls/one.wav", 1, 3200, "audio/wav")
ANSWER = Answer("hello", "english", 90.0, (), (), "whisper-1", "req_1", None)
MODELS = ("whisper-1", "gpt-transcribe", "unheard-of")


class Provider:
    """A Transcriber in memory: says `answers` one after the other, the last one for ever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[SpeechRequest] = []

    def check(self) -> None: ...

    def probe(self) -> None: ...

    def transcribe(self, request: SpeechRequest) -> Answer:
        self.requests.append(request)
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(said, Exception):
            raise said
        return said


Ours = Callable[[], None]


class Desk:
    """A Speech with everything around it."""

    def __init__(self, *answers: Answer | Exception, **options: object) -> None:
        self.metrics = Metrics(MODELS)
        self.provider = Provider(*(answers or (ANSWER,)))
        drain = Drain(60.0)
        pool = SlotPool(1, None, drain, self.metrics)
        outages = Outages({"whisper": self.provider.probe}, drain, self.metrics)
        chosen = replace(SpeechOptions("whisper-1"), **options)  # type: ignore[arg-type]
        self.speech = Speech(self.provider, pool, outages, chosen, self.metrics)

    def asked(self, recording: ObjectInfo = RECORDING, data: bytes = b"sound") -> SpeechRequest:
        """What the provider is told of a recording."""
        self.speech.transcribe(recording, data, lambda: None)
        return self.provider.requests[-1]

    def counted(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"subscriber_{name}_total", labels)


def rows(*table: tuple[object, ...]) -> list[object]:
    return [pytest.param(*row[1:], id=str(row[0])) for row in table]


@pytest.mark.parametrize(("size", "reason"), [(0, "empty"), (MAX_REQUEST_BYTES + 1, "too_large")])
def test_what_no_request_can_take_is_refused_before_a_byte_is_fetched(size: int, reason: str) -> None:
    with pytest.raises(Permanent) as refused:
        Desk().speech.require_sendable(replace(RECORDING, size=size))
    assert refused.value.reason == reason


@pytest.mark.parametrize("size", [1, MAX_REQUEST_BYTES])
def test_what_one_request_can_take_is_let_through(size: int) -> None:
    Desk().speech.require_sendable(replace(RECORDING, size=size))


@pytest.mark.parametrize(
    ("name", "content_type", "filename"),
    rows(
        ("an ending that the provider knows", "calls/one.wav", "", "audio.wav"),
        ("in capitals", "calls/ONE.MP3", "", "audio.mp3"),
        ("opus is refused, the same bytes as ogg pass", "one.opus", "", "audio.ogg"),
        ("oga", "one.oga", "", "audio.ogg"),
        ("an audio book", "one.m4b", "", "audio.m4a"),
        ("a video of a shop", "one.m4v", "", "audio.mp4"),
        ("the name says more than the type", "one.flac", "audio/wav", "audio.flac"),
        ("the type, where the name is silent", "1234", "audio/x-wav", "audio.wav"),
        ("a type with parameters", "1234", "Audio/OGG; codecs=opus", "audio.ogg"),
        ("a type of video", "1234", "video/mp4", "audio.mp4"),
        ("neither says anything", "1234", "application/octet-stream", "audio"),
        ("a type that nobody knows", "1234", "audio/x-secret", "audio"),
        ("a name that is all ending", "calls/.mp3", "", "audio.mp3"),
        ("only the last ending counts", "one.mp3.wav", "", "audio.wav"),
    ),
)
def test_the_providers_file_name_has_the_ending_of_the_container(name: str, content_type: str, filename: str) -> None:
    assert Desk().asked(replace(RECORDING, name=name, content_type=content_type)).filename == filename


@pytest.mark.parametrize("name", ["Anna K. Smith 12.03.1990", "call.with dr. müller", 'a."\r\nX-Evil: 1', "a.🎧"])
def test_nothing_of_the_objects_name_but_a_known_ending_reaches_the_provider(name: str) -> None:
    assert Desk().asked(replace(RECORDING, name=name)).filename == "audio.wav"
    assert Desk().asked(replace(RECORDING, name=name, content_type="")).filename == "audio"
    assert Desk().asked(replace(RECORDING, name=f"{name}.mp3")).filename == "audio.mp3"


def test_a_request_carries_the_bytes_the_model_and_the_operators_hints() -> None:
    request = Desk(language="de", prompt="Namen: Öztürk").asked(data=b"these bytes")
    assert (request.data, request.model) == (b"these bytes", "whisper-1")
    assert (request.language, request.prompt) == ("de", "Namen: Öztürk")
    assert Desk().asked().language is None


@pytest.mark.parametrize(
    ("megabytes", "seconds"), [(0, 60.0), (3, 60.0), (3.5, 70.0), (25, 500.0)], ids=lambda value: f"{value:g}"
)
def test_the_limit_of_a_request_grows_with_its_size(megabytes: float, seconds: float) -> None:
    assert Desk().asked(data=bytes(int(megabytes * 2**20))).timeout_seconds == seconds


def test_no_request_is_given_longer_than_a_job_may_stall() -> None:
    assert Desk(longest_request_seconds=45.0).asked(data=bytes(25 * 2**20)).timeout_seconds == 45.0


@pytest.mark.parametrize(
    ("answer", "usd_per_minute", "billed", "cost"),
    rows(
        ("billed by what the provider says", replace(ANSWER, billed_seconds=120.0), None, 120.0, 0.012),
        ("by the length, where it says nothing", ANSWER, None, 90.0, 0.009),
        ("another model has another price", replace(ANSWER, model="gpt-transcribe"), None, 90.0, 0.00675),
        ("the operator's price counts more", ANSWER, 0.02, 90.0, 0.03),
        ("a price of nothing is a price", ANSWER, 0.0, 90.0, 0.0),
        ("an unknown price is no cost of 0", replace(ANSWER, model="unheard-of"), None, 90.0, None),
        ("unknown, but told by the operator", replace(ANSWER, model="unheard-of"), 0.04, 90.0, 0.06),
        ("an unknown length costs nobody knows what", replace(ANSWER, duration=None), None, None, None),
        ("a length of nothing costs nothing", replace(ANSWER, duration=0.0), None, 0.0, 0.0),
        ("nothing was billed", replace(ANSWER, billed_seconds=0.0), None, 0.0, 0.0),
    ),
)
def test_what_an_answer_costs(
    answer: Answer, usd_per_minute: float | None, billed: float | None, cost: float | None
) -> None:
    desk = Desk(answer, usd_per_minute=usd_per_minute)
    transcript = desk.speech.transcribe(RECORDING, b"sound", lambda: None)
    assert (transcript.text, transcript.duration, transcript.model) == (answer.text, answer.duration, answer.model)
    assert transcript.billed_seconds == billed
    assert transcript.cost_usd == pytest.approx(cost)
    assert desk.counted("audio_seconds") == (answer.duration or 0)
    assert desk.counted("billed_seconds", model=answer.model) == (billed or 0)
    assert desk.counted("cost_usd", model=answer.model) == pytest.approx(cost or 0)


def test_transcripts_that_were_asked_for_alike_have_the_same_fingerprint() -> None:
    base = SpeechOptions("whisper-1", language="en", prompt="names")
    assert base.fingerprint == replace(base, usd_per_minute=1.0, longest_request_seconds=1.0).fingerprint
    others = [replace(base, model="gpt-transcribe"), replace(base, language=None), replace(base, prompt="")]
    shifted = SpeechOptions("whisper-1", language="names", prompt="en")
    fingerprints = {one.fingerprint for one in (base, *others, shifted, replace(base, prompt="Namen: Öztürk"))}
    assert len(fingerprints) == 6
    assert Desk().speech.transcribe(RECORDING, b"", lambda: None).fingerprint == SpeechOptions("whisper-1").fingerprint


def test_the_fingerprint_of_a_setting_never_changes() -> None:
    """It stands in outputs and records: made in a new way it would say that all of them were asked for otherwise."""
    assert SpeechOptions("whisper-1").fingerprint == "82484702a2a91350"


def test_right_before_each_request_the_claim_is_asked_for() -> None:
    desk = Desk(RateLimited(0.0, "slow down"), NeighbourDown("whisper", "unavailable", "a 500"), ANSWER)
    asked: list[int] = []
    desk.speech.transcribe(RECORDING, b"sound", lambda: asked.append(len(desk.provider.requests)))
    assert asked == [0, 1, 2]


def test_a_lost_claim_pays_for_nothing_more() -> None:
    desk = Desk(RateLimited(0.0, "slow down"), ANSWER)

    def lost_after_the_first() -> None:
        if desk.provider.requests:
            raise ClaimLost("taken over")

    with pytest.raises(ClaimLost):
        desk.speech.transcribe(RECORDING, b"sound", lost_after_the_first)
    assert len(desk.provider.requests) == 1


@pytest.mark.parametrize("error", [Permanent("audio_rejected", "x"), Transient("timeout", "x")])
def test_a_verdict_or_a_failure_is_not_asked_for_again(error: Exception) -> None:
    desk = Desk(error)
    with pytest.raises(type(error)):
        desk.asked()
    assert len(desk.provider.requests) == 1
    assert desk.counted("audio_seconds") == 0


def test_a_file_that_the_provider_always_fails_for_is_that_files_own_failure() -> None:
    desk = Desk(NeighbourDown("whisper", "unavailable", "a 500"))
    with pytest.raises(Transient) as failed:
        desk.asked()
    assert failed.value.reason == "provider_error"
    assert len(desk.provider.requests) == OWN_FAILURES
