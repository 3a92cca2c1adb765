"""The recordings on their way, seen from outside: through the buckets and the ledger, as an operator could see them."""

from __future__ import annotations

import json
import mimetypes
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from subscriber.app import Adapters
from subscriber.bars import Bar, bars, clock
from subscriber.config import Settings
from subscriber.decisions import Verdict
from subscriber.model import Job, Progress, State
from subscriber.outputs import OutputLocation
from subscriber.recordings import Recording

__all__ = ["File", "Files"]

STAGES = ("uploaded", "claimed", "transcribed", "done")


@dataclass(slots=True)
class File:
    """One recording and its job, as the ledger and the buckets show it.

    `seen` tells for each stage after how many seconds it was first seen there, `progress` every one that was recorded.
    """

    recording: Recording
    job: Job
    seen: dict[str, float] = field(default_factory=dict)
    state: State | None = None
    transcript: bytes = b""
    progress: list[Progress] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether it is done, or never will be."""
        return self.state is not None and self.state.final

    @property
    def heard(self) -> str:
        """The text of the transcript, empty without one."""
        return str(json.loads(self.transcript)["text"]).strip() if self.transcript else ""

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The transcript's chunks, each with its `source` and the `request_ids` that it took, ever."""
        return list(json.loads(self.transcript)["chunks"]) if self.transcript else []

    @property
    def from_cache(self) -> int:
        """How many of its chunks had been paid for before."""
        return sum(chunk["source"] == "cache" for chunk in self.chunks)

    @property
    def bar(self) -> Bar:
        """How far it is by the ledger's last word."""
        now = self.progress[-1] if self.progress else Progress()
        return Bar(self.job.name, now.done, now.total, f"{clock(now.done)} of {clock(now.total)}")


class Files:
    """All recordings in the bucket `inbox`; nothing is uploaded yet."""

    def __init__(self, adapters: Adapters, settings: Settings, inbox: str) -> None:
        self._objects, self._ledger = adapters.objects, adapters.ledger
        self._output, self._inbox = OutputLocation.parse(settings.output), inbox
        self._began = time.monotonic()
        self.files: list[File] = []

    def upload(self, recording: Recording, name: str = "") -> File:
        """Write it through the storage client as a new object."""
        name = name or recording.path.name
        guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
        written = self._objects.write(
            self._inbox, name, recording.path.read_bytes(), content_type=guessed, metadata={}, if_generation=0
        )
        file = File(recording, Job(self._inbox, name, written.generation, self._output.text))
        self.files.append(file)
        self._note(file, "uploaded")
        return file

    def look(self) -> None:
        """See how far each has come since the last look."""
        for file in self.files:
            if not file.settled:
                self._look_at(file)

    def have(self, stage: str) -> bool:
        """Whether every file was seen there."""
        return all(stage in file.seen for file in self.files)

    def settled(self) -> bool:
        """Whether every file is."""
        return all(file.settled for file in self.files)

    def keep(self, folder: Path) -> None:
        """Copy every output there."""
        folder.mkdir(exist_ok=True)
        for name in (self._output.name_for(file.job, ending) for file in self.files for ending in ("json", "txt")):
            if found := self._objects.stat(self._output.bucket, name):
                (folder / name).write_bytes(self._objects.read(found))

    def table(self, caption: str = "") -> Group:
        """Each file's way: seconds from the start to each stage; below it the bar of the longest one in work."""
        table = Table("file", box=box.SIMPLE_HEAD, pad_edge=False, caption=caption or None, caption_justify="left")
        for title in ("audio", *STAGES):
            table.add_column(title, justify="right")
        for file in self.files:
            times = (f"{file.seen[stage]:.1f} s" if stage in file.seen else "" for stage in STAGES)
            table.add_row(file.job.name, f"{file.recording.seconds:.1f} s", *times)
        in_work = [file for file in self.files if "claimed" in file.seen and not file.settled]
        return Group(table, bars(file.bar for file in sorted(in_work, key=_seconds)[-1:]))

    def _look_at(self, file: File) -> None:
        record = self._ledger.transact(file.job, lambda record, _now: Verdict(record))
        if not record:
            return
        file.state = record.state
        self._note(file, "claimed")
        if record.progress.done and record.progress not in file.progress:
            file.progress.append(record.progress)
        if found := self._objects.stat(self._output.bucket, self._output.name_for(file.job, "json")):
            self._note(file, "transcribed")
            file.transcript = file.transcript or self._objects.read(found)
        if record.state is State.DONE:
            self._note(file, "done")

    def _note(self, file: File, stage: str) -> None:
        file.seen.setdefault(stage, time.monotonic() - self._began)


def _seconds(file: File) -> float:
    return file.recording.seconds
