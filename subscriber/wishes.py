"""What the source object's own metadata asks for: `transcribe-language`, `-prompt`, `-formats`, and `transcribe=skip`.

The law of this file: a wish that cannot be granted loses nothing. The recording is transcribed as if the wish had not
been made, and the log and the transcript's warnings say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from subscriber.errors import NotForUs
from subscriber.render import FORMATS
from subscriber.transcribe.languages import LANGUAGES, iso_code
from subscriber.transcript import Hints

__all__ = ["Wishes", "wishes_of"]

SKIP, LANGUAGE, PROMPT, CHOSEN_FORMATS = "transcribe", "transcribe-language", "transcribe-prompt", "transcribe-formats"
LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Wishes:
    """How one object is to be transcribed: the settings, and over them its own. `refused` are sentences for people."""

    hints: Hints
    formats: tuple[str, ...]
    refused: tuple[str, ...] = field(default=(), kw_only=True)


def wishes_of(metadata: Mapping[str, str], usual: Wishes) -> Wishes:
    """What an object's custom metadata makes of the settings' `usual`; an empty value says nothing.

    Raises NotForUs (`skipped`).
    """
    wishes = usual
    for name, value in sorted(metadata.items()):
        told = value.strip()
        if told and (name := name.strip().lower()).split("-")[0] == SKIP:
            wishes = _GRANTED.get(name, _unknown(name))(wishes, told)
    return wishes


def _skip(wishes: Wishes, value: str) -> Wishes:
    if value.lower() == "skip":
        raise NotForUs("skipped", "the object's metadata says transcribe=skip")
    return _refuse(wishes, f"{SKIP}={_shown(value)}: only `skip` is known")


def _language(wishes: Wishes, value: str) -> Wishes:
    code = None if value.lower() == "auto" else iso_code(value)
    if code and code not in LANGUAGES:
        return _refuse(wishes, f"{LANGUAGE}={_shown(value)}: no language that Whisper knows")
    return replace(wishes, hints=replace(wishes.hints, language=code))


def _prompt(wishes: Wishes, value: str) -> Wishes:
    return replace(wishes, hints=replace(wishes.hints, prompt=value))


def _formats(wishes: Wishes, value: str) -> Wishes:
    asked = dict.fromkeys(one for part in value.lower().split(",") if (one := part.strip()))
    known = tuple(one for one in asked if one in FORMATS)
    for one in (one for one in asked if one not in known):
        wishes = _refuse(wishes, f"{CHOSEN_FORMATS}={_shown(one)}: no format that we write")
    return replace(wishes, formats=known or wishes.formats)


_GRANTED: dict[str, Callable[[Wishes, str], Wishes]] = {
    SKIP: _skip,
    LANGUAGE: _language,
    PROMPT: _prompt,
    CHOSEN_FORMATS: _formats,
}


def _unknown(name: str) -> Callable[[Wishes, str], Wishes]:
    return lambda wishes, _: _refuse(wishes, f"{_shown(name)}: no option of ours")


def _refuse(wishes: Wishes, sentence: str) -> Wishes:
    return replace(wishes, refused=(*wishes.refused, sentence))


def _shown(value: str) -> str:
    return value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}…"
