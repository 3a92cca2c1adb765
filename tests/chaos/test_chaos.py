"""A short run of chaos; `make chaos` makes longer ones."""

from __future__ import annotations

import pytest

from subscriber.emulators import Emulators
from tests.chaos.run import Plan, run


@pytest.mark.parametrize("seed", [1])
def test_whatever_dies_every_upload_has_one_transcript_or_one_reason(emulators: Emulators, seed: int) -> None:
    assert run(Plan(seed), emulators).wrong == []
