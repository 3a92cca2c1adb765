"""Other things in the place of a module's or a class's own, as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["replaced"]


@contextmanager
def replaced(places: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Have each `(owner, name)` be its third, and the first again afterwards."""
    before = []
    try:
        for owner, name, other in places:
            before.append((owner, name, vars(owner)[name]))
            setattr(owner, name, other)
        yield
    finally:
        for owner, name, own in reversed(before):
            setattr(owner, name, own)
