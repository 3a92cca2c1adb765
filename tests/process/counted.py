"""The daemon, saying after each settlement how many functions of Python's its threads have entered so far.

The law of this file: it counts and changes nothing. Seconds differ from machine to machine and from minute to minute;
the number of functions that a job enters hardly does.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Sequence
from typing import Any

from subscriber.cli import main
from subscriber.log import get_logger
from subscriber.model import Delivery, Ending
from subscriber.settlement import Settler

_entered = itertools.count()  # counted in C: the threads cannot lose a step


def _count(_frame: Any, event: str, _arg: Any) -> None:
    if event == "call":
        next(_entered)


class CountedSettler:
    """In the place of `Settler.settle`."""

    original = Settler.settle

    def settle(self: Settler, deliveries: Sequence[Delivery], ending: Ending) -> None:  # type: ignore[misc] # patched
        CountedSettler.original(self, deliveries, ending)
        get_logger().info("entered", functions=next(_entered))


if __name__ == "__main__":
    sys.argv[1:] = ["run"]
    Settler.settle = CountedSettler.settle  # type: ignore[method-assign]
    threading.setprofile(_count)
    main()
