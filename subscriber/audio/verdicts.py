"""What a decoder says, read with distrust: its input was a stranger's, so its words may be too."""

from __future__ import annotations

import json
import math
from typing import Any

from subscriber.audio.facts import AudioWarning, Facts
from subscriber.errors import Permanent

__all__ = ["facts_of", "permanent_of"]

REASONS = {"decoder_out_of_memory", "no_audio", "no_audio_stream", "too_long", "undecodable"}
"""What a decoder may condemn a file for; everything else is its own fault."""

LONGEST_TEXT = 300


def facts_of(payload: bytes) -> Facts:
    """Read facts. Raises ValueError, TypeError, KeyError when they are none."""
    told: dict[str, Any] = json.loads(payload)
    return Facts(
        container=_text(told["container"]),
        codec=_text(told["codec"]),
        declared_seconds=_known(told["declared_seconds"]),
        guessed_seconds=_known(told["guessed_seconds"]),
        decoded_seconds=_seconds(told["decoded_seconds"]),
        filled_seconds=_seconds(told["filled_seconds"]),
        bad_packets=int(told["bad_packets"]),
        warnings=tuple(_warning(one) for one in told["warnings"]),
    )


def permanent_of(payload: bytes) -> Permanent:
    """Read why a file is condemned; a reason that no decoder may give is a decoder's crash."""
    try:
        told = json.loads(payload)
        reason, message = told["reason"], _text(told["message"])
    except (ValueError, TypeError, KeyError):
        reason, message = None, "the decoder ended with words that nobody understands"
    return Permanent(reason if reason in REASONS else "decoder_crashed", message)


def _warning(told: dict[str, Any]) -> AudioWarning:
    return AudioWarning(_text(told["kind"]), _text(told["message"]), _seconds(told["start"]), _seconds(told["end"]))


def _seconds(value: object) -> float:
    """A length that can be: neither infinite nor below nothing."""
    seconds = float(str(value))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds} s")
    return seconds


def _known(value: object) -> float | None:
    return None if value is None else _seconds(value)


def _text(value: object) -> str:
    return str(value)[:LONGEST_TEXT]
