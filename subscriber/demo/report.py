"""What was heard beside what was said, and the account: figures of the servers beside what they must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from subscriber.demo.files import File

__all__ = ["Fact", "account", "comparison", "is_right", "word_errors"]

MOST_WORD_ERRORS = 0.1
"""Of all words that were said. The smallest Whisper there is gets the recordings right but for a few words."""

MOST_WORDS = 75
"""Of each text are shown; all of them are compared."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the account."""

    text: str
    seen: int
    expected: int

    @property
    def true(self) -> bool:
        """Whether it is as it must be."""
        return self.seen == self.expected


def account(facts: Iterable[Fact]) -> Table:
    """Every fact with its verdict."""
    table = Table("", "the account", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("is", "must be"):
        table.add_column(title, justify="right")
    for fact in facts:
        table.add_row("ok" if fact.true else "NO", fact.text, str(fact.seen), str(fact.expected))
    return table


def comparison(files: Iterable[File]) -> Table:
    """Each transcript beside the words of its recording."""
    table = Table("file", "said", "heard", box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    for file in files:
        verdict = f"{len(_words(file.recording.text))} words,\n{_errors(file)} wrong"
        table.add_row(f"{file.job.name}\n{verdict}", _beginning(file.recording.text), _beginning(file.heard))
    return table


def is_right(file: File) -> bool:
    """Whether there is a transcript that says, but for a few words, what was said."""
    return bool(file.heard) and _errors(file) <= MOST_WORD_ERRORS * len(_words(file.recording.text))


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest words to replace, drop or insert that turn one into the other (Levenshtein's distance)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(diagonal + (word != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def _errors(file: File) -> int:
    return word_errors(_words(file.recording.text), _words(file.heard))


def _beginning(text: str) -> str:
    words = text.split()
    return " ".join(words[:MOST_WORDS]) + (" …" if len(words) > MOST_WORDS else "")


def _words(text: str) -> list[str]:
    """Without case and punctuation."""
    return re.findall(r"[\w']+", text.lower())
