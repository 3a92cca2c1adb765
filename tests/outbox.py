"""A transcript's outputs in a folder whose every call a test can meet: to look, to interrupt, to crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subscriber.adapters.folder import FolderObjects
from subscriber.model import Claim, Job, ObjectInfo
from subscriber.outputs import OutputLocation, write_set
from subscriber.transcript import OutputFile

LOCATION = OutputLocation.parse("gs://outbox/texts")


def claim(generation: int = 5, epoch: int = 1, name: str = "a.wav", *, attempt: int = 1) -> Claim:
    return Claim(Job("inbox", name, generation, LOCATION.text), "nonce", epoch, attempt, 90)


Meeting = Callable[[int, str], None]


@dataclass
class Watched:
    """A folder whose every call can be met: `before` and `after` get the call's number and what it does."""

    objects: FolderObjects
    before: Meeting = lambda _number, _call: None
    after: Meeting = lambda _number, _call: None

    def __post_init__(self) -> None:
        self.calls: list[str] = []

    def _met(self, call: str, act: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.calls.append(call)
        self.before(number, call)
        answer = act()
        self.after(number, call)
        return answer

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        found: ObjectInfo | None = self._met(f"stat {name}", lambda: self.objects.stat(bucket, name))
        return found

    def read(self, info: ObjectInfo) -> bytes:
        return self.objects.read(info)

    def read_range(self, info: ObjectInfo, offset: int, size: int) -> bytes:
        return self.objects.read_range(info, offset, size)

    def write(self, bucket: str, name: str, data: bytes, **how: Any) -> ObjectInfo:
        written: ObjectInfo = self._met(f"write {name}", lambda: self.objects.write(bucket, name, data, **how))
        return written

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        self._met(f"delete {name}", lambda: self.objects.delete(bucket, name, if_generation=if_generation))

    # What a test wants to know

    def live(self, name: str) -> ObjectInfo:
        found = self.objects.stat("outbox", name)
        assert found
        return found

    def names(self) -> list[str]:
        folder = self.objects._roots["outbox"] / "texts"
        return sorted(path.name for path in folder.glob("*"))

    def owner(self, name: str) -> tuple[int, int]:
        told = self.live(name).metadata
        return int(told["source-generation"]), int(told["epoch"])

    def json_is_true(self) -> bool:
        """Whether the JSON, if there is one, lists only live files of its own owner."""
        if not (found := self.objects.stat("outbox", "texts/a.wav.json")):
            return True
        listed = json.loads(self.objects.read(found))
        return all(
            self.live(name).generation == generation and self.owner(name) == self.owner(found.name)
            for name, generation in listed.items()
        )


def transcribe(outbox: Watched, by: Claim, text: str = "") -> tuple[str, ...]:
    words = (text or f"{by.job.generation}/{by.epoch}").encode()
    files = [OutputFile("txt", "text/plain", words), OutputFile("srt", "text/plain", words)]

    def json_file(generations: dict[str, int]) -> OutputFile:
        return OutputFile("json", "application/json", json.dumps(generations).encode())

    return write_set(outbox, LOCATION, by, files, json_file, "fingerprint")


SET = ["a.wav.json", "a.wav.srt", "a.wav.txt"]
