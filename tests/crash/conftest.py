"""What the lives of a test leave open is closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.lives import LEDGERS


@pytest.fixture(autouse=True)
def closed_ledgers() -> Iterator[None]:
    """A thousand lives would otherwise hold more files than a process may have open."""
    yield
    while LEDGERS:
        LEDGERS.pop().close()
