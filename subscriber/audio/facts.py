"""What is known of a recording beside its sound, and what it may cost. Nouns only; nothing of ours is imported here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AUDIO_WARNINGS", "AudioWarning", "Facts", "Limits"]

AUDIO_WARNINGS = {
    "bad_packets": "pieces of the file could not be decoded; what they held is missing",
    "channels_cancel": "left and right are each other's opposite: mixed down nothing would be heard, so one was taken",
    "format_changed": "sample rate, channels or format change within the file",
    "gap_filled": "the file's timestamps leave a gap; it was filled with silence, so that later words keep their time",
    "timestamp_jump": "the file's timestamps jump in a way that cannot be true; the sound was joined",
    "truncated": "the file ends before the length that it declares, or cannot be read to its end",
}
"""What a reader of the transcript should know of the file: the `kind` of each of its warnings."""


@dataclass(frozen=True, slots=True)
class AudioWarning:
    """One of AUDIO_WARNINGS, and what is particular to it. `start` and `end` in seconds of the decoded audio."""

    kind: str
    message: str
    start: float
    end: float

    def __post_init__(self) -> None:
        """A kind that the documents do not know is a defect of ours, or a decoder gone mad. Raises ValueError."""
        if self.kind not in AUDIO_WARNINGS:
            raise ValueError(f"undeclared warning {self.kind!r}")


@dataclass(frozen=True, slots=True)
class Facts:
    """A recording. Times in seconds; `declared_seconds` is None where the container does not say.

    `guessed_seconds` is what FFmpeg then takes from its size and bit rate: good enough for a sum, and no promise.

    Before the last piece only the first four are known. `filled_seconds` of `decoded_seconds` are silence that we put
    where the file's timestamps leave a gap.
    """

    container: str
    codec: str
    declared_seconds: float | None
    guessed_seconds: float | None = None
    decoded_seconds: float = 0.0
    filled_seconds: float = 0.0
    bad_packets: int = 0
    warnings: tuple[AudioWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost before it is given up for good.

    `max_audio_seconds` of PCM. `cpu_seconds`: a codec that decodes 100 times as fast as it plays needs 6 minutes for
    ten hours. `memory_bytes` beside the 120 MB that an idle decoder maps: ordinary files need 10 to 30 MB, an m4a's
    index 24 bytes a frame. `silence_seconds`: neither sound nor a question although nobody keeps it waiting.
    """

    max_audio_seconds: float = 36_000.0
    cpu_seconds: int = 900
    memory_bytes: int = 256 * 2**20
    silence_seconds: float = 60.0
