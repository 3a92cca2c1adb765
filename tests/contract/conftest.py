"""An empty ledger of each kind for every test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from subscriber.adapters.firestore import FirestoreLedger
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.emulators import Emulators
from tests.world import fresh


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as made:
        yield made


@pytest.fixture
def firestore(emulators: Emulators) -> Iterator[FirestoreLedger]:
    host = emulators.firestore_host
    with closing(FirestoreLedger(emulators.project, "(default)", fresh("ledger"), emulator_host=host)) as made:
        yield made
