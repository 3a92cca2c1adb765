"""The stand-in for OpenAI behaves as OpenAI does, and fails on demand. The real client asks; nothing sleeps."""

from __future__ import annotations

import hashlib
import io
import json
import math
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from subscriber.whisper_server import Control, Server, StubEngine
from subscriber.whisper_server import server as server_module
from subscriber.whisper_server.kinds import REFUSALS


def wav(seconds: float = 2.0, sample: bytes = b"\1\0") -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(sample * int(seconds * 16000))
    return file.getvalue()


WAV = wav()
SHA = hashlib.sha256(WAV).hexdigest()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def client_of(server: Server, key: str = "any", timeout: float = 30.0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=timeout)


def ask(client: openai.OpenAI, name: str = "chunk.wav", data: bytes = WAV, **more: Any) -> Any:
    more = {"model": "whisper-1", "response_format": "verbose_json"} | more
    return client.audio.transcriptions.create(file=(name, data), **more)


def raw(server: Server, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        assert response.headers["x-request-id"]
        return response.status, json.load(response)
    finally:
        connection.close()


@contextmanager
def in_background(call: Callable[[], Any]) -> Iterator[Any]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


# What OpenAI's endpoint promises


def test_verbose_json_names_the_bytes_and_gives_times(client: openai.OpenAI, control: Control) -> None:
    answer = ask(client, timestamp_granularities=["segment", "word"])
    assert answer.text == f"speech {SHA[:12]}"
    assert (answer.duration, answer.language, answer.usage.seconds) == (2.0, "english", 2)
    assert [(segment.start, segment.end) for segment in answer.segments] == [(0.0, 2.0)]
    assert [(word.word, word.start, word.end) for word in answer.words] == [("speech", 0, 1), (SHA[:12], 1, 2)]
    status = control.status()
    assert (status["received"], status["answered"], status["in_flight"]) == (1, 1, 0)
    assert status["bodies"] == status["transcribed_bodies"] == {SHA: 1}


def test_only_the_granularities_that_were_asked_for_are_given(client: openai.OpenAI) -> None:
    assert ask(client).words is None
    assert ask(client, timestamp_granularities=["word"]).segments is None


def test_json_and_text_hold_the_text(client: openai.OpenAI) -> None:
    assert ask(client, response_format="json").text == f"speech {SHA[:12]}"
    assert ask(client, response_format="text") == f"speech {SHA[:12]}\n"


def test_an_unknown_duration_is_null_and_never_invented(client: openai.OpenAI) -> None:
    answer = ask(client, name="chunk.mp3", data=b"no header of a kind that states a length")
    assert answer.duration is None
    assert answer.usage is None


def test_a_flac_header_states_its_duration(client: openai.OpenAI) -> None:
    streaminfo = ((16000 << 44) | 24000).to_bytes(8, "big")
    assert ask(client, name="a.flac", data=b"fLaC" + bytes(14) + streaminfo).duration == 1.5


def test_text_only_models_refuse_verbose_json(client: openai.OpenAI) -> None:
    assert ask(client, model="gpt-transcribe", response_format="json").text
    with pytest.raises(openai.BadRequestError, match="response_format"):
        ask(client, model="gpt-transcribe")


def test_models_are_listed_and_an_unknown_one_is_not_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["whisper-1", "gpt-transcribe", "stub"]
    assert client.models.retrieve("whisper-1").owned_by == "stub"
    for call in (lambda: client.models.retrieve("no/such"), lambda: ask(client, model="no/such")):
        with pytest.raises(openai.NotFoundError) as refused:
            call()
        assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"name": "chunk.opus"}, "file"),
        ({"name": "chunk"}, "file"),
        ({"model": ""}, "model"),
        ({"response_format": "srt"}, "response_format"),
        ({"temperature": 7}, "temperature"),
        ({"timestamp_granularities": ["syllable"]}, "timestamp_granularities[]"),
    ],
)
def test_a_bad_field_is_named(client: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **more)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_unknown_fields_pass_and_are_shown_to_the_test(client: openai.OpenAI, control: Control) -> None:
    ask(client, prompt="names", extra_body={"languages": ["en", "de"]})
    (seen,) = control.status()["requests"]
    assert (seen["filename"], seen["model"], seen["sha256"]) == ("chunk.wav", "whisper-1", SHA)
    assert seen["fields"]["prompt"] == ["names"]
    assert seen["fields"]["languages[]"] == ["en", "de"]


def test_every_answer_has_a_request_id(client: openai.OpenAI, server: Server) -> None:
    assert client.audio.transcriptions.with_raw_response.create(file=("a.wav", WAV), model="whisper-1").request_id
    assert raw(server, "GET", "/healthz") == (200, {"status": "ok", "model": "stub"})
    for method, path, status in [("GET", "/nowhere", 404), ("POST", "/nowhere", 404), ("DELETE", "/v1/models", 501)]:
        code, body = raw(server, method, path)
        assert (code, set(body["error"])) == (status, {"message", "type", "param", "code"})


