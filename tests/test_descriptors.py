"""How many files and connections a daemon may have open."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from subscriber.descriptors import allow_many
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, {soft}), hard))
allow_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), hard)
"""


def limits(soft: int) -> tuple[int, int, int]:
    """Soft and hard after it was raised from `soft`, and hard before."""
    command = [sys.executable, "-c", PROGRAM.format(soft=soft)]
    first, second, third = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    return int(first), int(second), int(third)


def test_a_daemon_takes_what_it_may_have() -> None:
    soft, hard, before = limits(256)
    assert (soft, hard) == (min(before, 65_536), before)


def test_what_is_more_already_stays() -> None:
    soft, hard, before = limits(100_000)
    assert soft == min(before, 100_000)
    assert hard == before
