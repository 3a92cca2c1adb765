"""From a multipart body to a transcription request, or a 400 that names the field; and back to the format it wants.

Unknown fields are let through, as OpenAI does: a 200 proves nothing about a parameter.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

from subscriber.errors import ConfigError
from subscriber.whisper_server.reply import Refused, Reply, json_reply, refusal

try:
    from python_multipart import FormParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import Field, File, parse_options_header
except ImportError as error:
    raise ConfigError("whisper-server", f"{error.name} is missing", "pip install subscriber[local]") from error

__all__ = ["ENDINGS", "Upload", "parse", "render"]

ENDINGS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
"""The API judges a file by the ending of its name: the bytes of an Ogg named `.opus` are refused."""
FORMATS = ("json", "text", "verbose_json")
MAX_FIELD_BYTES = 100_000


@dataclass(frozen=True)
class Upload:
    """One transcription request, checked. `fields` holds everything that was sent beside the file."""

    data: bytes
    filename: str
    fields: Mapping[str, tuple[str, ...]]

    def first(self, name: str) -> str | None:
        """The first value of a field; None when absent or empty."""
        return next(iter(self.fields.get(name, ())), None) or None

    @property
    def model(self) -> str:
        """The model's id."""
        return self.first("model") or ""

    @property
    def response_format(self) -> str:
        """One of json, text, verbose_json."""
        return self.first("response_format") or "json"

    @property
    def granularities(self) -> tuple[str, ...]:
        """Which times were asked for: segment (the default), word or both."""
        return self.fields.get("timestamp_granularities[]", ()) or ("segment",)

    @property
    def temperature(self) -> float:
        """Sampling temperature, 0 to 1."""
        return float(self.first("temperature") or 0)

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file's bytes."""
        return hashlib.sha256(self.data).hexdigest()


def parse(content_type: str, body: bytes) -> Upload:
    """The request in a body of `multipart/form-data`.

    Raises:
        Refused: 400 with the field at fault as `param`.

    """
    fields, files = _parts(content_type, body)
    if not files:
        raise Refused(refusal(400, "the field `file` is required", param="file"))
    filename, data = files[0]
    upload = Upload(data, filename, fields)
    _check(upload)
    return upload


def _parts(content_type: str, body: bytes) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, bytes]]]:
    fields: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    files: list[tuple[str, bytes]] = []

    def on_field(part: Field) -> None:
        fields[_text(part.field_name)] += (_text(part.value),)

    def on_file(part: File) -> None:
        part.file_object.seek(0)
        files.append((_text(part.file_name), part.file_object.read()))
        part.close()

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Refused(refusal(400, f"a multipart/form-data body is needed, not {content_type or 'an unnamed type'}"))
    # Nothing is spooled to disk: the body is in memory already, and bounded.
    limits = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "MAX_FIELD_SIZE": MAX_FIELD_BYTES}
    try:
        parser = FormParser("multipart/form-data", on_field, on_file, boundary=options.get(b"boundary"), config=limits)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(refusal(400, f"the multipart body cannot be read: {error}")) from error
    return dict(fields), files


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _check(upload: Upload) -> None:
    if PurePath(upload.filename).suffix.lower().lstrip(".") not in ENDINGS:
        message = f"file name {upload.filename!r} has no supported ending; these are: {', '.join(ENDINGS)}"
        raise Refused(refusal(400, message, param="file"))
    if not upload.model:
        raise Refused(refusal(400, "the field `model` is required", param="model"))
    if upload.response_format not in FORMATS:
        message = f"response_format must be one of {', '.join(FORMATS)}"
        raise Refused(refusal(400, message, param="response_format", code="unsupported_value"))
    if not {"segment", "word"}.issuperset(upload.granularities):
        message = "timestamp_granularities[] takes segment and word"
        raise Refused(refusal(400, message, param="timestamp_granularities[]", code="invalid_value"))
    if not _between_0_and_1(upload.first("temperature") or "0"):
        raise Refused(refusal(400, "temperature must lie between 0 and 1", param="temperature", code="invalid_value"))


def _between_0_and_1(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def render(answer: dict[str, Any], upload: Upload) -> Reply:
    """What the engine said, in the format that was asked for; unknown stays absent or null."""
    if upload.response_format == "text":
        return Reply(200, f"{answer['text']}\n".encode(), "text/plain; charset=utf-8")
    seconds = answer.get("duration")
    usage = {} if seconds is None else {"usage": {"type": "duration", "seconds": math.ceil(seconds)}}
    if upload.response_format == "json":
        return json_reply({"text": answer["text"], **usage})
    if upload.granularities == ("word",):
        answer = {name: value for name, value in answer.items() if name != "segments"}
    return json_reply({**answer, **usage})
