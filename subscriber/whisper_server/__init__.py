"""`subscriber whisper-server`: OpenAI's transcription endpoint on a local Whisper, or on a stub for tests.

The law of this package: it knows nothing of the daemon, and the daemon nothing of it but a URL.
"""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from subscriber.adapters.local_whisper import LocalWhisper
from subscriber.whisper_server.engine import Engine, StubEngine
from subscriber.whisper_server.faults import Control
from subscriber.whisper_server.server import Server

__all__ = ["Control", "Engine", "Server", "StubEngine", "main"]


def main(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    model: str | Path | None = None,
    engine: Literal["local", "stub"] = "local",
    latency: float = 0.0,
    control: bool = False,
    key: str | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then return 0; one line of JSON on stdout says `url` and `base_url` when ready.

    `model`: a CTranslate2 folder (None: the bundled tiny.en). `latency`: seconds, of the stub.

    Raises:
        ConfigError: the extra `[local]` or the model is missing.
        OSError: the port is taken.

    """
    # An exception unwinds the `with` blocks from wherever the signal finds us, also while the model loads.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        chosen: Engine = StubEngine(latency) if engine == "stub" else stack.enter_context(LocalWhisper(model))
        server = stack.enter_context(Server(chosen, host=host, port=port, key=key, control=control))
        print(json.dumps({"url": server.url, "base_url": f"{server.url}/v1"}), flush=True)
        signal.pause()
    return 0
