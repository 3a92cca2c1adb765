"""What a soak calls flat; `make soak` makes one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.soak import SPARE_THREADS, Figures, grown

REST = Figures(pss_mb=150.0, own_mb=120.0, processes=2, threads=30, files=40, leases=0)


def test_a_daemon_that_holds_as_much_as_before_is_flat() -> None:
    assert grown(REST, REST) == []
    assert grown(REST, replace(REST, pss_mb=200.0, own_mb=130.0, threads=30 + SPARE_THREADS, files=38)) == []


@pytest.mark.parametrize(
    "more",
    [
        replace(REST, own_mb=160.0),
        replace(REST, processes=3),
        replace(REST, threads=30 + SPARE_THREADS + 1),
        replace(REST, files=60),
        replace(REST, leases=1),
    ],
)
def test_whatever_grows_is_told(more: Figures) -> None:
    assert len(grown(REST, more)) == 1
