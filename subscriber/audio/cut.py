"""PCM becomes chunks: pure, streaming, the same for the same samples however they arrive.

The law of this file: the chunks joined are the PCM, to the sample. Nothing is judged by what lies more than a chunk and
a tail ahead, so that the first chunk goes out while the rest is still being decoded. Only what is certainly silent is
called so; a chunk that is not is paid for.

Change what comes out and change CUTTER_VERSION: it is part of every stored chunk's key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import hypot
from operator import sub

from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE

__all__ = ["CUTTER_VERSION", "Chunk", "cut"]

CUTTER_VERSION = 1

FRAMES_A_SECOND = 100
FRAME_SAMPLES = SAMPLE_RATE // FRAMES_A_SECOND
FRAME_BYTES = FRAME_SAMPLES * SAMPLE_BYTES

PAUSE = 30
"""Frames: a cut is made in the middle of the quietest 300 ms (measured; the word error rates are in bench/)."""

TAIL = 300
"""Frames: what is left behind a cut is at least 3 s long. Models invent words for less. What is a little
longer than a chunk is therefore cut a little earlier."""

SILENCE = 1000
"""Frames: a silent stretch is at least 10 s long; shorter ones are pauses, and a pause tells a model something."""

MARGIN = 50
"""Frames of a silent stretch that stay with the sound on either side: words begin and end softly."""

NEAR_FLOOR = 4
"""Power ratio of 6 dB: what is louder than the noise floor by more is sound, what is not is floor."""

FLOOR_CHUNKS = 10
"""The floor is the quietest pause of the last ten chunks (up to 5 minutes) and of what lies ahead: rooms change."""

STRIDE = 2
"""Every second sample tells a frame's power as well as all do: what lies above 4 kHz is folded, not lost."""

