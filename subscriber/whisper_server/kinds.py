"""The ways in which a provider fails, as tables: what is refused at once, what is said wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from subscriber.whisper_server.reply import Reply, refusal
from subscriber.whisper_server.silences import SILENCES

__all__ = ["BREAKS", "KINDS", "MANGLED", "OUTAGES", "REFUSALS", "Fault", "refuse"]

REFUSALS: Mapping[str, Reply] = {
    "rate_limit": refusal(429, "too many requests in this minute", kind="requests", code="rate_limit_exceeded"),
    "quota": refusal(429, "the quota of this account is used up", kind="insufficient_quota", code="insufficient_quota"),
    "unauthorized": refusal(401, "this API key is not known", code="invalid_api_key"),
    "forbidden": refusal(403, "this project may not use the model", code="permission_denied"),
    "server_error": refusal(500, "something broke on our side", kind="server_error"),
    "down": refusal(500, "something broke on our side", kind="server_error"),
    "too_large": refusal(413, "the upload is over the limit of 26214400 bytes", kind="server_error"),
    "too_long": refusal(
        400,
        "audio duration 1535.1 seconds is longer than 1400 seconds which is the maximum for this model",
        code="invalid_value",
    ),
    "model_gone": refusal(404, "the model does not exist or has been shut down", param="model", code="model_not_found"),
    "refuse_verbose": refusal(
        400,
        "response_format 'verbose_json' does not go with this model; ask for 'json' or 'text'",
        param="response_format",
        code="unsupported_value",
    ),
    "html": Reply(200, b"<!doctype html><title>Gateway</title><p>Please sign in.</p>", "text/html"),
}
"""Faults that are answered at once; the engine is not asked."""

OUTAGES = frozenset({"down", "server_error", "unauthorized", "forbidden", "html"})
"""As a mode, these answer `/v1/models` too."""


_Answer = dict[str, Any]


def _spoken(text: str) -> Callable[[_Answer], _Answer]:
    def mangle(answer: _Answer) -> _Answer:
        segments = [{**segment, "text": text} for segment in answer["segments"][:1] if text]
        return {**answer, "text": text, "segments": segments, **_words(answer, [])}

    return mangle


def _timed(*spans: tuple[float, float]) -> Callable[[_Answer], _Answer]:
    def mangle(answer: _Answer) -> _Answer:
        first = (answer["segments"] or [{"text": "speech"}])[0]
        segments = [{**first, "id": i, "start": start, "end": end} for i, (start, end) in enumerate(spans)]
        words = [{"word": "speech", "start": start, "end": end} for start, end in spans]
        return {**answer, "segments": segments, **_words(answer, words)}

    return mangle


def _words(answer: _Answer, words: list[_Answer]) -> _Answer:
    """Words only where they were asked for."""
    return {"words": words} if "words" in answer else {}


MANGLED: Mapping[str, Callable[[_Answer], _Answer]] = {
    "no_segments": lambda answer: {"text": answer["text"]},
    "bad_times": _timed((math.nan, 1.0), (0.5, 1e6), (0.4, 0.1), (0.0, 0.2)),
    "nan_times": _timed((math.nan, math.nan)),
    "past_end": _timed((0.0, 1e6)),
    "unordered": _timed((0.8, 0.9), (0.5, 0.1), (0.0, 0.2)),
    "empty_text": _spoken(""),
    "markup": _spoken(" a --> b <b>bold</b> & <i>more</i>\n\n00:00:01.000 --> 00:00:02.000"),
    "million": _spoken(" ".join(map(str, range(180_000)))),  # characters, and all different
    "cjk": _spoken("今天天气很好。我们去公园散步吧。明日は雨が降るそうです。"),
}
"""Faults that spoil what the engine said (paid for, and wrong)."""

BREAKS = frozenset({*SILENCES, "drop", "drop_upload"})
"""Faults of the connection. hang: no answer ever. trickle: a blank now and then, for ever. drop: half an answer, then
the connection closes. drop_upload: it closes when half of the body is read, so which file that is nobody knows."""

KINDS = frozenset({*REFUSALS, *MANGLED, *BREAKS})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing going wrong, `times` requests long; only for requests with this model or file, where given.

    `retry_after`: seconds (sent in both of OpenAI's headers), or a text such as an HTTP date, sent as it is.
    """

    fault: str
    times: int = 1
    retry_after: float | str | None = None
    model: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.fault not in KINDS:
            raise ValueError(f"no such fault: {self.fault!r}; there are {', '.join(sorted(KINDS))}")

    def meets(self, model: str, sha256: str, response_format: str) -> bool:
        """Whether such a request runs into this fault."""
        if self.fault == "drop_upload":
            return False  # over before the request is known
        if self.fault == "refuse_verbose" and response_format != "verbose_json":
            return False
        return self.model in {None, model} and self.sha256 in {None, sha256}


def refuse(fault: Fault) -> Reply | None:
    """The answer of a fault that needs no engine; None for the other kinds."""
    reply = REFUSALS.get(fault.fault)
    if reply is None or fault.retry_after is None:
        return reply
    if isinstance(fault.retry_after, str):
        return replace(reply, headers={"retry-after": fault.retry_after})
    milliseconds = round(fault.retry_after * 1000)
    return replace(
        reply, headers={"retry-after": str(math.ceil(milliseconds / 1000)), "retry-after-ms": str(milliseconds)}
    )
