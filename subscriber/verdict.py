"""What a transaction's decision says: the answer to the caller, and the document to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from subscriber.model import Record

__all__ = ["Decide", "Decision", "Verdict"]

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T, D]):
    """What the caller gets, and the document to write (None leaves the ledger as it is)."""

    answer: T
    write: D | None = None


class Verdict(Decision[T, Record]):
    """A decision about a job's record."""

    __slots__ = ()


Decide = Callable[[Record | None, datetime], Verdict[T]]
