"""The daemon as it is, but for its decoders: `python -m tests.process.faulty FAULT...`.

Each recording in turn meets the next fault, of those that decoders know themselves; after the last one they are sound.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from subscriber import app
from subscriber.audio.decoding import Decoding
from subscriber.audio.facts import Limits
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import Bytes
from subscriber.cli import main

LIMITS: Mapping[str, Limits] = {
    "eat": Limits(memory_bytes=64 * 2**20),
    "hang": Limits(silence_seconds=1),
    "spin": Limits(cpu_seconds=1),
}
"""What a test can wait for."""


class FaultyPool(DecoderPool):
    def __init__(self) -> None:
        super().__init__()
        self._pools = {fault: DecoderPool(("--fault", fault)) for fault in FAULTS}
        self._faults = iter(FAULTS)

    def open(self, source: Bytes, limits: Limits | None = None) -> Decoding:
        fault = next(self._faults, None)
        return self._pools[fault].open(source, LIMITS.get(fault, limits)) if fault else super().open(source, limits)


if __name__ == "__main__":
    FAULTS, sys.argv[1:] = sys.argv[1:], ["run"]
    app.DecoderPool = FaultyPool  # type: ignore[attr-defined, assignment]
    main()
