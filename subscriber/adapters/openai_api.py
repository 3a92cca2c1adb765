"""A provider of transcription behind OpenAI's interface.

The law of this file: one call is one request. The SDK's own retries are off (its default client pays three times for
one hung call), and an answer is believed only after its shape is proven: HTML with a 200 parses, too.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import httpx2
import openai
from openai import OpenAI
from pydantic import BaseModel, BeforeValidator, ValidationError

from subscriber.answers import BOUNDS
from subscriber.audio.wav import encode_wav
from subscriber.backoff import retry_after_seconds
from subscriber.clients import ClientForThreads
from subscriber.errors import ConfigError, FormatRefused, NeighbourDown, Permanent, RateLimited, Transient
from subscriber.metrics import Metrics
from subscriber.transcript import Answer, Segment, SpeechRequest, Word

__all__ = ["OpenAITranscriber"]

IDLE_SECONDS = 5.0
"""A connection that was idle for longer is not used again: whatever lies in between may have forgotten it, and that a
request on a dead one is lost is known only at its limit, when it counts as possibly billed."""

CONNECT_SECONDS = 10.0
GATEWAY_TIMEOUTS = {504, 524}
"""Somebody in between, 524 being Cloudflare, has heard the request, passed it on and got no answer in his time."""

A_SECOND_OF_SILENCE = bytes(32_000)
"""PCM. Nothing to transcribe, and less than a hundredth of a cent."""

PROBE_SECONDS = 15.0
"""A second of audio takes a provider that is well less than 5 s; the pull loop waits for the answer."""

UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.InvalidURL,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
"""After these nobody has heard the request. After any other, known or not, it may have been heard, and billed."""

_FORM = {"Content-Type": "multipart/form-data"}

SHORTEST_KEY = 8
"""A local server's key may be `none`: masking that word would spoil every line."""

MONEY = re.compile(
    r"insufficient_quota|credit_balance_exhausted|spend_limit_exceeded|organization_usage_limit_exceeded"
    r"|billing_not_active|billing_hard_limit_reached"
)
NO_SUCH_MODEL = re.compile(
    r"model_not_found|model .{0,80}(does not exist|has been (deprecated|shut ?down|retired))", re.IGNORECASE
)
FORMAT = re.compile(r"response_format|verbose_json|timestamp_granularities", re.IGNORECASE)
TOO_LONG = re.compile(r"longer than \d+ seconds|duration .{0,40}(too long|exceeds)", re.IGNORECASE)
NOT_AUDIO = re.compile(
    r"invalid_file_format|invalid file format|unsupported_file|corrupted or unsupported"
    r"|audio file is too short|audio_too_short|(holds|contains|has) no audio"
    r"|(audio|file|media)\b.{0,60}(could not|cannot|failed to) be (decoded|processed|read)"
    r"|(could not|cannot|failed to) (decode|process|read) .{0,60}\b(audio|file|media)\b",
    re.IGNORECASE,
)
"""Only what speaks of the file: `the request could not be processed` may be a gateway's word about every file."""


