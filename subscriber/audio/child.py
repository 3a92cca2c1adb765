"""The decoders' process: it imports PyAV once and forks a process for every job. Started by `DecoderPool`.

The law of this file: nothing here knows a credential, a file dies alone, and no process outlives the daemon's interest
in it. This process has one thread and never looks at a stranger's byte, so that forking it is safe and cheap (4 ms).

stdin is a socket. One byte on it brings two more sockets: one to speak with the job's process, and one for this
process, which answers on it how that job's process ended, and kills it when the other end is closed.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from subscriber.audio import jobs
from subscriber.audio.memory import give_large_buffers_back

__all__ = ["main"]

LINK_FD = 3
"""Where a job's process finds its socket; every other descriptor above stderr is closed in it."""


class _Nursery:
    """The processes at work, each with the socket on which its end is told."""

    def __init__(self, fault: str | None) -> None:
        self._fault = fault
        self._control = socket.socket(fileno=0)
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._at_work: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Serve until the daemon closes its end or dies; then nothing is left running."""
        try:
            while self._turn():
                pass
        finally:
            for pid in self._at_work:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _turn(self) -> bool:
        for key, _ in self._selector.select():
            if key.fileobj is self._control:
                if not self._begin():
                    return False
            elif key.fileobj == self._woken:
                self._reap()
            else:
                self._abandon(key.data)
        return True

    def _begin(self) -> bool:
        word, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        if not word:
            return False
        link, status = descriptors
        pid = os.fork()
        if not pid:
            self._become(link)
        os.close(link)
        self._at_work[pid] = socket.socket(fileno=status)
        self._selector.register(self._at_work[pid], selectors.EVENT_READ, pid)
        return True

    def _become(self, link: int) -> NoReturn:
        """Be the job's process: forget what belongs to the nursery, then serve that one job."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(link, LINK_FD)
            os.closerange(LINK_FD + 1, 2**20)
            with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123 - a descriptor is wanted
                for standard in range(3):
                    os.dup2(nothing.fileno(), standard)
            _offer_to_the_kernel()
            code = jobs.serve(socket.socket(fileno=LINK_FD), self._fault)
        finally:
            # Neither the nursery's objects nor PyAV's are taken apart here.
            os._exit(code)

    def _abandon(self, pid: int) -> None:
        """The daemon has closed its end: the job's process has no reader any more, or is too slow for it."""
        if pid in self._at_work:  # else it was reaped in the same turn
            self._selector.unregister(self._at_work[pid])
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._tell(self._at_work.pop(pid), os.waitstatus_to_exitcode(status))

    def _tell(self, told: socket.socket, code: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(told)
        with suppress(OSError):
            told.sendall(str(code).encode())
        told.close()


def _offer_to_the_kernel() -> None:
    """Where memory runs short, a decoder is what the kernel shall take, not the daemon; and no crash leaves a core."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str]) -> None:
    """Run until stdin is closed. `--fault` makes decoders fail on purpose: only tests pass it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=sorted(jobs.FAULTS))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_large_buffers_back()
    gc.freeze()  # a collection in a job's process would copy every page that it shares with this one
    _Nursery(parser.parse_args(arguments).fault).run()


if __name__ == "__main__":
    main(sys.argv[1:])
