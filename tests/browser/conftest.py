"""One browser for all; without Chromium a test is skipped, but in CI it fails: a skip proves nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import DESK, Browser, browser, missing


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if why := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    with browser() as started:
        yield started


@pytest.fixture
def screen(chromium: Browser) -> Iterator[Browser]:
    """A desk by day, with nothing open; afterwards its console has nothing to complain of."""
    chromium.look(DESK)
    chromium.complaints()
    yield chromium
    complaints = chromium.complaints()
    chromium.driver.get("about:blank")
    assert complaints == []
