"""A file becomes PCM. Runs in a process of its own: what it reads was made by strangers.

The law of this file: a defect costs what it spoils and no more, and what was said at a time is heard at that time.
Everything that is not right with a file is counted and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from subscriber.audio.containers import Recording, open_recording
from subscriber.audio.facts import AudioWarning, Facts
from subscriber.audio.mixdown import Mixdown
from subscriber.audio.timeline import Timeline
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.errors import Permanent

__all__ = ["decode"]

PIECE_BYTES = 64 * 1024
"""Two seconds: few enough pieces, and little enough that a waiting decoder holds."""

HOPELESS = 100
"""So many failures to read in a row, and the rest of the file is given up: it is cut short, with a warning."""

NOTABLE_SECONDS = 1.0
"""A gap or a jump of this length gets a warning of its own."""

LONGEST_OGG_PAGE = 65_307

MOST_WARNINGS = 20
"""Of one kind; a file with thousands of gaps must not make a thousand lines."""


def decode(file: BinaryIO, max_seconds: float, opened: Callable[[Facts], None], hear: Callable[[bytes], None]) -> Facts:
    """Tell `opened` what the container says, `hear` the PCM in pieces, and return what became known.

    Raises Permanent (`undecodable`, `no_audio_stream`, `no_audio`, `too_long`), MemoryError.
    """
    recording = open_recording(file)
    facts = Facts(recording.format, recording.codec, recording.declared, recording.guessed)
    if recording.declared and not recording.shares_its_length and recording.declared > max_seconds:
        raise Permanent("too_long", f"{recording.declared:.0f} s; MAX_AUDIO_SECONDS is {max_seconds:.0f}")
    opened(facts)
    work = _Decoding(recording, _Sink(hear, max_seconds))
    work.run()
    if not work.sink.samples:
        raise Permanent("no_audio", f"{facts.container}, but not a sample of sound could be decoded")
    return replace(
        facts,
        decoded_seconds=work.sink.seconds,
        filled_seconds=work.filled / SAMPLE_RATE,
        bad_packets=work.bad.count,
        warnings=(*work.warnings, *work.closing_warnings(_unfinished(file, facts.container))),
    )


class _Sink:
    """Gathers PCM into pieces and watches the limit."""

    def __init__(self, hear: Callable[[bytes], None], max_seconds: float) -> None:
        self._hear = hear
        self._most = round(max_seconds * SAMPLE_RATE)
        self._piece = bytearray()
        self.samples = 0

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    def write(self, pcm: bytes) -> None:
        self._count(len(pcm) // SAMPLE_BYTES)
        self._piece += pcm
        while len(self._piece) >= PIECE_BYTES:
            self._hear(bytes(self._piece[:PIECE_BYTES]))
            del self._piece[:PIECE_BYTES]

    def silence(self, samples: int) -> None:
        """Write zeros; the limit is judged before the first of them."""
        self._count(samples)
        self.samples -= samples
        for start in range(0, samples, PIECE_BYTES):
            self.write(bytes(min(PIECE_BYTES, samples - start) * SAMPLE_BYTES))

    def flush(self) -> None:
        if self._piece:
            self._hear(bytes(self._piece))
            self._piece.clear()

    def _count(self, samples: int) -> None:
        self.samples += samples
        if self.samples > self._most:
            raise Permanent("too_long", f"more than the {self._most / SAMPLE_RATE:.0f} s of MAX_AUDIO_SECONDS")


@dataclass(slots=True)
class _Places:
    """Where in the sound something happened, too often for a warning each."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, at: float) -> None:
        self.first = at if not self.count else self.first
        self.last = at
        self.count += 1


