"""A provider that fails in every way: the right remedy after one request, and never the key in a word of ours."""

from __future__ import annotations

import io
import json
import math
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from subscriber.adapters import openai_api
from subscriber.adapters.local_whisper import LocalWhisper
from subscriber.adapters.openai_api import OpenAITranscriber
from subscriber.answers import LONGEST_ANSWER_BYTES
from subscriber.backoff import DEFAULT_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from subscriber.emulators import free_port
from subscriber.errors import (
    ConfigError,
    FormatRefused,
    NeighbourDown,
    Permanent,
    RateLimited,
    SubscriberError,
    Transient,
)
from subscriber.metrics import Metrics
from subscriber.recordings import recordings
from subscriber.transcribe.profiles import Fields
from subscriber.transcript import Answer, Segment, SpeechRequest, Word
from subscriber.whisper_server import Control, Server, StubEngine
from subscriber.whisper_server.kinds import BREAKS, KINDS, MANGLED, REFUSALS
from tests.daemon import until
from tests.valve import Valve

KEY = "sk-test-0123456789abcdef"
LIMIT_SECONDS = 10.0
"""Of a request that is answered at once."""
MODELS = ("whisper-1", "gpt-transcribe")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(MODELS)


@pytest.fixture
def transcriber(server: Server, metrics: Metrics, control: Control) -> Iterator[OpenAITranscriber]:  # noqa: ARG001
    with transcriber_of(server.url, metrics) as made:
        yield made


@contextmanager
def transcriber_of(url: str, metrics: Metrics | None = None, *, key: str | None = KEY) -> Iterator[OpenAITranscriber]:
    with closing(OpenAITranscriber(api_key=key, base_url=f"{url}/v1", metrics=metrics or Metrics(MODELS))) as made:
        yield made