def test_a_body_that_is_no_form_is_a_400(server: Server) -> None:
    for content_type in ("application/json", "multipart/form-data", "multipart/form-data; boundary=x"):
        status, _ = raw(server, "POST", "/v1/audio/transcriptions", b"{}", **{"content-type": content_type})
        assert status == 400


def test_a_key_is_asked_for_when_there_is_one() -> None:
    with Server(StubEngine(), key="secret") as server:
        assert ask(client_of(server, "secret")).text
        with pytest.raises(openai.AuthenticationError):
            ask(client_of(server, "wrong"))
        with pytest.raises(openai.AuthenticationError):
            client_of(server, "wrong").models.list()


def test_without_control_nobody_can_order_faults() -> None:
    with Server(StubEngine()) as server:
        assert raw(server, "GET", "/control")[0] == 404
        assert raw(server, "POST", "/control", b'{"fault": "quota"}')[0] == 404
        assert ask(client_of(server)).text


# Bounds


def test_an_upload_over_25_mb_is_a_413_that_the_client_can_read(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, data=bytes(26 * 1024 * 1024))
    assert refused.value.status_code == 413
    assert ask(client).text


def test_a_client_that_does_not_send_its_body_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.05)
    with Server(StubEngine()) as server, socket.create_connection(server.server_address[:2], 30) as slow:  # type: ignore[arg-type]
        slow.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 408")


def test_a_body_of_unknown_length_is_refused(server: Server) -> None:
    status, _ = raw(server, "POST", "/v1/audio/transcriptions", b"", **{"Content-Length": "many"})
    assert status == 411


def test_clients_beyond_the_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 0)
    with Server(StubEngine()) as server, pytest.raises(openai.APIConnectionError):
        ask(client_of(server))


def test_a_stopped_server_is_gone_for_kept_alive_connections_too() -> None:
    with Server(StubEngine()) as server:
        client = client_of(server)
        assert ask(client).text
    with pytest.raises(openai.APIConnectionError):
        ask(client)


# Faults


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("unauthorized", openai.AuthenticationError, "invalid_api_key"),
        ("forbidden", openai.PermissionDeniedError, "permission_denied"),
        ("server_error", openai.InternalServerError, None),
        ("down", openai.InternalServerError, None),
        ("too_large", openai.APIStatusError, None),
        ("too_long", openai.BadRequestError, "invalid_value"),
        ("model_gone", openai.NotFoundError, "model_not_found"),
        ("refuse_verbose", openai.BadRequestError, "unsupported_value"),
    ],
)
def test_a_refusal_comes_as_often_as_ordered_and_is_not_paid_for(
    client: openai.OpenAI, control: Control, fault: str, error: type[openai.APIStatusError], code: str | None
) -> None:
    control.fault(fault, times=2)
    for _ in range(2):
        with pytest.raises(error) as refused:
            ask(client)
        assert refused.value.status_code == REFUSALS[fault].status
        assert refused.value.code == code
    assert ask(client).text
    status = control.status()
    assert (status["received"], status["answered"], status["transcribed"]) == (3, 3, 1)


def test_retry_after_is_sent_in_both_headers(client: openai.OpenAI, control: Control) -> None:
    control.fault("rate_limit", retry_after=0.2)
    control.fault("rate_limit", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    headers = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client)
        headers.append(refused.value.response.headers)
    assert (headers[0]["retry-after"], headers[0]["retry-after-ms"]) == ("1", "200")
    assert headers[1]["retry-after"].startswith("Wed")


def test_html_with_a_200_parses_to_a_string(client: openai.OpenAI, control: Control) -> None:
    control.fault("html")
    assert "<!doctype html>" in ask(client)


def test_json_without_segments_parses_to_an_object_without_them(client: openai.OpenAI, control: Control) -> None:
    control.fault("no_segments")
    assert ask(client).segments is None


def test_times_can_be_wrong_in_each_way(client: openai.OpenAI, control: Control) -> None:
    for fault in ("nan_times", "past_end", "unordered", "bad_times"):
        control.fault(fault)
    nan, late, disorder, everything = (ask(client).segments for _ in range(4))
    assert math.isnan(nan[0].start)
    assert late[0].end > 2.0
    assert [segment.start for segment in disorder] == [0.8, 0.5, 0.0]
    assert len(everything) == 4


def test_the_text_can_be_empty_markup_or_cjk(client: openai.OpenAI, control: Control) -> None:
    for fault in ("empty_text", "markup", "cjk"):
        control.fault(fault)
    empty, markup, cjk = (ask(client) for _ in range(3))
    assert (empty.text, empty.segments) == ("", [])
    assert "-->" in markup.text
    assert "<b>" in markup.segments[0].text
    assert not cjk.text.isascii()
    assert control.status()["transcribed"] == 3