class _Decoding:
    def __init__(self, recording: Recording, sink: _Sink) -> None:
        self._recording = recording
        self._timeline = Timeline(recording.origin, recording.declared)
        self._mixdown = Mixdown()
        self.sink = sink
        self.bad = _Places()
        self._gaps = _Places()
        self._gave_up = False
        self.filled = 0
        self.warnings: list[AudioWarning] = []

    def run(self) -> None:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.FFmpegError:
                self.bad.add(self.sink.seconds)
                continue
            for frame in frames:
                self._frame(frame)
        self.sink.write(self._mixdown.flush())
        self.sink.flush()

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Every packet of the track; a place that cannot be read is stepped over."""
        failures = 0
        while failures < HOPELESS:
            try:
                for packet in self._recording.container.demux(self._recording.stream):
                    failures = 0
                    yield packet
            except MemoryError:
                raise
            except av.FFmpegError:
                failures += 1
                if failures == 1:
                    self.bad.add(self.sink.seconds)
            else:
                return
        self._gave_up = True

    def _frame(self, frame: AudioFrame) -> None:
        try:
            at = None if frame.pts is None else frame.time
            step = self._timeline.place(at, frame.samples / frame.sample_rate)
            if step:
                self._step(step)
            self.sink.write(self._mixdown.feed(frame))
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError, ZeroDivisionError):
            self.bad.add(self.sink.seconds)

    def _step(self, seconds: float) -> None:
        """Fill a gap that we believe; tell of it, and of a jump that we follow, when anybody could notice."""
        start = self.sink.seconds
        if seconds > 0 and self._timeline.believes(seconds):
            self.sink.write(self._mixdown.flush())
            samples = round(seconds * SAMPLE_RATE)
            self.sink.silence(samples)
            self.filled += samples
            if seconds < NOTABLE_SECONDS:
                self._gaps.add(start)
            self._warn("gap_filled", f"{seconds:.1f} s are missing and were filled with silence", start, seconds)
        else:
            self._warn("timestamp_jump", f"the timestamps jump by {seconds:+.1f} s", start, seconds)

    def _warn(self, kind: str, message: str, start: float, seconds: float) -> None:
        if abs(seconds) >= NOTABLE_SECONDS and sum(one.kind == kind for one in self.warnings) < MOST_WARNINGS:
            self.warnings.append(AudioWarning(kind, message, start, max(start, self.sink.seconds)))

    def closing_warnings(self, unfinished: bool) -> Iterator[AudioWarning]:
        """What can be said only of the whole."""
        end = self.sink.seconds
        if self.bad.count:
            text = f"{self.bad.count} packets could not be decoded"
            yield AudioWarning("bad_packets", text, self.bad.first, self.bad.last)
        if self._gaps.count:
            text = f"{self._gaps.count} gaps of less than {NOTABLE_SECONDS:.0f} s were filled with silence"
            yield AudioWarning("gap_filled", text, self._gaps.first, self._gaps.last)
        if self._mixdown.changes:
            text = f"the sound's format changes {self._mixdown.changes} times"
            yield AudioWarning("format_changed", text, 0.0, end)
        if self._mixdown.cancelled_windows:
            text = f"left and right cancel each other out for {self._mixdown.cancelled_windows} s; one was taken"
            yield AudioWarning("channels_cancel", text, 0.0, end)
        declared = self._recording.declared
        if declared and declared - end > _tolerance(declared, self._recording.shares_its_length):
            yield AudioWarning("truncated", f"the file declares {declared:.1f} s", end, declared)
        elif self._gave_up:
            yield AudioWarning("truncated", "what follows cannot be read", end, end)
        elif unfinished:
            yield AudioWarning("truncated", "the file ends before its container does", end, end)


def _tolerance(declared: float, shares_its_length: bool) -> float:
    """Seconds that may be missing without a word: encoders pad; a picture may go on after the sound."""
    return max(1.0, declared * (0.1 if shares_its_length else 0.01))


def _unfinished(file: BinaryIO, container: str) -> bool:
    """Whether the container itself goes on, where FFmpeg takes the length from what is there and would not tell."""
    size = file.seek(0, 2)
    if container == "ogg":
        # The last page is marked as the last.
        file.seek(max(0, size - LONGEST_OGG_PAGE))
        tail = file.read(LONGEST_OGG_PAGE)
        page = tail.rfind(b"OggS")
        return page < 0 or len(tail) < page + 6 or not tail[page + 5] & 4
    if container == "wav":
        file.seek(0)
        declared = int.from_bytes(file.read(8)[4:], "little")
        return size < declared + 8 < 2**32 - 2**16  # more is a writer that did not know
    return False
