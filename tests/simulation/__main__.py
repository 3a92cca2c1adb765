"""One history again, line by line: `python -m tests.simulation SEED [MUTATION]`."""

from __future__ import annotations

import sys

from tests.simulation.history import histories, run

if __name__ == "__main__":
    with histories():
        history = run(int(sys.argv[1]), telling=True)
    print(*history.lines, history.violation or "no promise was broken", sep="\n")
