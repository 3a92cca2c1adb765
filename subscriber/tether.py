"""Programs that end with us, also when we are killed and cannot tidy up.

The law of this file: a program runs beside a watcher in one process group. The watcher reads a pipe whose other end
only we hold: when we close it, or die, it kills the group. So nothing stays behind, and the group's id stays ours until
then. (PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the program ends, and only Linux
has it.)
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

__all__ = ["Tethered"]

_TETHER = """trap '' TERM; exec 3<&0
{ read -r _ <&3; kill -KILL 0; } &
trap - TERM; exec "$@" 3<&- </dev/null"""


class Tethered:
    """`command` with this environment and no other, in a session of its own: Ctrl-C at our terminal is for us."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], output: IO[bytes]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - commands of our own
            ["/bin/sh", "-c", _TETHER, "tether", *command],
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(self, seconds: float) -> None:
        """SIGTERM, and after `seconds` SIGKILL for whoever is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.process.__exit__(None, None, None)  # closes the watcher's pipe
