"""Runs checks one after the other, and makes one finding at least of each, whatever it runs into.

The law of this file: an error is a finding, and what nobody could see is unknown, never ok.
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from subscriber.desk.facts import Finding, Level, Unseen
from subscriber.errors import ConfigError, NeighbourDown, PreconditionFailed, SubscriberError
from subscriber.ports import Objects

__all__ = ["Check", "port_findings", "probe_output", "proven", "run"]

PROBE = b"subscriber check: a probe, to be deleted at once\n"


@dataclass(frozen=True, slots=True)
class Check:
    """Something to find out about a subject."""

    subject: str
    look: Callable[[], Iterable[Finding]]


def run(checks: Iterable[Check]) -> Iterator[Finding]:
    """Every finding, as it is found."""
    for check in checks:
        try:
            yield from check.look()
        except Unseen as unseen:
            yield Finding(Level.UNKNOWN, check.subject, str(unseen), unseen.remedy)
        except ConfigError as error:
            message, _, remedy = str(error).partition("\n    remedy: ")
            yield Finding(Level.FAIL, check.subject, message, remedy)
        except NeighbourDown as error:
            yield Finding(Level.FAIL, check.subject, f"{error.reason}: {error}")
        except SubscriberError as error:
            yield Finding(Level.FAIL, check.subject, str(error))


def proven(subject: str, prove: Callable[[], None], message: str, *, emulator: bool = False) -> Check:
    """A check that passes unless it raises; behind an emulator the rights remain unknown."""

    def look() -> Iterator[Finding]:
        prove()
        yield Finding(Level.OK, subject, message)
        if emulator:
            yield Finding(Level.UNKNOWN, subject, "rights: the emulator knows none")

    return Check(subject, look)


def probe_output(objects: Objects, bucket: str, prefix: str) -> Iterator[Finding]:
    """Write, read back, be refused a second writing, delete: what each transcript takes. Raises what these raise."""
    name = f"{prefix}check-{uuid.uuid4().hex}"
    written = objects.write(bucket, name, PROBE, content_type="text/plain", metadata={}, if_generation=0)
    try:
        read = objects.read(written)
        try:
            objects.write(bucket, name, PROBE, content_type="text/plain", metadata={}, if_generation=0)
        except PreconditionFailed:
            fenced = True
        else:
            fenced = False
    finally:
        live = objects.stat(bucket, name)
        objects.delete(bucket, name, if_generation=live.generation if live else written.generation)
    where = f"gs://{bucket}/{prefix}"
    if read != PROBE:
        yield Finding(Level.FAIL, "output", f"{where}: what was written is read back changed")
    elif not fenced:
        yield Finding(Level.FAIL, "output", f"{where}: a write that must find nothing replaced an object")
    else:
        yield Finding(Level.OK, "output", f"{where} takes, gives back, fences and deletes an object")


def port_findings(port: int) -> Iterator[Finding]:
    """Whether the daemon can listen, or does already."""
    if not port or _free(port):
        yield Finding(Level.OK, "port", f"{port} is free")
    elif state := _state_of_ours(port):
        yield Finding(Level.OK, "port", f"{port} is a subscriber's, which is {state}")
    else:
        yield Finding(Level.FAIL, "port", f"{port} is taken by another program", "PORT=ANOTHER_PORT")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _state_of_ours(port: int) -> str | None:
    """What a daemon's /readyz says; None where something else answers, or nothing."""
    connection = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        state = json.loads(connection.getresponse().read(10_000))["state"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
    else:
        return str(state)
    finally:
        connection.close()
