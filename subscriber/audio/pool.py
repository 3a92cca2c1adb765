"""Decoders on demand: a process of its own for every file that is being decoded, and a file's faults end with it.

The law of this file: the daemon's own process never lets FFmpeg near a stranger's bytes, and the process that does so
has no credential: its environment is written here, word for word.

Why a process for every file and not a few that yield: one is forked in milliseconds and, while it waits for its
consumer, holds 6 MB and no CPU, and the index of an m4a (`transcribe/turns.py` bounds those; `python -m bench memory`
measures all). So a long recording that waits for slots holds nothing that a short one needs.

A process that has decoded a sound file without a complaint is kept for the next one for a while, because forking and
ending one takes three times the CPU of decoding a short file. Which file crashed a decoder is no question all the same:
what a kept process has against a file is never believed, the file is decoded again by a fresh one.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from subscriber.audio.decoding import LAST_WORD_SECONDS, Decoder, Decoding
from subscriber.audio.facts import Limits
from subscriber.audio.source import Bytes
from subscriber.errors import Permanent

__all__ = ["KEPT_SECONDS", "DecoderPool"]

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""All that a decoder's process finds in its environment."""

KEPT = 8
"""Processes that wait for a next file, 6 MB each. A short file is decoded in milliseconds: few are so at once."""

KEPT_SECONDS = 10.0
"""How long at least a process waits for a next file: at one file a second none is forked for. The one that has waited
least gets it, so that those that are one too many grow old."""

PATIENCE_SECONDS = 0.1
"""How long none of so many gets free before a file that waits has one more forked: they may all be at long files."""


class DecoderPool:
    """Starts decoders as long as the `with` block lasts. Thread-safe; closing twice is fine.

    `arguments` are the child's; tests make it misbehave with them. `clock` gives seconds that only grow.
    """

    def __init__(self, arguments: Sequence[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._arguments = arguments
        self._clock = clock
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._kept: list[Decoder] = []
        self._at_work = self._done = 0

    def __enter__(self) -> Self:
        """Start at once: what is missing in an installation shows before there is work."""
        with self._changed:
            self._living()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process whose children decode; None before the start and after the end."""
        return self._process.pid if self._process else None

    def open(self, source: Bytes, limits: Limits | None = None) -> Decoding:
        """Begin to decode; returns when the container is known, so `facts.declared_seconds` is there at once.

        Raises Permanent (`empty` and the decoders' own reasons), Transient (`decoder_killed`), what `source` raises.
        """
        if not source.size:
            raise Permanent("empty", "the object holds no bytes")
        with self._changed:
            self._await_kept()
            decoder = self._kept.pop() if self._kept else self._fork()
            self._at_work += 1
        return Decoding(decoder, source, limits or Limits(), fork=self._fork, let_go=self._let_go)

    def end_idle(self) -> None:
        """End those that have waited for KEPT_SECONDS; to be called now and then by somebody who is awake."""
        with self._changed:
            while self._kept and self._clock() - self._kept[0].idle_since >= KEPT_SECONDS:
                self._kept.pop(0).close()

    def close(self) -> None:
        """End every decoder; who reads one meets Transient."""
        with self._changed:
            while self._kept:
                self._kept.pop().close()
            if self._process and self._control:
                self._control.close()
                try:
                    self._process.wait(LAST_WORD_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process = self._control = None

    def _await_kept(self) -> None:
        """Where so many are at work, wait for one to get free, as long as any does."""
        before = -1
        while self._at_work >= KEPT and not self._kept and before != self._done:
            before = self._done
            self._changed.wait(PATIENCE_SECONDS)

    def _fork(self) -> Decoder:
        """A decoder that has seen no file."""
        link, its_link = socket.socketpair()
        status, its_status = socket.socketpair()
        with its_link, its_status, self._changed, suppress(BrokenPipeError):
            # A child that has just died tells nothing; then the two ends close and the Decoding says so.
            socket.send_fds(self._living(), [b"+"], [its_link.fileno(), its_status.fileno()])
        return Decoder(link, status)

    def _let_go(self, decoder: Decoder, keep: bool) -> None:
        """Have it decode another file, if it may and there are not enough who wait for one; else end it."""
        decoder.used = True
        with self._changed:
            self._at_work -= 1
            self._done += 1
            self._changed.notify()
            keep = keep and self._process is not None and len(self._kept) < KEPT
            if keep:
                decoder.idle_since = self._clock()
                self._kept.append(decoder)
        if not keep:
            decoder.close()

    def _living(self) -> socket.socket:
        """The control socket of a child that runs; a child that was killed is replaced."""
        if self._process and self._control and self._process.poll() is None:
            return self._control
        if self._control:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                # -P: nothing in the working directory can take the place of a module.
                [sys.executable, "-P", "-m", "subscriber.audio.child", *self._arguments],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )
        return self._control