FAINTEST = (FRAME_SAMPLES // STRIDE) ** 2
"""Power of a frame whose samples are one unit off on average (-90 dBFS): rounding noise, a 200th of quiet speech."""

NO_FLOOR = 2**60
"""More than any sound's power: where all is digital silence there is no noise to measure."""

SHORTEST_LOUD = 5
"""Frames: 50 ms. A click is no speech."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of one recording. `pcm`: 16 kHz mono s16; `start_sample`: where it begins in the whole.

    `loud`: what lies over the noise floor, as (start, end) in seconds from the chunk's start, ascending; pauses of up
    to 300 ms are part of it. `silent`: nothing is to be heard, so nothing need be asked.
    """

    index: int
    start_sample: int
    pcm: bytes
    silent: bool
    loud: tuple[tuple[float, float], ...]

    @property
    def start(self) -> float:
        """Where it begins in the whole, in seconds."""
        return self.start_sample / SAMPLE_RATE

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / SAMPLE_BYTES / SAMPLE_RATE


def cut(pieces: Iterable[bytes], chunk_seconds: float = 30.0) -> Iterator[Chunk]:
    """Cut PCM into chunks of at most `chunk_seconds` (at least 10). Empty PCM has no chunks.

    Pieces may be of any length, also of half a sample. What is held: a chunk, a tail and a piece.
    """
    longest = round(chunk_seconds * FRAMES_A_SECOND)
    if longest < SILENCE:
        raise ValueError(f"chunks of {chunk_seconds} s are too short")
    cutter = _Cutter(longest)
    for piece in pieces:
        cutter.hear(piece)
        while len(cutter.powers) >= cutter.horizon:
            yield cutter.chunk(ended=False)
    while cutter.pcm:
        yield cutter.chunk(ended=True)


class _Cutter:
    """What is heard and not yet cut, with one power a frame."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.horizon = longest + TAIL
        self.pcm = bytearray()
        self.powers: list[int] = []
        self._floors: deque[int] = deque(maxlen=FLOOR_CHUNKS)
        self._silent_ahead = 0
        self._index = 0
        self._start_sample = 0

    def hear(self, piece: bytes) -> None:
        self.pcm += piece
        begin = len(self.powers) * FRAME_BYTES
        whole = (len(self.pcm) - begin) // FRAME_BYTES * FRAME_BYTES
        self.powers += _powers(self.pcm[begin : begin + whole])

    def chunk(self, *, ended: bool) -> Chunk:
        """Take the next chunk off. `ended`: nothing follows, so the rest is all there is."""
        ahead = self.powers[: self.horizon]
        threshold = self._threshold(ahead)
        length = self._silent_length(ahead, threshold, ended)
        silent = length > 0
        if not silent:
            length = self._length(ahead, threshold, ended)
        self._floors.append(_floor(ahead[:length]))
        return self._take(length, silent, threshold, whole=ended and length == len(ahead))

    def _threshold(self, ahead: Sequence[int]) -> float:
        """The loudest power that still is floor."""
        floor = min(_floor(ahead), *self._floors, NO_FLOOR)
        return FAINTEST if floor == NO_FLOOR else max(FAINTEST, floor / PAUSE * NEAR_FLOOR)

    def _silent_length(self, ahead: Sequence[int], threshold: float, ended: bool) -> int:
        """Frames of silence to take off now, or 0. Of a stretch that is longer than we see, the rest is remembered."""
        end = len(ahead)
        stop = next((at for at, power in enumerate(ahead) if power > threshold), end)
        known, self._silent_ahead = self._silent_ahead, 0
        if max(stop, known) < SILENCE and not known:
            return 0
        stop = max(stop, known)
        if ended and stop == end <= self.longest:
            return end
        length = min(stop - MARGIN, end - TAIL)
        if length < TAIL:
            return 0
        self._silent_ahead = end - length if stop == end else 0
        return length

    def _length(self, ahead: Sequence[int], threshold: float, ended: bool) -> int:
        """Frames up to the next cut: before a silent stretch, or at the quietest pause of the last half."""
        end = len(ahead)
        start, stop = _silence(ahead, threshold)
        before = max(start + MARGIN, TAIL)
        if stop - start >= SILENCE:
            self._silent_ahead = stop - before
            return before
        if ended and end <= self.longest:
            return end
        first, last = self.longest // 2, min(self.longest, end - TAIL)
        if stop == end and first <= before <= last:
            return before  # it may become a silent stretch; if not, it still is the best of pauses
        pauses = _pauses(ahead[first - PAUSE // 2 : last + PAUSE // 2])
        return last - pauses[::-1].index(min(pauses))

    def _take(self, length: int, silent: bool, threshold: float, *, whole: bool) -> Chunk:
        size = len(self.pcm) if whole else length * FRAME_BYTES
        pcm = bytes(self.pcm[:size])
        chunk = Chunk(
            index=self._index,
            start_sample=self._start_sample,
            pcm=pcm,
            silent=silent or not pcm.strip(b"\0"),
            loud=() if silent else _loud(self.powers[:length], threshold),
        )
        del self.pcm[:size], self.powers[:length]
        self._index += 1
        self._start_sample += size // SAMPLE_BYTES
        return chunk


def _powers(pcm: bytes | bytearray) -> list[int]:
    """The power of each frame, times a constant, without what stands still (a microphone's offset). Exact: integers.

    `hypot` is the standard library's fastest sum of squares. It is right to its last bit or the one before, and the sum
    has 37 of the 53 that a float holds, so rounding finds the integer.
    """
    samples = memoryview(pcm).cast("h")
    powers = []
    for start in range(0, len(samples), FRAME_SAMPLES):
        frame = samples[start : start + FRAME_SAMPLES : STRIDE].tolist()
        powers.append(len(frame) * round(hypot(*frame) ** 2) - sum(frame) ** 2)
    return powers


def _pauses(powers: Sequence[int]) -> list[int]:
    """The power of every stretch of 300 ms, by its first frame."""
    sums = list(accumulate(powers, initial=0))
    return list(map(sub, sums[PAUSE:], sums))


def _floor(powers: Sequence[int]) -> int:
    """The quietest 300 ms; digital silence says nothing about the room and is left out."""
    return min(_pauses([power or NO_FLOOR for power in powers]), default=NO_FLOOR)


def _silence(powers: Sequence[int], threshold: float) -> tuple[int, int]:
    """The first silent stretch, or, where there is none, the quiet (perhaps of no length) that lasts to the end."""
    start = 0
    for at, power in enumerate(powers):
        if power > threshold:
            if at - start >= SILENCE:
                return start, at
            start = at + 1
    return start, len(powers)


def _loud(powers: Sequence[int], threshold: float) -> tuple[tuple[float, float], ...]:
    spans: list[list[int]] = []
    for at, power in enumerate(powers):
        if power <= threshold:
            continue
        if spans and at - spans[-1][1] <= PAUSE:
            spans[-1][1] = at + 1
        else:
            spans.append([at, at + 1])
    return tuple((a / FRAMES_A_SECOND, b / FRAMES_A_SECOND) for a, b in spans if b - a >= SHORTEST_LOUD)
