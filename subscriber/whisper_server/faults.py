"""Faults on demand, so that tests meet every way in which a provider fails.

The law of this file: a fault is decided when a request has arrived whole and been counted (but for `drop_upload`,
which keeps it from arriving), never by chance and never by time. Another process steers it over HTTP: `GET /control`
and `POST /control`, there only with `control=True`.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from subscriber.whisper_server.kinds import Fault
from subscriber.whisper_server.silences import BOUND_SECONDS

__all__ = ["Control", "Fault", "Faults", "Visit"]

MAX_REMEMBERED = 1000


@dataclass(slots=True)
class Visit:
    """One request on its way through the server; the handler notes how it ended."""

    fault: Fault | None
    answered: bool = False
    transcribed: bool = False


class Faults:
    """The queue of faults, the mode, the hold, and what was counted. Safe to use from many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget faults, mode, hold and counts."""
        with self._changed:
            self._queue: list[Fault] = []
            self._mode: Fault | None = None
            self._held = False
            self._counts = Counter(received=0, answered=0, transcribed=0, in_flight=0, dropped_uploads=0)
            self._bodies: Counter[str] = Counter()
            self._transcribed: Counter[str] = Counter()
            self._requests: deque[dict[str, Any]] = deque(maxlen=MAX_REMEMBERED)
            self._changed.notify_all()

    @property
    def mode(self) -> Fault | None:
        """The persistent fault."""
        return self._mode

    @contextmanager
    def visit(self, seen: Mapping[str, Any]) -> Iterator[Visit]:
        """Count a request that has arrived whole, hold it, give its fault.

        `seen`: model, sha256, response_format, and what else tests may want to look at.
        """
        with self._changed:
            # A reset in between must not be left with a negative number in flight.
            counts, transcribed = self._counts, self._transcribed
            counts.update(received=1, in_flight=1)
            self._bodies[seen["sha256"]] += 1
            self._requests.append(dict(seen))
            visit = Visit(self._next(seen["model"], seen["sha256"], seen["response_format"]))
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._held, BOUND_SECONDS)
        try:
            yield visit
        finally:
            with self._changed:
                counts.update(in_flight=-1, answered=visit.answered, transcribed=visit.transcribed)
                if visit.transcribed:
                    transcribed[seen["sha256"]] += 1
                self._changed.notify_all()

    def drops_upload(self) -> bool:
        """Whether the request that begins is to be dropped in the middle of its body; counted apart."""
        with self._changed:
            dropped = self._take(lambda fault: fault.fault == "drop_upload") is not None
            self._counts.update(dropped_uploads=dropped)
            return dropped

    def _next(self, *request: str) -> Fault | None:
        return self._take(lambda fault: fault.meets(*request))

    def _take(self, meets: Callable[[Fault], bool]) -> Fault | None:
        for i, fault in enumerate(self._queue):
            if meets(fault):
                self._queue[i : i + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                return fault
        return self._mode if self._mode and meets(self._mode) else None

    def snapshot(self, wait_requests: int = 0, timeout: float = 0.0) -> dict[str, Any]:
        """All counts, after at least `wait_requests` requests were received or `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._counts["received"] >= wait_requests, min(timeout, BOUND_SECONDS))
            return {
                **self._counts,
                "bodies": dict(self._bodies),
                "transcribed_bodies": dict(self._transcribed),
                "requests": list(self._requests),
                "queued": [asdict(fault) for fault in self._queue],
                "mode": asdict(self._mode) if self._mode else None,
                "held": self._held,
            }

    def command(self, order: Mapping[str, Any]) -> None:
        """Do what a `POST /control` asks: `reset`, `hold`, `mode` (null ends it), or `fault` for the queue.

        Queued faults go before the mode.

        Raises:
            ValueError: no such fault.
            TypeError: no such argument.

        """
        rest = dict(order)
        with self._changed:
            if rest.pop("reset", False):
                self.reset()
            self._held = bool(rest.pop("hold", self._held))
            if "mode" in rest:
                kind = rest.pop("mode")
                self._mode = Fault(kind, **rest) if kind else None
            elif rest:
                self._queue.append(Fault(**rest))
            self._changed.notify_all()


class Control:
    """A test's hand on a server in another process; `url` is the server's, with or without `/v1`."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def fault(self, fault: str, times: int = 1, **more: Any) -> None:
        """Queue a fault for the next `times` requests; `more`: retry_after, model, sha256."""
        self._call("POST", {"fault": fault, "times": times, **more})

    def mode(self, fault: str | None, **more: Any) -> None:
        """Make a fault persistent; None ends it."""
        self._call("POST", {"mode": fault, **more})

    def hold(self) -> None:
        """Keep every request waiting from now on."""
        self._call("POST", {"hold": True})

    def release(self) -> None:
        """Let the waiting requests go."""
        self._call("POST", {"hold": False})

    def reset(self) -> None:
        """Forget everything: faults, mode, hold, counts."""
        self._call("POST", {"reset": True})

    def status(self) -> dict[str, Any]:
        """What `Faults.snapshot` tells."""
        return self._call("GET")

    def wait_for_requests(self, n: int, timeout: float = 30.0) -> dict[str, Any]:
        """The status as soon as `n` requests have been received in all.

        Raises:
            TimeoutError: there were fewer after `timeout` seconds.

        """
        status = self._call("GET", query={"wait_requests": n, "timeout": timeout}, timeout=timeout + 10)
        if status["received"] < n:
            raise TimeoutError(f"{status['received']} of {n} requests within {timeout} s")
        return status

    def _call(
        self,
        method: str,
        order: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
    ) -> dict[str, Any]:
        connection = HTTPConnection(self._address, timeout=timeout)
        try:
            connection.request(method, f"/control?{urlencode(query or {})}", json.dumps(order) if order else None)
            response = connection.getresponse()
            answer: dict[str, Any] = json.load(response)
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"/control answered {response.status}: {answer}")
        return answer
