"""The bodies of a provider's answers, bounded in time and length.

The law of this file: no answer is read without an end. A refusal that is too long is cut off, because it is a refusal
all the same and its first words tell why; anything else that is too long is no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import cast

import httpx2

__all__ = ["BOUNDS", "LONGEST_ANSWER_BYTES"]

LONGEST_ANSWER_BYTES = 2**20
"""Half a minute of speech, with times for each word, comes to a hundredth of it; judging so much takes seconds."""


class _BoundedBody(httpx2.SyncByteStream):
    """The library's own limits are for each read, and a trickle meets none of them."""

    def __init__(self, response: httpx2.Response) -> None:
        self._body = cast("httpx2.SyncByteStream", response.stream)
        self._request = response.request
        self._is_refusal = response.is_error

    def __iter__(self) -> Iterator[bytes]:
        left = LONGEST_ANSWER_BYTES
        for piece in self._body:
            left -= len(piece)
            if left < 0 and self._is_refusal:
                return
            if left < 0:
                raise httpx2.ReadError(f"more than {LONGEST_ANSWER_BYTES} bytes", request=self._request)
            if time.monotonic() > self._request.extensions["ends_at"]:
                raise httpx2.ReadTimeout("the answer did not end in time", request=self._request)
            yield piece

    def close(self) -> None:
        self._body.close()


def _begin(request: httpx2.Request) -> None:
    # A redirect is part of the answer, and gets no time of its own.
    request.extensions.setdefault("ends_at", time.monotonic() + request.extensions["timeout"]["read"])
    # The parts of a form would each go out by a call of their own: twenty times the waits for a busy interpreter.
    request.read()


def _bound(response: httpx2.Response) -> None:
    response.stream = _BoundedBody(response)


BOUNDS: dict[str, list[Callable[..., None]]] = {"request": [_begin], "response": [_bound]}
"""A client's event hooks."""
