"""One line for one event: JSON in Cloud Logging's fields for collectors, plain text for people at a terminal.

The law of this file: every line passes `_Clean`, also those of the libraries, so that no line shows the key or a signed
URL and none grows without bounds. Libraries are heard from WARNING on: below it they quote requests and answers, and
an answer is a transcript.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from subscriber import __version__

__all__ = ["configure", "get_logger"]

MASK = "***"

_OURS = "subscriber"
_LONGEST_VALUE = 2000
_LONGEST_STACK = 8000
_MOST_ITEMS = 50
_SHORTEST_SECRET = 8  # a local server's key may be "none": masking that word would spoil every line
_SECRET_LOOKS = re.compile(r"\bsk-[\w-]{12,}|(?<=Bearer )[\w.~+/=-]+|(?<=Signature=)[\w%+/=-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a name may hold what moves a terminal's cursor, or begins a line
_CONTROL_IN_STACK = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTEXT: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
_CALLER = CallsiteParameterAdder([CallsiteParameter.FILENAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME])
_REPORTED = {
    "@type": "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent",
    "serviceContext": {"service": _OURS, "version": __version__},
}


def get_logger() -> FilteringBoundLogger:
    """Return our logger; it may be taken before `configure` and obeys it from then on."""
    return cast("FilteringBoundLogger", structlog.get_logger(_OURS))


def configure(
    level: str = "info",
    fmt: Literal["json", "console"] | None = None,
    *,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send every line, ours from `level` on, to `stream` (standard error by default); a second call replaces the first.

    `fmt` None is console on a terminal and json elsewhere. `secrets` never appear in a line.
    """
    stream = stream or sys.stderr
    console = stream.isatty() if fmt is None else fmt == "console"
    last: Processor = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else _cloud_line
    shared = _CONTEXT if console else [*_CONTEXT, _CALLER]
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: record.name == _OURS or record.levelno >= logging.WARNING)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, _Clean(secrets, terminal=console), last],
        )
    )
    _connect(handler)


def _connect(handler: logging.Handler) -> None:
    """Make this the only handler, for Python's warnings too."""
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(logging.DEBUG)  # the bound logger has already dropped what is below the level
    google = logging.getLogger("google")
    google.setLevel(logging.WARNING)  # with a level of its own Google's library leaves its propagation alone
    google.propagate = True
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # its complaint about a line that cannot be written would show the line unmasked


class _Clean:
    """Masks secrets and cuts what is long, in every value and however deep; for a terminal also what would steer it."""

    def __init__(self, secrets: Iterable[str], *, terminal: bool) -> None:
        self._terminal = terminal  # JSON has escapes of its own
        known = [re.escape(secret) for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        self._secret = re.compile("|".join([*known, _SECRET_LOOKS.pattern]))

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        stack = event.pop("exception", None)
        cleaned: EventDict = {name: self._value(value) for name, value in event.items()}
        if stack:  # its end says what happened
            cleaned["exception"] = self._text(stack, _CONTROL_IN_STACK)[-_LONGEST_STACK:]
        return cleaned

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {str(name): self._value(inner) for name, inner in [*value.items()][:_MOST_ITEMS]}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(inner) for inner in [*value][:_MOST_ITEMS]]
        text = self._text(str(value), _CONTROL)
        return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"

    def _text(self, text: str, control: re.Pattern[str]) -> str:
        masked = self._secret.sub(MASK, text)
        return control.sub(lambda found: f"\\x{ord(found[0]):02x}", masked) if self._terminal else masked


def _cloud_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Cloud Logging's special fields first: cloud.google.com/logging/docs/structured-logging."""
    severity = event.pop("level").upper()
    line = {
        "severity": severity,
        "message": event.pop("event"),
        "time": event.pop("timestamp"),
        "logging.googleapis.com/sourceLocation": {
            "file": event.pop("filename"),
            "line": str(event.pop("lineno")),
            "function": event.pop("func_name"),
        },
    }
    if stack := event.pop("exception", None):
        line |= {"stack_trace": stack, **(_REPORTED if severity in {"ERROR", "CRITICAL"} else {})}
    return json.dumps(line | {name: value for name, value in event.items() if value is not None and name not in line})