def _known(value: object) -> float | None:
    """A figure that we only pass on: an answer that is paid for is not thrown away because one of them is odd."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


_Figure = Annotated[float | None, BeforeValidator(_known)]


def _first_code(value: object) -> str | None:
    """The code of the first of `languages`, as gpt-transcribe tells them; anything else tells nothing."""
    first = value[0] if isinstance(value, list) and value else None
    code = first.get("code") if isinstance(first, dict) else None
    return code if isinstance(code, str) else None


class _Segment(BaseModel):
    start: float
    end: float
    text: str
    avg_logprob: _Figure = None
    no_speech_prob: _Figure = None
    compression_ratio: _Figure = None


class _Word(BaseModel):
    word: str
    start: float
    end: float


class _Shape(BaseModel):
    """An answer in either format. Fields that we do not know are let pass; those that we use have their type.

    It is paid for: times that are missing or are no numbers cost no repetition, for the guards estimate them.
    """

    text: str
    language: str | None = None
    languages: Annotated[str | None, BeforeValidator(_first_code)] = None
    duration: _Figure = None
    segments: list[_Segment] | None = None
    words: list[_Word] | None = None
    usage: Any = None


class OpenAITranscriber:
    """One client for all threads, with as many connections as there are requests on the wire."""

    def __init__(self, *, api_key: str | None, base_url: str, metrics: Metrics) -> None:
        http = ClientForThreads(IDLE_SECONDS, event_hooks=BOUNDS, follow_redirects=True)
        self._client = OpenAI(api_key=api_key or "none", base_url=base_url, max_retries=0, http_client=http)
        self._key = api_key or ""
        self._metrics = metrics

    def check(self) -> None:
        """As the port says. A compatible server need not list its models: only a refused key is a finding."""
        with _there(maybe_billed=False):
            try:
                # Unread: a list in a shape of its own, which the SDK fails on with any exception, is no refusal.
                self._client.models.with_raw_response.list(timeout=PROBE_SECONDS)
            except openai.AuthenticationError as error:
                remedy = "put a valid key into OPENAI_API_KEY or the file named by OPENAI_API_KEY_FILE"
                words = _words(error, self._key)
                raise ConfigError("OPENAI_API_KEY", f"the provider refuses it: {words}", remedy) from error
            except openai.NotFoundError:
                return
            except openai.OpenAIError as error:
                raise _translated(error, self._key) from error

    def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None:
        """As the port says."""
        request = SpeechRequest(
            encode_wav(A_SECOND_OF_SILENCE), "probe.wav", model, 1.0, fields, timeout_seconds=PROBE_SECONDS
        )
        with _there(maybe_billed=True):
            self._send(request)

    def transcribe(self, request: SpeechRequest) -> Answer:
        """As the port says; counts the request by how it ended."""
        with self._counted(request.model):
            return self._send(request)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, request: SpeechRequest) -> Answer:
        timeout = httpx2.Timeout(request.timeout_seconds, connect=CONNECT_SECONDS)
        try:
            # What `audio.transcriptions.create` does, without the types of fields and answers: we have our own.
            answer = self._client.post(
                "/audio/transcriptions",
                cast_to=httpx2.Response,
                body={"model": request.model, **request.fields},
                files={"file": (request.filename, request.data)},
                options={"headers": _FORM, "timeout": timeout},
            )
        except openai.OpenAIError as error:
            raise _translated(error, self._key) from error
        return _believed(answer.content, request.model, answer.headers.get("x-request-id"))

    @contextmanager
    def _counted(self, model: str) -> Iterator[None]:
        began, result = time.monotonic(), "ok"
        try:
            yield
        except Permanent:
            result = "rejected"
            raise
        except RateLimited:
            result = "rate_limited"
            raise
        except NeighbourDown:
            result = "down"
            raise
        except Exception:
            result = "failed"
            raise
        finally:
            self._metrics.whisper_requests.labels(model, result).inc()
            self._metrics.whisper_request_seconds.labels(model).observe(time.monotonic() - began)


@contextmanager
def _there(*, maybe_billed: bool) -> Iterator[None]:
    """Whoever refuses in words of his own is there; who does not answer, or with nonsense, is away: NeighbourDown."""
    try:
        yield
    except (Permanent, RateLimited, FormatRefused):
        return
    except Transient as error:
        raise NeighbourDown("whisper", "unavailable", str(error), maybe_billed=maybe_billed) from error


def _believed(body: bytes, model: str, request_id: str | None) -> Answer:
    try:
        answer = _Shape.model_validate_json(body)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise Transient("bad_answer", f"request {request_id}: {found}") from error
    return Answer(
        text=answer.text,
        language=answer.language or answer.languages,
        duration=answer.duration,
        segments=tuple(Segment(**segment.model_dump()) for segment in answer.segments or ()),
        words=tuple(Word(**word.model_dump()) for word in answer.words or ()),
        model=model,
        request_id=request_id,
        billed_seconds=_billed_seconds(answer.usage),
    )


def _billed_seconds(usage: object) -> float | None:
    """What the provider says that it billed, where that is a length of time."""
    seconds = _known(usage.get("seconds")) if isinstance(usage, dict) else None
    return seconds if seconds is None or seconds >= 0 else None


def _translated(error: openai.OpenAIError, key: str) -> Exception:  # noqa: C901 - a table, one clause an answer
    """The remedy for what the provider said. Its words decide before its status does."""
    words = _words(error, key)
    match error:
        case openai.APIConnectionError(__cause__=cause) if isinstance(cause, UNSENT):
            return NeighbourDown("whisper", "unavailable", f"cannot be reached: {_line(cause, key)}")
        case openai.APITimeoutError():
            return Transient("no_answer", "the provider did not answer in time")
        case openai.APIConnectionError():
            return Transient("no_answer", f"the connection broke: {_line(error.__cause__ or words, key)}")
        case openai.APIStatusError() if MONEY.search(words):
            return NeighbourDown("whisper", "billing", words)
        case openai.RateLimitError():
            return RateLimited(retry_after_seconds(error.response.headers), words)
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return NeighbourDown("whisper", "forbidden", words)
        case openai.NotFoundError() if NO_SUCH_MODEL.search(words):
            return NeighbourDown("whisper", "model", words)
        case openai.APIStatusError(status_code=413):
            return Permanent("too_large", words)
        case openai.BadRequestError() if FORMAT.search(words):
            return FormatRefused(words)
        case openai.BadRequestError() if TOO_LONG.search(words):
            return Permanent("too_long", words)
        case openai.BadRequestError() if NOT_AUDIO.search(words):
            return Permanent("audio_rejected", words)
        case openai.APIStatusError(status_code=status) if status in GATEWAY_TIMEOUTS:
            return NeighbourDown("whisper", "unavailable", words, maybe_billed=True)
    # A server error, or a refusal that may be about our settings as well as about the file: the probe will tell.
    return NeighbourDown("whisper", "unavailable", words)


def _words(error: openai.OpenAIError, key: str) -> str:
    """What the provider said: status, code and message."""
    body: Any = getattr(error, "body", None)
    said = f"{body.get('code') or ''} {body.get('message') or ''}".strip() if isinstance(body, dict) else ""
    status = f"{error.status_code} " if isinstance(error, openai.APIStatusError) else ""
    return _line(f"{status}{said or error}", key)


def _line(said: object, key: str) -> str:
    """One bounded line that every store takes; never our key, which some servers repeat."""
    text = str(said).encode(errors="replace").decode()
    if len(key) >= SHORTEST_KEY:
        text = text.replace(key, "…")
    return re.sub(r"\bsk-[\w*-]+", "sk-…", " ".join(text.split()))[:500]
