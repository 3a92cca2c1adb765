"""What an object's own metadata asks for is done; what cannot be done is told, and costs the transcript nothing."""

from __future__ import annotations

import pytest

from subscriber.errors import NotForUs
from subscriber.transcript import Hints
from subscriber.wishes import Wishes, wishes_of

USUAL = Wishes(Hints("de", "Calls.", ("Ada",)), ("json", "txt"))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"owner": "Ada", "transcribed-by": "nobody", "Transcribe": " "},
        {"transcribe-language": "", "transcribe-prompt": "  ", "transcribe-formats": ""},
    ],
)
def test_without_wishes_everything_is_as_usual(metadata: dict[str, str]) -> None:
    assert wishes_of(metadata, USUAL) == USUAL


@pytest.mark.parametrize(
    ("told", "language"),
    [("fr", "fr"), (" FR ", "fr"), ("en-US", "en"), ("pt_BR", "pt"), ("German", "de"), ("yue", "yue"), ("auto", None)],
)
def test_a_language_may_be_named_as_people_do(told: str, language: str | None) -> None:
    assert wishes_of({"transcribe-language": told}, USUAL) == Wishes(Hints(language, "Calls.", ("Ada",)), USUAL.formats)


def test_a_prompt_takes_the_place_of_the_usual_one() -> None:
    assert wishes_of({"transcribe-prompt": " At the shop. "}, USUAL).hints == Hints("de", "At the shop.", ("Ada",))


def test_formats_take_the_place_of_the_usual_ones() -> None:
    assert wishes_of({"transcribe-formats": "SRT, vtt,,srt"}, USUAL).formats == ("srt", "vtt")


@pytest.mark.parametrize("value", ["skip", " SKIP "])
@pytest.mark.parametrize("name", ["transcribe", "Transcribe"])
def test_an_object_may_say_that_it_is_not_for_us(name: str, value: str) -> None:
    with pytest.raises(NotForUs) as unwanted:
        wishes_of({name: value}, USUAL)
    assert unwanted.value.reason == "skipped"


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"transcribe": "no"}, "transcribe=no: only `skip` is known"),
        ({"transcribe-language": "Klingon"}, "transcribe-language=Klingon: no language that Whisper knows"),
        ({"transcribe-formats": "pdf"}, "transcribe-formats=pdf: no format that we write"),
        ({"transcribe-lang": "fr"}, "transcribe-lang: no option of ours"),
        ({"transcribe-language": "x" * 1000}, f"transcribe-language={'x' * 40}…: no language that Whisper knows"),
    ],
)
def test_what_cannot_be_done_is_told_and_everything_else_is_as_usual(metadata: dict[str, str], told: str) -> None:
    wishes = wishes_of(metadata, USUAL)
    assert wishes.refused == (told,)
    assert (wishes.hints, wishes.formats) == (USUAL.hints, USUAL.formats)


def test_what_can_be_done_of_a_list_is_done_and_every_mistake_is_told() -> None:
    wishes = wishes_of({"transcribe-formats": "srt,pdf,doc", "transcribe-language": "xx"}, USUAL)
    assert wishes.formats == ("srt",)
    assert [sentence.partition(":")[0] for sentence in wishes.refused] == [
        "transcribe-formats=pdf",
        "transcribe-formats=doc",
        "transcribe-language=xx",
    ]