def sound(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(b"\1\0" * int(seconds * 16_000))
    return file.getvalue()


SOUND = sound()
TIMED: Fields = {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}


def ask(transcriber: OpenAITranscriber, **more: Any) -> Answer:
    given: dict[str, Any] = {
        "data": SOUND,
        "filename": "audio.wav",
        "model": "whisper-1",
        "seconds": 1,
        "fields": TIMED,
    }
    return transcriber.transcribe(SpeechRequest(**(given | more)))


def told(error: SubscriberError) -> tuple[Any, ...]:
    """The remedy: the kind of error and what it is decided by."""
    match error:
        case RateLimited():
            return RateLimited, error.seconds
        case NeighbourDown():
            return NeighbourDown, error.neighbour, error.reason
        case Permanent() | Transient():
            return type(error), error.reason
    return (type(error),)


def refusal(transcriber: OpenAITranscriber, **more: Any) -> SubscriberError:
    with pytest.raises(SubscriberError) as refused:
        ask(transcriber, **more)
    return refused.value


REMEDIES: dict[str, tuple[Any, ...]] = {
    "rate_limit": (RateLimited, DEFAULT_WAIT_SECONDS),
    "quota": (NeighbourDown, "whisper", "billing"),
    "unauthorized": (NeighbourDown, "whisper", "forbidden"),
    "forbidden": (NeighbourDown, "whisper", "forbidden"),
    "server_error": (NeighbourDown, "whisper", "unavailable"),
    "down": (NeighbourDown, "whisper", "unavailable"),
    "too_large": (Permanent, "too_large"),
    "too_long": (Permanent, "too_long"),
    "model_gone": (NeighbourDown, "whisper", "model"),
    "refuse_verbose": (FormatRefused,),
    "html": (Transient, "bad_answer"),
    "drop": (Transient, "no_answer"),
    "drop_upload": (Transient, "no_answer"),
    "hang": (Transient, "no_answer"),
    "trickle": (Transient, "no_answer"),
    "million": (Transient, "no_answer"),
}
BELIEVED = KINDS - REMEDIES.keys()
RESULTS = {
    Permanent: "rejected",
    Transient: "failed",
    RateLimited: "rate_limited",
    NeighbourDown: "down",
    FormatRefused: "failed",
}


def test_every_fault_of_the_server_has_its_row_here() -> None:
    assert REMEDIES.keys() | BELIEVED == KINDS
    assert set(REFUSALS) | BREAKS <= REMEDIES.keys()
    assert set(MANGLED) >= BELIEVED


@pytest.mark.parametrize("fault", sorted(REMEDIES))
def test_every_way_to_fail_is_named_by_its_remedy_after_one_request(
    transcriber: OpenAITranscriber, control: Control, metrics: Metrics, fault: str
) -> None:
    """A repetition that the SDK makes by itself is paid for, and nobody decides it."""
    control.mode(fault)
    error = refusal(transcriber, timeout_seconds=0.5 if fault in {"hang", "trickle"} else 30.0)
    assert told(error) == REMEDIES[fault]
    status = control.status()
    assert status["received"] + status["dropped_uploads"] == 1
    assert KEY not in str(error)
    assert counted(metrics) == {("whisper-1", RESULTS[type(error)]): 1.0}
    assert metrics.registry.get_sample_value("subscriber_whisper_request_seconds_count", {"model": "whisper-1"}) == 1


@pytest.mark.parametrize("fault", sorted(BELIEVED))
def test_what_has_the_promised_shape_is_believed(
    transcriber: OpenAITranscriber, control: Control, metrics: Metrics, fault: str
) -> None:
    """Nonsense of the right shape is for the guards, missing and impossible times too: the words are paid for."""
    control.fault(fault)
    assert isinstance(ask(transcriber), Answer)
    assert control.status()["received"] == 1
    assert counted(metrics) == {("whisper-1", "ok"): 1.0}


def test_an_answer_is_carried_whole(transcriber: OpenAITranscriber) -> None:
    answer = ask(transcriber, data=sound(2.5))
    assert (answer.language, answer.duration, answer.model, answer.billed_seconds) == ("english", 2.5, "whisper-1", 3.0)
    (segment,) = answer.segments
    assert segment == Segment(0.0, 2.5, f" {answer.text}", -0.2, 0.01, 1.0)
    assert answer.request_id
    assert answer.request_id.startswith("req_")


def test_a_model_without_times_is_asked_for_text_alone(server: Server, control: Control) -> None:
    with transcriber_of(server.url) as text_only:
        answer = ask(text_only, model="gpt-transcribe", fields={"response_format": "json"})
    assert answer.text.startswith("speech ")
    assert (answer.segments, answer.words, answer.language, answer.duration) == ((), (), None, None)
    assert control.status()["requests"][-1]["response_format"] == "json"


def test_a_hanging_request_does_not_hold_up_the_next_one(transcriber: OpenAITranscriber, control: Control) -> None:
    control.fault("hang")
    assert told(refusal(transcriber, timeout_seconds=0.3)) == (Transient, "no_answer")
    assert ask(transcriber).text.startswith("speech ")


def test_the_limit_of_a_request_is_one_of_the_whole_answer(transcriber: OpenAITranscriber, control: Control) -> None:
    """The library's own is for each read: a provider that trickles bytes would hold its slot for ever."""
    control.fault("trickle")
    assert "did not answer in time" in str(refusal(transcriber, timeout_seconds=0.3))


@pytest.mark.parametrize("fault", ["drop", "drop_upload"])
def test_a_broken_connection_tells_how_it_broke(transcriber: OpenAITranscriber, control: Control, fault: str) -> None:
    control.fault(fault)
    assert str(refusal(transcriber)).startswith("the connection broke: ")


WAITS: list[tuple[str, float | str | None, float]] = [
    ("not said", None, DEFAULT_WAIT_SECONDS),
    ("in milliseconds", 1.25, 1.25),
    ("in seconds", "7", 7.0),
    ("in fractions of a second", "0.5", 0.5),
    ("longer than we wait for anybody", "86400", LONGEST_WAIT_SECONDS),
    ("for no time at all", "0", DEFAULT_WAIT_SECONDS),
    ("for less than no time", "-5", DEFAULT_WAIT_SECONDS),
    ("for ever", "inf", DEFAULT_WAIT_SECONDS),
    ("for no number", "nan", DEFAULT_WAIT_SECONDS),
    ("in words", "soon", DEFAULT_WAIT_SECONDS),
    ("as a date that is over", "Wed, 21 Oct 2015 07:28:00 GMT", DEFAULT_WAIT_SECONDS),
    ("as a date without a zone that is over", "Wed, 21 Oct 2015 07:28:00", DEFAULT_WAIT_SECONDS),
    ("as a date without a zone", "Wed, 21 Oct 2065 07:28:00 -0000", LONGEST_WAIT_SECONDS),
    ("as a date in ten thousand years", "Wed, 21 Oct 12026 07:28:00 GMT", DEFAULT_WAIT_SECONDS),
    ("as a date of another calendar", "Wed, 31 Feb 2026 07:28:00 GMT", DEFAULT_WAIT_SECONDS),
    ("in a zone beyond the world", "Wed, 21 Oct 2026 07:28:00 +99999999999999", DEFAULT_WAIT_SECONDS),
    ("at an hour beyond numbers", "Wed, 21 Oct 2026 99999999999999999999:28:00 GMT", DEFAULT_WAIT_SECONDS),
]


@pytest.mark.parametrize(("retry_after", "seconds"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS])
def test_the_wait_that_the_provider_asks_for(
    transcriber: OpenAITranscriber, control: Control, retry_after: float | str | None, seconds: float
) -> None:
    """Never none at all: every slot would ask again at once, and again."""
    control.fault("rate_limit", retry_after=retry_after)
    assert told(refusal(transcriber)) == (RateLimited, seconds)


def test_a_wait_until_a_date_ends_then(transcriber: OpenAITranscriber, control: Control) -> None:
    date = datetime.now(UTC) + timedelta(seconds=60)
    control.fault("rate_limit", retry_after=format_datetime(date, usegmt=True))
    error = refusal(transcriber)
    assert isinstance(error, RateLimited)
    assert 45 < error.seconds <= 60


def test_a_date_that_names_no_zone_is_in_gmt_wherever_we_are(
    transcriber: OpenAITranscriber,
    control: Control,
    far_from_greenwich: None,  # noqa: ARG001 - where we are
) -> None:
    date = datetime.now(UTC) + timedelta(seconds=60)
    control.fault("rate_limit", retry_after=f"{date:%a, %d %b %Y %H:%M:%S}")
    error = refusal(transcriber)
    assert isinstance(error, RateLimited)
    assert 45 < error.seconds <= 60


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XST+9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# A provider that says what the test has it say


@dataclass
class Said:
    """One HTTP answer, told to whoever asks for anything."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    asked: list[str] = field(default_factory=list)
    """The Authorization header of each request."""


@contextmanager
def provider(said: Said) -> Iterator[str]:
    """A server of its own; the body may hold {key}, which becomes the key that it was asked with."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._say()

        def _say(self) -> None:
            said.asked.append(self.headers["authorization"])
            key = self.headers["authorization"].removeprefix("Bearer ")
            body = said.body.replace(b"{key}", key.encode())
            self.send_response(said.status)
            for name, value in {**said.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()
            thread.join()


def refused_by(status: int, message: str, code: str | None = None) -> Said:
    return Said(status, json.dumps({"error": {"message": message, "type": "x", "code": code}}).encode())


def verbose(**changes: Any) -> Said:
    segment = {"start": 0.0, "end": 1.0, "text": "hi", "avg_logprob": -0.1}
    answer = {"text": "hi", "language": "english", "duration": 1.0, "segments": [segment]}
    return Said(200, json.dumps(answer | changes).encode())


SENTENCES: list[tuple[int, str, str | None, tuple[Any, ...]]] = [
    (400, "The audio file could not be decoded or its format is not supported.", None, (Permanent, "audio_rejected")),
    (400, "Audio file might be corrupted or unsupported", "invalid_value", (Permanent, "audio_rejected")),
    (400, "Invalid file format. Supported formats: ['flac', 'm4a']", None, (Permanent, "audio_rejected")),
    (400, "Audio file is too short. Minimum is 0.1 seconds.", "audio_too_short", (Permanent, "audio_rejected")),
    (400, "could not decode the audio", None, (Permanent, "audio_rejected")),
    (400, "Failed to read the uploaded media file", None, (Permanent, "audio_rejected")),
    (400, "the file holds no audio", "invalid_file_format", (Permanent, "audio_rejected")),
    (400, "The request could not be processed", None, (NeighbourDown, "whisper", "unavailable")),
    (
        400,
        "Your client has issued a malformed request that cannot be read.",
        None,
        (NeighbourDown, "whisper", "unavailable"),
    ),
    (400, "no audio models are enabled", None, (NeighbourDown, "whisper", "unavailable")),
    (400, "audio duration 1535 seconds is longer than 1400 seconds", None, (Permanent, "too_long")),
    (400, "unknown parameter", "unknown_parameter", (NeighbourDown, "whisper", "unavailable")),
    (422, "field required", None, (NeighbourDown, "whisper", "unavailable")),
    (404, "The model `whisper-1` does not exist", "model_not_found", (NeighbourDown, "whisper", "model")),
    (404, "The model whisper-1 has been deprecated", None, (NeighbourDown, "whisper", "model")),
    (404, "no such route", None, (NeighbourDown, "whisper", "unavailable")),
    (402, "payment required", None, (NeighbourDown, "whisper", "unavailable")),
    (429, "your account is not active", "billing_not_active", (NeighbourDown, "whisper", "billing")),
    (429, "x", "credit_balance_exhausted", (NeighbourDown, "whisper", "billing")),
    (429, "x", "project_spend_limit_exceeded", (NeighbourDown, "whisper", "billing")),
    (429, "x", "organization_usage_limit_exceeded", (NeighbourDown, "whisper", "billing")),
    (400, "x", "billing_hard_limit_reached", (NeighbourDown, "whisper", "billing")),
    (403, "x", "insufficient_quota", (NeighbourDown, "whisper", "billing")),
    (429, "slow down", "slow_down", (RateLimited, DEFAULT_WAIT_SECONDS)),
    (502, "bad gateway", None, (NeighbourDown, "whisper", "unavailable")),
    (503, "overloaded", None, (NeighbourDown, "whisper", "unavailable")),
    (504, "gateway time-out", None, (NeighbourDown, "whisper", "unavailable")),
    (524, "a timeout occurred", None, (NeighbourDown, "whisper", "unavailable")),
]


@pytest.mark.parametrize(("status", "message", "code", "remedy"), SENTENCES)
def test_the_providers_words_decide_and_what_nobody_knows_is_no_verdict(
    status: int, message: str, code: str | None, remedy: tuple[Any, ...]
) -> None:
    said = refused_by(status, message, code)
    with provider(said) as url, transcriber_of(url) as transcriber:
        assert told(refusal(transcriber)) == remedy
    assert len(said.asked) == 1


@pytest.mark.parametrize(("status", "maybe_billed"), [(500, False), (502, False), (504, True), (524, True)])
def test_what_a_gateway_gave_up_waiting_for_may_have_been_billed(status: int, maybe_billed: bool) -> None:
    with provider(refused_by(status, "no answer in time")) as url, transcriber_of(url) as transcriber:
        outage = refusal(transcriber)
    assert isinstance(outage, NeighbourDown)
    assert outage.maybe_billed is maybe_billed


def test_a_connection_that_was_idle_is_not_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten by a NAT, it would swallow a request until its limit, and that request may count as billed."""
    monkeypatch.setattr(openai_api, "IDLE_SECONDS", 0.05)
    with Valve(server.url.removeprefix("http://")) as valve, transcriber_of(f"http://{valve.address}") as transcriber:
        ask(transcriber)
        idle_since = time.monotonic()
        valve.forget()
        until(lambda: time.monotonic() - idle_since > 2 * openai_api.IDLE_SECONDS, "it was idle for too long")
        ask(transcriber, timeout_seconds=LIMIT_SECONDS)


@pytest.mark.parametrize("key", [KEY, "gsk_0123456789abcdef", "a+b.c/d=0123456789"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500])
def test_a_key_that_the_provider_repeats_is_in_no_error(status: int, key: str) -> None:
    said = refused_by(status, "Incorrect API key provided: {key}. You sent Bearer {key}, that is {key}.", "{key}")
    with provider(said) as url, transcriber_of(url, key=key) as transcriber:
        texts = [str(refusal(transcriber))]
        for check in (transcriber.check, partial(transcriber.probe, "whisper-1", TIMED)):
            try:
                check()
            except SubscriberError as error:
                texts.append(str(error))
    assert said.asked[0] == f"Bearer {key}"
    assert not [text for text in texts if key in text]


def test_a_word_that_serves_as_key_is_no_secret() -> None:
    with provider(refused_by(500, "there is none")) as url, transcriber_of(url, key="none") as transcriber:
        assert "there is none" in str(refusal(transcriber))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>" + b"x" * 1_000_000,
        b'{"error": {"message": "' + b"two\\nlines " * 100_000 + b'"}}',
        b'{"error": "no object"}',
        b'{"error": null}',
        b"[1]",
        b"\xff\xfe",
        b"[" * 10_000,
    ],
    ids=lambda body: ascii(body[:12]),
)
def test_a_refusal_in_any_words_is_short_and_has_a_remedy(body: bytes) -> None:
    with provider(Said(500, body)) as url, transcriber_of(url) as transcriber:
        error = refusal(transcriber)
    assert told(error) == (NeighbourDown, "whisper", "unavailable")
    assert len(str(error)) <= 500
    assert "\n" not in str(error)


def test_words_that_no_store_takes_are_mended() -> None:
    """A record or an error file with half a surrogate pair could never be written: its job would never end."""
    with provider(Said(413, b'{"error": {"message": "too \\ud83c large"}}')) as url, transcriber_of(url) as transcriber:
        assert str(refusal(transcriber)).encode() == b"413 too ? large"


@pytest.mark.parametrize(
    ("languages", "language", "told"),
    [
        ([{"code": "de"}, {"code": "en"}], None, "de"),
        ([{"code": "de"}], "english", "english"),
        ([], None, None),
        (["de"], None, None),
        ([{"name": "german"}], None, None),
        ([{"code": 49}], None, None),
        ({"code": "de"}, None, None),
        (None, None, None),
    ],
)
def test_the_language_may_be_the_first_of_a_list(languages: Any, language: str | None, told: str | None) -> None:
    """A paid answer is not thrown away because this hint is odd."""
    with provider(verbose(languages=languages, language=language)) as url, transcriber_of(url) as transcriber:
        assert ask(transcriber).language == told


ODD: dict[str, Said] = {
    "segments of another kind": verbose(segments={"start": 0.0}),
    "no text": verbose(text=None),
    "a text that is none": verbose(text=5),
    "segments without times": verbose(segments=[{"text": "hi"}]),
    "words without times": verbose(words=[{"word": "hi"}]),
    "half a surrogate pair": Said(200, b'{"text": "\\ud83c", "segments": []}'),
    "an array": Said(200, b"[]"),
    "null": Said(200, b"null"),
    "nothing": Said(200, b""),
    "half of it": Said(200, verbose().body[:-1]),
    "invalid UTF-8": Said(200, b'{"text": "\xff", "segments": []}'),
    "10,000 brackets": Said(200, b"[" * 10_000),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_without_the_promised_shape_is_not_believed(odd: str) -> None:
    with provider(ODD[odd]) as url, transcriber_of(url) as transcriber:
        assert told(refusal(transcriber)) == (Transient, "bad_answer")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "much",
        [1],
        {"seconds": "many"},
        {"seconds": -1},
        {"seconds": math.nan},
        {"seconds": math.inf},
        {"seconds": None},
    ],
    ids=str,
)
def test_an_odd_bill_spoils_no_answer_that_is_paid_for(usage: object) -> None:
    with provider(verbose(usage=usage)) as url, transcriber_of(url) as transcriber:
        answer = ask(transcriber)
    assert (answer.text, answer.billed_seconds) == ("hi", None)


@pytest.mark.parametrize(("seconds", "billed"), [(0, 0.0), (3, 3.0), (2.5, 2.5)])
def test_a_bill_is_believed(seconds: float, billed: float) -> None:
    with provider(verbose(usage={"type": "duration", "seconds": seconds})) as url, transcriber_of(url) as transcriber:
        assert ask(transcriber).billed_seconds == billed


@pytest.mark.parametrize("seconds", [math.nan, math.inf, "long", [], None], ids=str)
def test_an_odd_length_is_unknown_and_spoils_no_answer(seconds: object) -> None:
    with provider(verbose(duration=seconds)) as url, transcriber_of(url) as transcriber:
        answer = ask(transcriber)
    assert (answer.text, answer.duration) == ("hi", None)


@pytest.mark.parametrize("figure", [math.nan, math.inf, "high", [], None], ids=str)
def test_an_odd_figure_of_a_segment_is_unknown_and_spoils_no_answer(figure: object) -> None:
    """NaN is what some servers say; in our own JSON it would be no JSON any more."""
    odd = {"avg_logprob": figure, "no_speech_prob": figure, "compression_ratio": figure}
    said = verbose(segments=[{"start": 0, "end": 1, "text": "hi", **odd}], words=[{"word": "hi", "start": 0, "end": 1}])
    with provider(said) as url, transcriber_of(url) as transcriber:
        answer = ask(transcriber)
    assert answer.segments == (Segment(0.0, 1.0, "hi"),)
    assert answer.words == (Word("hi", 0.0, 1.0),)


def test_fields_that_nobody_knows_are_let_pass() -> None:
    with provider(verbose(x=1, task=None)) as url, transcriber_of(url) as transcriber:
        assert ask(transcriber).text == "hi"


def test_an_answer_without_an_end_is_given_up_and_not_held_in_memory() -> None:
    said = verbose(text="x" * LONGEST_ANSWER_BYTES)
    with provider(said) as url, transcriber_of(url) as transcriber:
        error = refusal(transcriber)
    assert told(error) == (Transient, "no_answer")
    assert str(LONGEST_ANSWER_BYTES) in str(error)
    assert len(said.asked) == 1


# Who is not there


def test_where_nothing_listens_the_provider_is_away(metrics: Metrics) -> None:
    with transcriber_of(f"http://127.0.0.1:{free_port()}", metrics) as transcriber:
        assert told(refusal(transcriber)) == (NeighbourDown, "whisper", "unavailable")
        for check in (transcriber.check, partial(transcriber.probe, "whisper-1", TIMED)):
            with pytest.raises(NeighbourDown):
                check()
    assert counted(metrics) == {("whisper-1", "down"): 1.0}


@pytest.mark.parametrize("host", ["nobody.invalid", "127.0.0.1:1"])
def test_an_address_that_leads_nowhere_is_an_outage(host: str) -> None:
    with transcriber_of(f"http://{host}") as transcriber:
        assert told(refusal(transcriber)) == (NeighbourDown, "whisper", "unavailable")


@contextmanager
def hanging_up() -> Iterator[str]:
    """The URL of a server that hears the beginning of one request and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            with listening.accept()[0] as client:
                client.recv(1)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(30)


def test_a_server_that_hangs_up_may_have_heard_us() -> None:
    with hanging_up() as url, transcriber_of(url) as transcriber:
        assert told(refusal(transcriber)) == (Transient, "no_answer")


# Check and probe


def test_a_provider_that_knows_our_key_passes_check_and_probe(
    transcriber: OpenAITranscriber, control: Control, metrics: Metrics
) -> None:
    transcriber.check()
    assert control.status()["received"] == 0, "a check pays nothing"
    transcriber.probe("whisper-1", TIMED)
    (request,) = control.status()["requests"]
    assert request["model"] == "whisper-1"
    assert counted(metrics) == {}, "a probe is nobody's request"


def test_a_refused_key_is_a_mistake_of_the_configuration() -> None:
    with Server(StubEngine(), key="another") as server, transcriber_of(server.url) as transcriber:
        with pytest.raises(ConfigError, match="OPENAI_API_KEY") as refused:
            transcriber.check()
        assert KEY not in str(refused.value)
        with pytest.raises(NeighbourDown) as down:
            transcriber.probe("whisper-1", TIMED)
        assert down.value.reason == "forbidden"


def test_without_a_key_a_server_that_wants_none_is_asked() -> None:
    with Server(StubEngine()) as server, transcriber_of(server.url, key=None) as transcriber:
        transcriber.check()
        assert ask(transcriber).text.startswith("speech ")


LISTS: dict[str, Said] = {
    "no list of models": refused_by(404, "no such route"),
    "a sign-in page": Said(200, b"<!doctype html>", {"content-type": "text/html"}),
    "a list of another shape": Said(200, b"[1, 2]"),
    "half a list": Said(200, b'{"data": ['),
    "nothing": Said(200, b""),
}


@pytest.mark.parametrize("listed", LISTS)
def test_a_server_need_not_list_its_models_as_openai_does(listed: str) -> None:
    """Whether it transcribes is the probe's question; an exception of the SDK here would end the daemon."""
    with provider(LISTS[listed]) as url, transcriber_of(url) as transcriber:
        transcriber.check()


@pytest.mark.parametrize("fault", ["down", "server_error", "forbidden"])
def test_a_check_that_fails_for_another_reason_is_an_outage(
    transcriber: OpenAITranscriber, control: Control, fault: str
) -> None:
    control.mode(fault)
    with pytest.raises(NeighbourDown):
        transcriber.check()


def test_a_provider_that_hangs_up_on_a_check_is_away_and_owed_nothing() -> None:
    with hanging_up() as url, transcriber_of(url) as transcriber, pytest.raises(NeighbourDown) as down:
        transcriber.check()
    assert (down.value.reason, down.value.maybe_billed) == ("unavailable", False)


@pytest.mark.parametrize("status", [413, 429])
def test_a_provider_that_refuses_a_check_in_its_own_words_is_there(status: int) -> None:
    said = refused_by(status, "the audio is too long")
    with provider(said) as url, transcriber_of(url) as transcriber:
        transcriber.check()
    assert len(said.asked) == 1


@pytest.mark.parametrize("fault", ["rate_limit", "too_large", "too_long"])
def test_a_provider_that_refuses_in_its_own_words_is_there(
    transcriber: OpenAITranscriber, control: Control, fault: str
) -> None:
    control.fault(fault)
    transcriber.probe("whisper-1", TIMED)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("down", "unavailable"),
        ("quota", "billing"),
        ("unauthorized", "forbidden"),
        ("forbidden", "forbidden"),
        ("model_gone", "model"),
        ("html", "unavailable"),
        ("drop", "unavailable"),
    ],
)
def test_a_probe_fails_while_its_reason_lasts(
    transcriber: OpenAITranscriber, control: Control, fault: str, reason: str
) -> None:
    control.mode(fault)
    with pytest.raises(NeighbourDown) as down:
        transcriber.probe("whisper-1", TIMED)
    assert down.value.reason == reason
    control.mode(None)
    transcriber.probe("whisper-1", TIMED)


