"""`python -m tests.chaos`: chaos by seed, one table a run; exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import os
import sys

from subscriber.emulators import emulators
from tests.chaos.run import Plan, run
from tests.world import fresh


def main() -> int:
    """Run the seeds that were asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--runs", type=int, default=1, help="with this many seeds, each one higher")
    parser.add_argument("--files", type=int, default=32)
    parser.add_argument("--deeds", type=int, default=80)
    parser.add_argument("--daemons", type=int, default=3)
    given = parser.parse_args()
    wrong = 0
    with emulators(os.environ, project=fresh("chaos")) as servers:
        for seed in range(given.seed, given.seed + given.runs):
            plan = Plan(seed, given.files, given.deeds, given.daemons)
            wrong += bool(run(plan, servers).wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
