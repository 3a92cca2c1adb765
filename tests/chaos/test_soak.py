"""What a soak calls flat; `make soak` makes one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.soak import SPARE, Figures, grown

REST = Figures(rss_mb=200.0, pss_mb=150.0, processes=2, threads=30, files=40, leases=0)


def test_a_daemon_that_holds_as_much_as_before_is_flat() -> None:
    assert grown(REST, REST) == []
    assert grown(REST, replace(REST, pss_mb=160.0, threads=30 + SPARE, files=38)) == []


@pytest.mark.parametrize(
    ("name", "reached"), [("pss_mb", 200.0), ("processes", 3), ("threads", 40), ("files", 60), ("leases", 1)]
)
def test_whatever_grows_is_told(name: str, reached: float) -> None:
    (told,) = grown(REST, replace(REST, **{name: reached}))
    assert told.startswith(f"{name}: ")
