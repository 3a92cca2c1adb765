"""Frames of any rate, layout and format become 16 kHz mono PCM.

The law of this file: no word is lost in the mixing. Where left and right cancel each other out, one of them is taken.
"""

from __future__ import annotations

from operator import mul

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE

__all__ = ["Mixdown"]

CANCELLED = 0.1
"""Left plus right keep less than this part of the power that unrelated channels keep: a correlation below -0.9."""

WINDOW_SAMPLES = SAMPLE_RATE
"""How much is judged at a time: a second holds speech and is short enough for a file that changes its mind."""

STRIDE = 7
"""Every seventh sample tells the correlation of a second as well as all of them; no divisor of any usual period."""

FAINT = 4
"""Mean square (of 16-bit samples) below which a window says nothing and the last decision stands."""


class Mixdown:
    """One resampler for as long as rate, layout and format stay the same, and a new one when they change."""

    def __init__(self) -> None:
        self._kind: tuple[int, str, str] | None = None
        self._resampler: AudioResampler | _AsItIs | None = None
        self._stereo: _Stereo | None = None
        self.cancelled_windows = 0
        self.changes = 0

    def feed(self, frame: AudioFrame) -> bytes:
        """Return the PCM that is ready; the resampler keeps a few milliseconds. Raises av.FFmpegError, ValueError."""
        frame.pts = None
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        rest = b""
        if not self._resampler or kind != self._kind:
            rest, self._resampler = self.flush(), self._begin(kind, frame.layout.nb_channels)
        try:
            return rest + self._take(self._resampler.resample(frame))
        except (av.FFmpegError, ValueError):
            self._resampler = self._stereo = None  # half made: it must not be asked again
            raise

    def flush(self) -> bytes:
        """Return what is still held back, and forget it all: the next frame begins anew."""
        pcm = self._take(self._resampler.resample(None)) if self._resampler else b""
        if self._stereo:
            pcm += self._stereo.flush()
            self.cancelled_windows += self._stereo.cancelled_windows
        self._resampler = self._stereo = None
        return pcm

    def _begin(self, kind: tuple[int, str, str], channels: int) -> AudioResampler | _AsItIs:
        self.changes += self._kind not in {None, kind}
        self._kind = kind
        rate, _, sample_format = kind
        if (rate, channels, sample_format) == (SAMPLE_RATE, 1, "s16"):
            return _AsItIs()
        if channels != 2:
            return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._stereo = _Stereo()
        return AudioResampler(format="s16p", layout="stereo", rate=SAMPLE_RATE)

    def _take(self, frames: list[AudioFrame]) -> bytes:
        if self._stereo:
            return b"".join([self._stereo.feed(_plane(frame, 0), _plane(frame, 1)) for frame in frames])
        return b"".join([_plane(frame, 0) for frame in frames])


class _AsItIs:
    """In a resampler's place for what is 16 kHz mono PCM already: making one takes as long as decoding some seconds."""

    def resample(self, frame: AudioFrame | None) -> list[AudioFrame]:
        return [frame] if frame else []


class _Stereo:
    """Two channels at 16 kHz, judged window by window, so that the file's length does not matter."""

    def __init__(self) -> None:
        self._left = bytearray()
        self._right = bytearray()
        self._mixer = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._cancels = False
        self.cancelled_windows = 0

    def feed(self, left: bytes, right: bytes) -> bytes:
        self._left += left
        self._right += right
        return self._windows(WINDOW_SAMPLES * SAMPLE_BYTES)

    def flush(self) -> bytes:
        return self._windows(len(self._left)) if self._left else b""

    def _windows(self, size: int) -> bytes:
        pcm = []
        while len(self._left) >= size > 0:
            pcm.append(self._mono(bytes(self._left[:size]), bytes(self._right[:size])))
            del self._left[:size], self._right[:size]
        return b"".join(pcm)

    def _mono(self, left: bytes, right: bytes) -> bytes:
        one, other = (memoryview(side).cast("h")[::STRIDE].tolist() for side in (left, right))
        power_left, power_right = sum(map(mul, one, one)), sum(map(mul, other, other))
        power = power_left + power_right
        if power > FAINT * len(one):
            self._cancels = power + 2 * sum(map(mul, one, other)) < CANCELLED * power
        if not self._cancels:
            return self._mix(left, right)
        self.cancelled_windows += 1
        return left if power_left >= power_right else right

    def _mix(self, left: bytes, right: bytes) -> bytes:
        frame = AudioFrame(format="s16p", layout="stereo", samples=len(left) // SAMPLE_BYTES)
        frame.sample_rate = SAMPLE_RATE
        frame.planes[0].update(left)
        frame.planes[1].update(right)
        return b"".join([_plane(mixed, 0) for mixed in self._mixer.resample(frame)])


def _plane(frame: AudioFrame, index: int) -> bytes:
    """A plane's samples; its buffer may be padded behind them."""
    return bytes(frame.planes[index])[: frame.samples * SAMPLE_BYTES]
