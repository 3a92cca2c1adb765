"""One history again, line by line: `python -m tests.simulation SEED [WORDS OF A MUTATION]`."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from tests.simulation.history import histories, run
from tests.simulation.mutations import MUTATIONS

if __name__ == "__main__":
    seed, words = int(sys.argv[1]), " ".join(sys.argv[2:])
    broken = next(one.applied() for one in MUTATIONS if words in one.what) if words else nullcontext()
    with histories(), broken:
        history = run(seed, telling=True)
    print(*history.lines, history.violation or "no promise was broken", sep="\n")
