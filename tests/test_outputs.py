"""Who may replace whose outputs: every row of the fence, on folders; and where the OUTPUT setting puts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import ClaimLost, NeighbourDown, Permanent, PreconditionFailed, Superseded, Transient
from subscriber.model import Claim, Job
from subscriber.outputs import ROUNDS, OutputLocation, write_set
from subscriber.transcript import OutputFile
from tests.outbox import SET, Watched, claim, transcribe


@pytest.fixture
def outbox(tmp_path: Path) -> Watched:
    return Watched(FolderObjects({"outbox": tmp_path}))


def test_a_set_is_written_in_one_call_a_file_and_its_json_comes_last(outbox: Watched) -> None:
    uris = transcribe(outbox, claim())
    assert uris == tuple(f"gs://outbox/texts/a.wav.{ending}" for ending in ("txt", "srt", "json"))
    assert outbox.calls[:3] == [f"write texts/a.wav.{ending}" for ending in ("txt", "srt", "json")]
    assert outbox.calls[3:] == ["stat texts/a.wav.error.json"]
    assert outbox.json_is_true()


def test_every_file_says_whose_it_is_in_ascii(outbox: Watched) -> None:
    transcribe(outbox, claim(name="grün/🎵 50%.wav"))
    assert outbox.live("texts/grün/🎵 50%.wav.txt").metadata == {
        "source-bucket": "inbox",
        "source-name": "gr%C3%BCn/%F0%9F%8E%B5%2050%25.wav",
        "source-generation": "5",
        "epoch": "1",
        "fingerprint": "fingerprint",
    }
    transcribe(outbox, claim(name="grün/🎵 50%.wav", epoch=2))


@pytest.mark.parametrize("newer", [claim(5, 2), claim(6, 1)], ids=["epoch", "generation"])
def test_a_newer_owner_replaces_the_whole_set(outbox: Watched, newer: Claim) -> None:
    transcribe(outbox, claim(5, 1))
    transcribe(outbox, newer)
    assert {outbox.owner(f"texts/{name}") for name in SET} == {(newer.job.generation, newer.epoch)}
    assert outbox.json_is_true()


@pytest.mark.parametrize(
    ("late", "error"), [(claim(4, 9), Superseded), (claim(5, 1), ClaimLost)], ids=["generation", "epoch"]
)
def test_an_older_owner_changes_nothing(outbox: Watched, late: Claim, error: type[Exception]) -> None:
    transcribe(outbox, claim(5, 2))
    before = {name: outbox.live(f"texts/{name}") for name in SET}
    with pytest.raises(error):
        transcribe(outbox, late)
    assert {name: outbox.live(f"texts/{name}") for name in SET} == before


def test_our_own_write_whose_answer_was_lost_is_a_success(outbox: Watched) -> None:
    """The client repeats a write without an answer, and the second one meets what the first has done."""

    def lose(_: int, call: str) -> None:
        if call.startswith("write"):
            raise PreconditionFailed("the first write was done")

    outbox.after = lose
    transcribe(outbox, claim())
    assert sum(call.startswith("write") for call in outbox.calls) == 3
    assert outbox.names() == SET
    assert outbox.json_is_true()


def test_the_same_owner_may_write_something_else(outbox: Watched) -> None:
    transcribe(outbox, claim(), "first")
    transcribe(outbox, claim(), "second")
    assert outbox.objects.read(outbox.live("texts/a.wav.txt")) == b"second"
    assert outbox.json_is_true()


def test_the_same_words_of_a_newer_owner_are_labelled_anew(outbox: Watched) -> None:
    """Or the label would let the older owner in again."""
    transcribe(outbox, claim(5, 1), "same")
    transcribe(outbox, claim(5, 2), "same")
    assert outbox.owner("texts/a.wav.txt") == (5, 2)


def test_another_source_with_the_same_output_is_a_collision_that_names_it(outbox: Watched) -> None:
    location = OutputLocation.parse("gs://outbox/{stem}")
    json_only = lambda _: OutputFile("json", "application/json", b"{}")  # noqa: E731
    write_set(outbox, location, claim(name="é.mp3"), [], json_only, "")
    with pytest.raises(Permanent, match=r"gs://outbox/é\.json is the output of gs://inbox/é\.mp3") as refused:
        write_set(outbox, location, claim(9, 9, name="é.wav"), [], json_only, "")
    assert refused.value.reason == "output_collision"


@pytest.mark.parametrize("metadata", [{}, {"source-bucket": "inbox", "source-name": "a.wav", "epoch": "x"}])
def test_an_object_that_is_not_ours_is_never_replaced(outbox: Watched, metadata: dict[str, str]) -> None:
    outbox.objects.write("outbox", "texts/a.wav.txt", b"", content_type="", metadata=metadata, if_generation=0)
    with pytest.raises(Permanent, match="no output of ours") as refused:
        transcribe(outbox, claim())
    assert refused.value.reason == "output_collision"


def test_what_vanishes_while_we_look_is_written_anew(outbox: Watched) -> None:
    transcribe(outbox, claim(5, 1))

    def vanish(_: int, call: str) -> None:
        if call == "stat texts/a.wav.txt":
            found = outbox.live("texts/a.wav.txt")
            outbox.objects.delete("outbox", found.name, if_generation=found.generation)

    outbox.before = vanish
    transcribe(outbox, claim(5, 2))
    assert outbox.owner("texts/a.wav.txt") == (5, 2)
    assert outbox.json_is_true()


def test_what_changes_between_look_and_write_is_looked_at_again(outbox: Watched) -> None:
    transcribe(outbox, claim(5, 1))
    newer = Watched(outbox.objects)

    def overtake(_: int, call: str) -> None:
        if call == "stat texts/a.wav.txt" and not newer.calls:
            transcribe(newer, claim(6, 1))

    outbox.after = overtake
    with pytest.raises(Superseded):
        transcribe(outbox, claim(5, 2))
    assert outbox.owner("texts/a.wav.txt") == (6, 1)
    assert outbox.json_is_true()


def test_an_output_that_never_stands_still_costs_an_attempt(outbox: Watched) -> None:
    def fail(_: int, call: str) -> None:
        if call.startswith("write"):
            raise PreconditionFailed("changed again")

    outbox.before = fail
    with pytest.raises(Transient):
        transcribe(outbox, claim())
    assert outbox.calls.count("write texts/a.wav.txt") == ROUNDS


def test_an_outage_in_the_middle_is_passed_on_and_the_set_can_be_written_again(outbox: Watched) -> None:
    def away(number: int, _: str) -> None:
        if number == 2:
            raise NeighbourDown("gcs", "unavailable", "away")

    outbox.before = away
    with pytest.raises(NeighbourDown):
        transcribe(outbox, claim())
    assert outbox.names() == ["a.wav.srt", "a.wav.txt"]
    transcribe(outbox, claim())
    assert outbox.json_is_true()


# The OUTPUT setting


@pytest.mark.parametrize(
    ("text", "prefix", "name"),
    [
        ("gs://b", "", "deep/a.b.wav.json"),
        ("gs://b/", "", "deep/a.b.wav.json"),
        ("gs://b/out", "out/", "out/deep/a.b.wav.json"),
        ("gs://b/out/more//", "out/more/", "out/more/deep/a.b.wav.json"),
        ("gs://b/{name}", "", "deep/a.b.wav.json"),
        ("gs://b/t/{stem}", "t/", "t/deep/a.b.json"),
        ("gs://b/t-{bucket}/{name}#{generation}", "t-", "t-inbox/deep/a.b.wav#7.json"),
    ],
)
def test_an_output_setting_gives_each_object_its_name(text: str, prefix: str, name: str) -> None:
    location = OutputLocation.parse(text)
    assert (location.text, location.bucket, location.static_prefix) == (text, "b", prefix)
    assert location.covers_whole_bucket == (prefix == "")
    assert location.name_for(Job("inbox", "deep/a.b.wav", 7, text), "json") == name
    assert location.holds("b", name)
    assert not location.holds("inbox", name)
    assert location.holds("b", "elsewhere/a") == location.covers_whole_bucket


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a", "a"), (".wav", ".wav"), ("d.d/a", "d.d/a"), ("a.tar.gz", "a.tar"), ("{stem}.wav", "{stem}")],
)
def test_a_stem_is_the_name_without_its_last_ending(name: str, stem: str) -> None:
    assert OutputLocation.parse("gs://b/{stem}").name_for(Job("inbox", name, 7, ""), "txt") == f"{stem}.txt"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not gs://"),
        ("b/out", "is not gs://"),
        ("gs://", "is not gs://"),
        ("gs:///out", "is not gs://"),
        ("gs://{bucket}/out", "is not gs://"),
        ("gs://Big Bucket/out", "is not gs://"),
        ("gs://b/{nam}", r"unknown placeholder \{nam\}; known are \{bucket\}, \{name\}, \{stem\}, \{generation\}"),
        ("gs://b/{}", "unknown placeholder"),
        ("gs://b/{name", "without its other half"),
        ("gs://b/{{name}}", "without its other half"),
        ("gs://b/{bucket}/{generation}", "gives all objects one name"),
    ],
)
def test_a_bad_output_setting_is_refused_with_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        OutputLocation.parse(text)


def test_the_longest_name_fits_and_a_byte_more_is_final() -> None:
    location = OutputLocation.parse("gs://b/é")
    fits = "n" * (1024 - len("é/.json".encode()))
    assert len(location.name_for(Job("inbox", fits, 7, ""), "json").encode()) == 1024
    with pytest.raises(Permanent) as refused:
        location.name_for(Job("inbox", fits + "n", 7, ""), "json")
    assert refused.value.reason == "output_name_too_long"
