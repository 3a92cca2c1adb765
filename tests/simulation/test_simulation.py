"""No history breaks a promise; and each promise can be broken, and is then found so."""

from __future__ import annotations

import pytest

from tests.simulation.history import histories, run
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.promises import INVARIANTS

SEEDS = 10_000
A_BATCH = 500
"""Histories a test: each test is far from its time limit, also on a machine that does much else."""

MOST_FOR_A_MUTATION = 3000
"""Within so many histories what is broken is found; most of it within seventy."""


@pytest.mark.parametrize("first", range(0, SEEDS, A_BATCH))
def test_no_history_breaks_a_promise(first: int) -> None:
    with histories():
        for seed in range(first, first + A_BATCH):
            if run(seed).violation:
                told = run(seed, telling=True)
                again = f"again: python -m tests.simulation {seed}"
                pytest.fail("\n".join([*told.lines, str(told.violation), again]), pytrace=False)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_broken_code_is_found_by_the_promise_that_it_breaks(mutation: Mutation) -> None:
    with histories(), mutation.applied():
        found = next((one.violation for one in map(run, range(MOST_FOR_A_MUTATION)) if one.violation), None)
    assert found, "not found"
    assert found.invariant == mutation.invariant, found


def test_every_promise_has_a_mutation_that_breaks_it() -> None:
    assert {mutation.invariant for mutation in MUTATIONS} == set(INVARIANTS)


def test_a_history_is_the_same_every_time() -> None:
    with histories():
        first, again = run(17, telling=True), run(17, telling=True)
    assert first == again
    assert len(first.lines) > 10
