"""One pool of decoders for all tests that leave it alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from subscriber.audio.pool import DecoderPool


@pytest.fixture(scope="session")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool() as started:
        yield started
