"""What a running daemon may have open."""

from __future__ import annotations

import resource

import psutil

from subscriber.emulators import Emulators
from subscriber.whisper_server import Server
from tests.process.streets import new_street


def test_a_daemon_that_is_started_with_a_low_limit_takes_what_it_may_have(emulators: Emulators, server: Server) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with new_street(emulators, server) as street:
            soft, hard = psutil.Process(street.daemon.pid).rlimit(psutil.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (soft, hard) == (min(before[1], 65_536), before[1])
