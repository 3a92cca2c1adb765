"""Where a transcript's files go, and how they are written: fenced, JSON last.

The law of this file: an output is replaced only by a higher or equal (generation, epoch) of its own source, and only in
the very version that was looked at. NAME.json is there only while every file that it lists is: it is written after
them, and taken away before one of them is replaced.

What a reader may rely on while two writers race: the JSON names the generation of each file of its set. A worker that
lost its claim in the middle of its writes may still place a JSON whose files the next one has begun to replace; the
generations show it, and the next one's JSON comes last.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, Self
from urllib.parse import quote, unquote

from subscriber.errors import ClaimLost, Permanent, PreconditionFailed, Superseded, Transient
from subscriber.model import SCHEMA_VERSION, Claim, Job, ObjectInfo, Reason
from subscriber.ports import Objects
from subscriber.transcript import OutputFile

__all__ = ["OutputLocation", "OutputVersion", "output_version", "require_writable", "write_error", "write_set"]

NAME_BYTES = 1024
"""Longest object name in bytes of UTF-8: cloud.google.com/storage/docs/objects#naming."""

ROUNDS = 5
"""How often an object may change under our eyes before it costs an attempt; two writers need two rounds."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("bucket", "name", "stem", "generation")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class OutputLocation:
    """The OUTPUT setting. `text` is the setting as written, `pattern` an object's name without its last ending."""

    text: str
    bucket: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `gs://BUCKET[/PREFIX]`, or a path with placeholders. Raises ValueError with a sentence for people."""
        bucket, _, path = text.removeprefix("gs://").partition("/")
        if not text.startswith("gs://") or not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{text!r} is not gs://BUCKET or gs://BUCKET/PREFIX")
        used = set(_PLACEHOLDER.findall(path))
        if unknown := used - set(_PLACEHOLDERS):
            raise ValueError(f"{text!r} has an unknown placeholder {{{unknown.pop()}}}; known are {_known_ones()}")
        if re.search(r"[{}]", _PLACEHOLDER.sub("", path)):
            raise ValueError(f"{text!r} has a brace without its other half")
        if used and not used & {"name", "stem"}:
            raise ValueError(f"{text!r} gives all objects one name: use {{name}} or {{stem}}")
        path = path.strip("/")
        return cls(text, bucket, path if used else f"{path}/{{name}}".lstrip("/"))

    @property
    def static_prefix(self) -> str:
        """What all names of our outputs begin with: the text before the first placeholder."""
        return self.pattern.partition("{")[0]

    @property
    def covers_whole_bucket(self) -> bool:
        """Whether any object of the bucket could be an output of ours."""
        return not self.static_prefix

    def holds(self, bucket: str, name: str) -> bool:
        """Whether the object is, by its place, an output of ours."""
        return bucket == self.bucket and name.startswith(self.static_prefix)

    def chunk_prefix(self, chunk_cache: str) -> str:
        """What the names of all paid chunks begin with; `chunk_cache` is the CHUNK_CACHE setting."""
        return f"{self.static_prefix}{chunk_cache.strip('/')}/"

    def name_for(self, job: Job, extension: str) -> str:
        """The name of the job's output with this ending (without its dot). Raises Permanent."""
        values = {
            "bucket": job.bucket,
            "name": job.name,
            "stem": job.name.removesuffix(PurePosixPath(job.name).suffix),
            "generation": str(job.generation),
        }
        # In one pass: a source whose name holds "{stem}" must not be expanded twice.
        name = _PLACEHOLDER.sub(lambda found: values[found[1]], self.pattern) + f".{extension}"
        if len(name.encode()) > NAME_BYTES:
            raise Permanent("output_name_too_long", f"gs://{self.bucket}/{name} is longer than {NAME_BYTES} bytes")
        return name


def require_writable(objects: Objects, location: OutputLocation, claim: Claim) -> None:
    """Find out before anything is paid what `write_set` would find out after, in one call. Raises as it does."""
    _Writer(objects, location, claim, fingerprint="").require_replaceable("json")


def write_set(  # noqa: PLR0917 - what, where, by which right, then the content
    objects: Objects,
    location: OutputLocation,
    claim: Claim,
    files: Sequence[OutputFile],
    json_file: Callable[[dict[str, int]], OutputFile],
    fingerprint: str,
) -> tuple[str, ...]:
    """Write a transcript's files; the JSON, made from the object generations of the others by name, comes last.

    Returns their URIs. Raises Superseded, ClaimLost, Permanent, Transient, NeighbourDown; after any of them, and after
    a crash, the same or a later claim may do it all again.
    """
    writer = _Writer(objects, location, claim, fingerprint)
    written = [writer.put(file) for file in files]
    written.append(writer.put(json_file({info.name: info.generation for info in written})))
    # The set is complete: an old error file that may not be deleted (retention) or has changed does not undo that.
    with suppress(Permanent, Superseded, ClaimLost, PreconditionFailed):
        writer.take_away("error.json")
    return tuple(f"gs://{info.bucket}/{info.name}" for info in written)