def test_a_provider_that_does_not_answer_the_probe_is_away(
    transcriber: OpenAITranscriber, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriber.adapters.openai_api.PROBE_SECONDS", 0.3)
    control.fault("hang")
    with pytest.raises(NeighbourDown) as down:
        transcriber.probe("whisper-1", TIMED)
    assert down.value.reason == "unavailable"


def test_many_threads_share_one_transcriber(
    transcriber: OpenAITranscriber, control: Control, each_in_a_thread: Callable[..., list[str]]
) -> None:
    bodies = [sound(1 + n / 100) for n in range(40)]
    texts = each_in_a_thread(lambda data: ask(transcriber, data=data).text, bodies)
    assert len(set(texts)) == 40
    assert control.status()["transcribed"] == 40


@pytest.fixture
def each_in_a_thread() -> Callable[..., list[str]]:
    from concurrent.futures import ThreadPoolExecutor

    def run(work: Callable[[bytes], str], items: list[bytes]) -> list[str]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(work, items))

    return run


def test_a_real_whisper_behind_it_hears_a_recording() -> None:
    recording = recordings()[0]
    with LocalWhisper() as whisper, Server(whisper) as server, transcriber_of(server.url) as transcriber:
        transcriber.probe("whisper-1", TIMED)
        answer = ask(transcriber, data=recording.path.read_bytes(), filename=recording.path.name, timeout_seconds=120.0)
    assert answer.duration == pytest.approx(recording.seconds, abs=0.2)
    heard = {word.strip(".,!?").lower() for word in answer.text.split()}
    spoken = {word.strip(".,!?").lower() for word in recording.text.split()}
    assert len(heard & spoken) > 0.7 * len(spoken)
    assert answer.segments
    assert answer.segments[0].avg_logprob is not None


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["model"], sample.labels["result"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "subscriber_whisper_requests_total" and sample.value
    }
