"""What large buffers took is given back, whoever made them and whoever let go of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from concurrent.futures import ThreadPoolExecutor
from subscriber.audio.memory import LARGE_BUFFER_BYTES, give_large_buffers_back

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

{call}
bytes(64 * LARGE_BUFFER_BYTES)  # the buffer from which glibc would learn
before = resident()
with ThreadPoolExecutor(4) as threads:
    held = list(threads.map(lambda number: b"x" * (2 * LARGE_BUFFER_BYTES + number), range(200)))
    kept = held[::20]
    del held
    print((resident() - before) // (2 * LARGE_BUFFER_BYTES))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc, and glibc is meant")
def test_of_two_hundred_buffers_the_ten_that_are_kept_take_room() -> None:
    program = PROGRAM.format(call="give_large_buffers_back()")
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert 9 <= int(said) <= 15