def test_a_drop_cuts_the_answer_that_was_paid_for(client: openai.OpenAI, control: Control) -> None:
    control.fault("drop")
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    status = control.status()
    assert (status["transcribed"], status["answered"], status["in_flight"]) == (1, 0, 0)


def test_a_hang_lasts_until_the_client_gives_up(server: Server, control: Control) -> None:
    control.fault("hang")
    with pytest.raises(openai.APITimeoutError):
        ask(client_of(server, timeout=0.3))
    assert ask(client_of(server)).text
    assert control.status()["transcribed"] == 1


def test_a_trickle_never_ends_and_no_read_of_it_takes_long(server: Server, control: Control) -> None:
    control.fault("trickle")
    asking = client_of(server, timeout=5.0).audio.transcriptions.with_streaming_response
    with asking.create(file=("chunk.wav", WAV), model="whisper-1") as answer:
        pieces = answer.iter_bytes(1)
        assert [next(pieces) for _ in range(5)] == [b" "] * 5
    assert ask(client_of(server)).text
    assert control.status()["transcribed"] == 1


def test_an_upload_can_be_dropped_before_anybody_knows_it(client: openai.OpenAI, control: Control) -> None:
    control.fault("drop_upload")
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    assert ask(client).text
    status = control.status()
    assert (status["dropped_uploads"], status["received"], status["transcribed"]) == (1, 1, 1)


def test_a_mode_lasts_until_it_is_ended_and_reaches_the_models_too(client: openai.OpenAI, control: Control) -> None:
    control.mode("unauthorized")
    for call in (lambda: ask(client), lambda: ask(client), client.models.list):
        with pytest.raises(openai.AuthenticationError):
            call()
    control.mode(None)
    assert ask(client).text


def test_a_fault_can_be_meant_for_one_model_or_one_file(client: openai.OpenAI, control: Control) -> None:
    control.mode("model_gone", model="whisper-1")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("whisper-1")
    with pytest.raises(openai.NotFoundError):
        ask(client)
    assert ask(client, model="gpt-transcribe", response_format="json").text
    control.mode("server_error", sha256=SHA)
    with pytest.raises(openai.InternalServerError):
        ask(client)
    assert ask(client, data=wav(1.0)).text


def test_a_held_request_is_on_the_wire_until_it_is_released(client: openai.OpenAI, control: Control) -> None:
    control.hold()
    with in_background(lambda: ask(client)) as answer:
        status = control.wait_for_requests(1)
        assert (status["in_flight"], status["answered"], status["held"]) == (1, 0, True)
        control.release()
        assert answer.result().text
    assert control.status()["in_flight"] == 0


def test_waiting_for_requests_that_do_not_come_times_out(control: Control) -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        control.wait_for_requests(1, timeout=0.05)


def test_many_clients_at_once_get_their_own_transcripts(client: openai.OpenAI, control: Control) -> None:
    bodies = [wav(0.1, bytes([i, 0])) for i in range(32)]
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda body: ask(client, data=body).text, bodies))
    assert texts == [f"speech {hashlib.sha256(body).hexdigest()[:12]}" for body in bodies]
    assert control.status()["transcribed"] == 32


def test_a_stop_lets_held_and_hanging_requests_go() -> None:
    with ThreadPoolExecutor(2) as pool, Server(StubEngine(), control=True) as server:
        control = Control(server.url)
        control.fault("hang")
        hanging = pool.submit(ask, client_of(server))
        control.wait_for_requests(1)
        control.hold()
        held = pool.submit(ask, client_of(server))
        control.wait_for_requests(2)
    assert isinstance(hanging.exception(), openai.APIConnectionError)
    assert held.done()  # transcribed or cut off: the hold is over either way


@pytest.mark.parametrize("order", [b'{"fault": "earthquake"}', b'{"fault": "quota", "often": 1}', b"no json"])
def test_an_order_that_makes_no_sense_is_a_400(server: Server, order: bytes) -> None:
    assert raw(server, "POST", "/control", order)[0] == 400


# The command


def test_the_command_says_where_it_listens_and_ends_with_0_on_sigterm() -> None:
    code = "from subscriber.whisper_server import main; raise SystemExit(main(engine='stub', control=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready["base_url"] == f"{ready['url']}/v1"
        control = Control(ready["base_url"])
        control.hold()
        with (
            openai.OpenAI(base_url=ready["base_url"], api_key="any", max_retries=0) as client,
            in_background(lambda: ask(client)) as answer,
        ):
            control.wait_for_requests(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert answer.exception(30) is None or isinstance(answer.exception(), openai.APIConnectionError)
