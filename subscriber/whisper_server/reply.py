"""What the server can say. Every refusal is a value in OpenAI's shape: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Refused", "Reply", "json_reply", "refusal"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. With `cut` the connection is closed in the middle of the body."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


class Refused(Exception):
    """The request ends here, with `reply` as its answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def json_reply(value: Any, status: int = 200) -> Reply:
    """`value` as a JSON answer; NaN passes, because a fault needs it."""
    return Reply(status, json.dumps(value, ensure_ascii=False).encode())


def refusal(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    kind: str = "invalid_request_error",
) -> Reply:
    """An error as OpenAI words it: clients decide by `status`, `kind` (their `type`) and `code`."""
    return json_reply({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)
