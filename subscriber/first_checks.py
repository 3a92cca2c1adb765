"""The first checks of the neighbours, at the same time: each begins as soon as its client stands.

The law of this file: a check that was begun is the one that is asked for first, so nothing is left out or made twice.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Check", "begun"]

Check = Callable[[], None]
"""Raises NeighbourDown or ConfigError."""


def begun(check: Check) -> Check:
    """Begin a check in a thread of its own: the first call waits for its answer, each later one checks anew."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="first-check")
    first = [thread.submit(check)]
    thread.shutdown(wait=False)  # it ends with the check

    def answer() -> None:
        if first:
            first.pop().result()
        else:
            check()

    return answer