def write_error(objects: Objects, location: OutputLocation, claim: Claim, reason: Reason) -> str:
    """Write NAME.error.json and return its URI. Raises as `write_set` does; Superseded also beside a transcript.

    A failure stands beside an older generation's transcript, never beside one of ours or a newer one. The other writer
    may come at any time, so we look before and after: it writes its JSON and then looks for our file, we write our file
    and then look for its JSON; whoever looks last sees the other.
    """
    writer = _Writer(objects, location, claim, fingerprint="")
    writer.require_no_transcript()
    written = writer.put(_error_file(claim, reason))
    try:
        writer.require_no_transcript()
    except Superseded:
        with suppress(PreconditionFailed):
            objects.delete(written.bucket, written.name, if_generation=written.generation)
        raise
    return f"gs://{written.bucket}/{written.name}"


class OutputVersion(NamedTuple):
    """Whose output it is: ordered, as far as the source is the same, by who may replace whom."""

    bucket: str
    name: str
    generation: int
    epoch: int


class _Writer:
    """Writes the files of one claim."""

    def __init__(self, objects: Objects, location: OutputLocation, claim: Claim, fingerprint: str) -> None:
        self._objects = objects
        self._location = location
        self._claim = claim
        job = claim.job
        self._ours = OutputVersion(job.bucket, job.name, job.generation, claim.epoch)
        self._metadata = {
            "source-bucket": job.bucket,
            # Metadata values travel as HTTP headers too, where only ASCII arrives unharmed everywhere.
            "source-name": quote(job.name),
            "source-generation": str(job.generation),
            "epoch": str(claim.epoch),
            "fingerprint": fingerprint,
        }

    def put(self, file: OutputFile) -> ObjectInfo:
        """Write one file over nothing, or over what may be replaced."""
        name = self._location.name_for(self._claim.job, file.extension)
        live = 0  # in the common case there is nothing: one call
        for _ in range(ROUNDS):
            with suppress(PreconditionFailed):
                if live and not file.extension.endswith("json"):
                    self.take_away("json")
                return self._write(name, file, live)
            found = self._replaceable(name)
            if found and self._is_this(found, file):
                return found
            live = found.generation if found else 0
        raise Transient(
            "storage_error", f"gs://{self._location.bucket}/{name} changed {ROUNDS} times while we wrote it"
        )

    def require_replaceable(self, extension: str) -> None:
        """Raise Permanent, Superseded or ClaimLost if what stands there is not ours to replace."""
        self._replaceable(self._location.name_for(self._claim.job, extension))

    def take_away(self, extension: str) -> None:
        """Delete a file of the same source, unless it is newer. Raises PreconditionFailed if it changes meanwhile."""
        name = self._location.name_for(self._claim.job, extension)
        if found := self._replaceable(name):
            self._objects.delete(found.bucket, found.name, if_generation=found.generation)

    def require_no_transcript(self) -> None:
        """Raise Superseded if there is a transcript of our generation or a newer one."""
        name = self._location.name_for(self._claim.job, "json")
        found = self._objects.stat(self._location.bucket, name)
        theirs = output_version(found) if found else None
        if theirs and theirs[:2] == self._ours[:2] and theirs.generation >= self._ours.generation:
            raise Superseded(f"gs://{self._location.bucket}/{name} is of generation {theirs.generation}")

    def _write(self, name: str, file: OutputFile, if_generation: int) -> ObjectInfo:
        return self._objects.write(
            self._location.bucket,
            name,
            file.data,
            content_type=file.content_type,
            metadata=self._metadata,
            if_generation=if_generation,
        )

    def _replaceable(self, name: str) -> ObjectInfo | None:
        """What stands there, if we may replace it. Raises Permanent, Superseded, ClaimLost."""
        found = self._objects.stat(self._location.bucket, name)
        if found is None:
            return None
        where, theirs = f"gs://{found.bucket}/{name}", output_version(found)
        if theirs is None or theirs[:2] != self._ours[:2]:
            whose = f"the output of gs://{theirs.bucket}/{theirs.name}" if theirs else "no output of ours"
            raise Permanent("output_collision", f"{where} is {whose}")
        if theirs.generation > self._ours.generation:
            raise Superseded(f"{where} is of generation {theirs.generation}")
        if theirs > self._ours:
            raise ClaimLost(f"{where} was written in epoch {theirs.epoch}, ours is {self._ours.epoch}")
        return found

    def _is_this(self, found: ObjectInfo, file: OutputFile) -> bool:
        """Whether our own earlier write, whose answer was lost, is what stands there."""
        md5 = hashlib.md5(file.data, usedforsecurity=False).digest()
        return output_version(found) == self._ours and found.md5 == base64.b64encode(md5).decode()


def output_version(found: ObjectInfo) -> OutputVersion | None:
    """Whose output an object says it is; None for one that is none of ours."""
    told = found.metadata
    try:
        name, generation, epoch = unquote(told["source-name"]), int(told["source-generation"]), int(told["epoch"])
        return OutputVersion(told["source-bucket"], name, generation, epoch)
    except (KeyError, ValueError):
        return None


def _error_file(claim: Claim, reason: Reason) -> OutputFile:
    job = claim.job
    document = {
        "schema_version": SCHEMA_VERSION,
        "source": {
            "bucket": job.bucket,
            "name": job.name,
            "generation": str(job.generation),  # 64 bits: more than a JavaScript number holds
            "uri": job.uri,
        },
        "reason": {"kind": reason.kind, "message": reason.message, "at": reason.at.isoformat()},
        # A claim that may only bury the job is not an attempt of its own.
        "attempts": claim.attempt - 1 if claim.sentence else claim.attempt,
    }
    data = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    return OutputFile("error.json", "application/json", data.encode())


def _known_ones() -> str:
    return ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
