"""One file and the process that decodes it, as the daemon holds them.

The law of this file: nothing that a decoder says is trusted, for its input was a stranger's; and what a process that
has decoded another file before has against one is not believed: a fresh process is asked.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
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
    READ_AHEAD_BYTES,
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Link,
    ProtocolError,
)
from subscriber.errors import Permanent, Transient

__all__ = ["LAST_WORD_SECONDS", "Decoder", "Decoding"]

LAST_WORD_SECONDS = 10.0
"""How long the nursery may take to say how a process ended, or to end itself."""


class Decoder:
    """A process: where it speaks, where the nursery tells how it ended, and whether it has decoded a file before.

    `idle_since` is for whoever keeps it for the next one, on a clock of theirs.
    """

    def __init__(self, link: socket.socket, status: socket.socket) -> None:
        self.socket, self.status = link, status
        self.link = Link(link)
        self.used = False
        self.idle_since = 0.0
        status.settimeout(LAST_WORD_SECONDS)

    def close(self) -> None:
        """End it, whatever it does."""
        self.socket.close()
        self.status.close()


class _Verdict(Exception):
    """What a process, or its end, says against a file."""

    def __init__(self, error: Permanent | Transient) -> None:
        super().__init__(str(error))
        self.error = error


class Decoding:
    """One file on its way: iterate over it for PCM, then read `facts`. A `with` block: leaving it ends the decoder.

    Everything happens in the consumer's thread. While it does other things the decoder stands still, at most 10 s of
    sound ahead.
    """

    def __init__(
        self,
        decoder: Decoder,
        source: Bytes,
        limits: Limits,
        *,
        fork: Callable[[], Decoder],
        let_go: Callable[[Decoder, bool], None],
    ) -> None:
        """Begin; `fork` makes a decoder that has seen no file, `let_go` is told whether one may be given another."""
        self._decoder = decoder
        self._fork = fork
        self._let_go = let_go
        self._source = source
        self._limits = limits
        self._done = False
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
        heard = 0
        while not self._done:
            try:
                for piece in self._pieces(heard):
                    heard += len(piece)
                    yield piece
            except _Verdict as verdict:
                self.facts = self._begin_again(verdict)

    def close(self) -> None:
        """End the decoder, unless it is done with the file."""
        self._end(keep=False)

    def _end(self, *, keep: bool) -> None:
        if not self._done:
            self._done = True
            self._let_go(self._decoder, keep)

    def _pieces(self, skip: int) -> Iterator[bytes]:
        """The PCM behind the first `skip` bytes, which were heard before; it is the same each time."""
        bytes_left = round(self._limits.max_audio_seconds * SAMPLE_RATE) * SAMPLE_BYTES
        while True:
            kind, payload = self._next()
            if kind == DONE:
                self.facts = self._facts(payload)
                # One that met anything odd is not trusted with another file.
                self._end(keep=not (self.facts.warnings or self.facts.bad_packets))
                return
            if kind != PCM:
                self._crashed(f"says {kind!r}")
            bytes_left -= len(payload)
            if bytes_left < 0:
                raise Permanent("too_long", f"more than {self._limits.max_audio_seconds:.0f} s of sound")
            if piece := payload[skip:]:
                yield piece
            skip = max(0, skip - len(payload))

    def _begin(self) -> Facts:
        head = self._source.read(0, READ_AHEAD_BYTES)
        self._decoder.socket.settimeout(self._limits.silence_seconds)
        try:
            with suppress(OSError):  # a decoder that is dead already is met by who reads next
                self._decoder.link.send_json(JOB, {"size": self._source.size, **asdict(self._limits)}, more=True)
                self._decoder.link.send(DATA, head)
            kind, payload = self._next()
            if kind != OPENED:
                self._crashed(f"says {kind!r}")
            return self._facts(payload)
        except _Verdict as verdict:
            return self._begin_again(verdict)

    def _begin_again(self, verdict: _Verdict) -> Facts:
        """Ask a fresh process, if it was not one that said so: an earlier file may have spoiled it."""
        if not self._decoder.used:
            raise verdict.error from verdict
        self._decoder.close()
        self._decoder = self._fork()
        return self._begin()

    def _next(self) -> tuple[bytes, bytes]:
        """The next word that is not a question; questions are answered."""
        while True:
            kind, payload = self._receive()
            if kind == FAILED:
                raise _Verdict(permanent_of(payload))
            if kind != READ:
                return kind, payload
            data = self._range(payload)
            with suppress(OSError):
                self._decoder.link.send(DATA, data)

    def _receive(self) -> tuple[bytes, bytes]:
        try:
            return self._decoder.link.receive()
        except TimeoutError:
            silent = f"neither sound nor a question for {self._limits.silence_seconds:.0f} s"
            raise _Verdict(Permanent("decoder_hung", silent)) from None
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
            word = self._decoder.status.recv(16)
        code = int(word) if word else -signal.SIGKILL
        if code == -signal.SIGKILL:
            raise _Verdict(Transient("decoder_killed", "the decoder was killed from outside"))
        if code == -signal.SIGXCPU:
            raise _Verdict(Permanent("decoder_out_of_time", f"more than {self._limits.cpu_seconds} s of CPU time"))
        self._crashed(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}")

    def _crashed(self, how: str) -> NoReturn:
        raise _Verdict(Permanent("decoder_crashed", f"the decoder {how}"))
