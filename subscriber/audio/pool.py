"""Decoders on demand: a process for every file that is being decoded, and a file's faults end with it.

The law of this file: the daemon's own process never lets FFmpeg near a stranger's bytes, and the process that does so
has no credential: its environment is written here, word for word.

Why a process for every file and not a few that yield: one is forked in milliseconds and, while it waits for its
consumer, holds 6 MB and no CPU, and the index of an m4a (`transcribe/turns.py` bounds those; `python -m bench memory`
measures all). So a long recording that waits for slots holds nothing that a short one needs, and which file crashed a
decoder is never a question.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from subscriber.audio.facts import Facts, Limits
from subscriber.audio.source import Bytes
from subscriber.audio.verdicts import facts_of, permanent_of
from subscriber.audio.wire import (
    DATA,
    DONE,
    FAILED,
    JOB,
    LONGEST_FRAME_BYTES,
    OPENED,
    PCM,
    RANGE,
    READ,
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Link,
    ProtocolError,
)
from subscriber.errors import Permanent, Transient

__all__ = ["DecoderPool", "Decoding"]

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""All that a decoder's process finds in its environment."""

LAST_WORD_SECONDS = 10.0
"""How long the nursery may take to say how a process ended, or to end itself."""


class DecoderPool:
    """Starts decoders as long as the `with` block lasts. Thread-safe; closing twice is fine.

    `arguments` are the child's; tests make it misbehave with them.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._arguments = arguments
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start at once: what is missing in an installation shows before there is work."""
        with self._lock:
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
        link, its_link = socket.socketpair()
        status, its_status = socket.socketpair()
        with its_link, its_status, self._lock, suppress(BrokenPipeError):
            # A child that has just died tells nothing; then the two ends close and the Decoding says so.
            socket.send_fds(self._living(), [b"+"], [its_link.fileno(), its_status.fileno()])
        return Decoding(link, status, source, limits or Limits())

    def close(self) -> None:
        """End every decoder; who reads one meets Transient."""
        with self._lock:
            if self._process and self._control:
                self._control.close()
                try:
                    self._process.wait(LAST_WORD_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process = self._control = None

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


class Decoding:
    """One file on its way: iterate over it for PCM, then read `facts`. A `with` block: leaving it ends the decoder.

    Everything happens in the consumer's thread. While it does other things the decoder stands still, at most 10 s of
    sound ahead.
    """

    def __init__(self, link: socket.socket, status: socket.socket, source: Bytes, limits: Limits) -> None:
        self._socket, self._status = link, status
        self._link = Link(link)
        self._source = source
        self._limits = limits
        self._bytes_left = round(limits.max_audio_seconds * SAMPLE_RATE) * SAMPLE_BYTES
        link.settimeout(limits.silence_seconds)
        status.settimeout(LAST_WORD_SECONDS)
        try:
            self.facts = self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of 16 kHz mono s16 PCM, of any length, none empty.

        Raises as `DecoderPool.open` does. Without an error, `facts` is complete afterwards.
        """
        while True:
            kind, payload = self._next()
            if kind == DONE:
                self.facts = self._facts(payload)
                return
            if kind != PCM:
                self._crashed(f"says {kind!r}")
            self._bytes_left -= len(payload)
            if self._bytes_left < 0:
                raise Permanent("too_long", f"more than {self._limits.max_audio_seconds:.0f} s of sound")
            yield payload

    def close(self) -> None:
        """End the decoder, finished or not."""
        self._socket.close()
        self._status.close()

    def _begin(self) -> Facts:
        with suppress(OSError):  # a decoder that is dead already is met by who reads next
            self._link.send_json(JOB, {"size": self._source.size, **asdict(self._limits)})
        kind, payload = self._next()
        if kind != OPENED:
            self._crashed(f"says {kind!r}")
        return self._facts(payload)

    def _next(self) -> tuple[bytes, bytes]:
        """The next word that is not a question; questions are answered."""
        while True:
            kind, payload = self._receive()
            if kind == FAILED:
                raise permanent_of(payload)
            if kind != READ:
                return kind, payload
            data = self._range(payload)
            with suppress(OSError):
                self._link.send(DATA, data)

    def _receive(self) -> tuple[bytes, bytes]:
        try:
            return self._link.receive()
        except TimeoutError:
            silent = f"neither sound nor a question for {self._limits.silence_seconds:.0f} s"
            raise Permanent("decoder_hung", silent) from None
        except ProtocolError as error:
            self._crashed(str(error))
        except (EOFError, OSError):
            self._died()

    def _range(self, payload: bytes) -> bytes:
        if len(payload) != RANGE.size:
            self._crashed("asks for no range")
        offset, size = RANGE.unpack(payload)
        if offset > self._source.size or size > LONGEST_FRAME_BYTES:
            self._crashed(f"asks for {size} bytes at {offset}")
        return self._source.read(offset, size)

    def _facts(self, payload: bytes) -> Facts:
        try:
            return facts_of(payload)
        except (ValueError, TypeError, KeyError) as error:
            self._crashed(f"tells no facts: {error!r}")

    def _died(self) -> NoReturn:
        """The nursery knows how. Raises the verdict, or Transient where nobody can say that the file is guilty."""
        word = b""
        with suppress(OSError):
            word = self._status.recv(16)
        code = int(word) if word else -signal.SIGKILL
        if code == -signal.SIGKILL:
            raise Transient("decoder_killed", "the decoder was killed from outside")
        if code == -signal.SIGXCPU:
            raise Permanent("decoder_out_of_time", f"more than {self._limits.cpu_seconds} s of CPU time")
        self._crashed(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}")

    def _crashed(self, how: str) -> NoReturn:
        raise Permanent("decoder_crashed", f"the decoder {how}")
