"""Where outputs go, and who may replace whom: every row of the fence, on folders."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscriber.adapters.folder import FolderObjects
from subscriber.errors import ClaimLost, NeighbourDown, Permanent, PreconditionFailed, Superseded, Transient
from subscriber.model import Claim, Job, ObjectInfo, OutputFile, Reason
from subscriber.outputs import ROUNDS, OutputLocation, write_error, write_set

LOCATION = OutputLocation.parse("gs://outbox/texts")
REASON = Reason("audio_rejected", "no sound in it", datetime(2026, 11, 22, tzinfo=UTC))


def claim(generation: int = 5, epoch: int = 1, name: str = "a.wav", *, attempt: int = 1) -> Claim:
    return Claim(Job("inbox", name, generation, LOCATION.text), "nonce", epoch, attempt, 90)


Meeting = Callable[[int, str], None]


@dataclass
class Watched:
    """A folder whose every call can be met: `before` and `after` get the call's number and what it does."""

    objects: FolderObjects
    before: Meeting = lambda _number, _call: None
    after: Meeting = lambda _number, _call: None

    def __post_init__(self) -> None:
        self.calls: list[str] = []

    def _met(self, call: str, act: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.calls.append(call)
        self.before(number, call)
        answer = act()
        self.after(number, call)
        return answer

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        found: ObjectInfo | None = self._met(f"stat {name}", lambda: self.objects.stat(bucket, name))
        return found

    def read(self, info: ObjectInfo) -> bytes:
        return self.objects.read(info)

    def write(self, bucket: str, name: str, data: bytes, **how: Any) -> ObjectInfo:
        written: ObjectInfo = self._met(f"write {name}", lambda: self.objects.write(bucket, name, data, **how))
        return written

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        self._met(f"delete {name}", lambda: self.objects.delete(bucket, name, if_generation=if_generation))

    # What a test wants to know

    def live(self, name: str) -> ObjectInfo:
        found = self.objects.stat("outbox", name)
        assert found
        return found

    def names(self) -> list[str]:
        folder = self.objects._roots["outbox"] / "texts"
        return sorted(path.name for path in folder.glob("*"))

    def owner(self, name: str) -> tuple[int, int]:
        told = self.live(name).metadata
        return int(told["source-generation"]), int(told["epoch"])

    def json_is_true(self) -> bool:
        """Whether the JSON, if there is one, lists only live files of its own owner."""
        if not (found := self.objects.stat("outbox", "texts/a.wav.json")):
            return True
        listed = json.loads(self.objects.read(found))
        return all(
            self.live(name).generation == generation and self.owner(name) == self.owner(found.name)
            for name, generation in listed.items()
        )


@pytest.fixture
def outbox(tmp_path: Path) -> Watched:
    return Watched(FolderObjects({"outbox": tmp_path}))


def transcribe(outbox: Watched, by: Claim, text: str = "") -> tuple[str, ...]:
    words = (text or f"{by.job.generation}/{by.epoch}").encode()
    files = [OutputFile("txt", "text/plain", words), OutputFile("srt", "text/plain", words)]

    def json_file(generations: dict[str, int]) -> OutputFile:
        return OutputFile("json", "application/json", json.dumps(generations).encode())

    return write_set(outbox, LOCATION, by, files, json_file, "fingerprint")


SET = ["a.wav.json", "a.wav.srt", "a.wav.txt"]


# Who may replace whom


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


# Crashes and races


class Crash(BaseException):
    """What a SIGKILL looks like from inside."""


def crash_at(number: int | None) -> Meeting:
    def crash(call: int, _: str) -> None:
        if call == number:
            raise Crash

    return crash


OWNERS = st.tuples(st.integers(1, 3), st.integers(1, 3))
CRASHES = st.none() | st.integers(0, 12)


@contextmanager
def folder() -> Iterator[FolderObjects]:
    with tempfile.TemporaryDirectory() as root:
        yield FolderObjects({"outbox": Path(root)})


def the_set_belongs_to(owner: tuple[int, int], objects: FolderObjects) -> bool:
    outbox = Watched(objects)
    return outbox.json_is_true() and {outbox.owner(f"texts/{name}") for name in SET} == {owner}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(OWNERS, CRASHES), min_size=1, max_size=5))
def test_a_json_is_true_after_every_step_of_any_writers_and_crashes(
    runs: list[tuple[tuple[int, int], int | None]],
) -> None:
    with folder() as objects:
        for owner, crash in runs:
            outbox = Watched(objects, before=crash_at(crash))

            def look(number: int, call: str, outbox: Watched = outbox) -> None:
                assert outbox.json_is_true(), f"after call {number}, {call}"

            outbox.after = look
            with suppress(Crash, Superseded, ClaimLost):
                transcribe(outbox, claim(*owner))
        highest = max(owner for owner, _ in runs)
        transcribe(Watched(objects), claim(*highest))
        assert the_set_belongs_to(highest, objects)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(OWNERS, st.integers(0, 8), CRASHES), min_size=2, max_size=3, unique_by=lambda run: run[0]))
def test_the_highest_owner_has_the_whole_set_however_writers_interrupt_each_other(
    runs: list[tuple[tuple[int, int], int, int | None]],
) -> None:
    """Each writer is interrupted at some call by the whole run of the next one; all but the highest may crash."""
    highest = max(owner for owner, _, _ in runs)
    waiting = iter(runs)

    def run_next(objects: FolderObjects) -> None:
        for owner, interrupted_at, crash in waiting:
            crash_now = crash_at(None if owner == highest else crash)

            def meet(number: int, call: str, at: int = interrupted_at, fall: Meeting = crash_now) -> None:
                if number == at:
                    run_next(objects)
                fall(number, call)

            with suppress(Crash, Superseded, ClaimLost):
                transcribe(Watched(objects, before=meet), claim(*owner))

    with folder() as objects:
        run_next(objects)
        assert the_set_belongs_to(highest, objects)


# Failures


def test_a_failure_is_written_for_people_and_machines(outbox: Watched) -> None:
    assert write_error(outbox, LOCATION, claim(attempt=3), REASON) == "gs://outbox/texts/a.wav.error.json"
    written = outbox.objects.read(outbox.live("texts/a.wav.error.json"))
    assert written.endswith(b"}\n")
    assert json.loads(written) == {
        "schema_version": 1,
        "source": {"bucket": "inbox", "name": "a.wav", "generation": "5", "uri": "gs://inbox/a.wav"},
        "reason": {"kind": "audio_rejected", "message": "no sound in it", "at": "2026-11-22T00:00:00+00:00"},
        "attempts": 3,
    }
    assert outbox.owner("texts/a.wav.error.json") == (5, 1)


def test_a_claim_that_only_buries_is_no_attempt(outbox: Watched) -> None:
    write_error(outbox, LOCATION, replace(claim(attempt=11), sentence=REASON), REASON)
    assert json.loads(outbox.objects.read(outbox.live("texts/a.wav.error.json")))["attempts"] == 10


@pytest.mark.parametrize("failed", [claim(5, 9), claim(4, 9)], ids=["same generation", "older generation"])
def test_a_failure_never_stands_beside_a_transcript_as_new_as_itself(outbox: Watched, failed: Claim) -> None:
    transcribe(outbox, claim(5, 2))
    with pytest.raises(Superseded):
        write_error(outbox, LOCATION, failed, REASON)
    assert outbox.names() == SET


def test_a_failure_of_a_newer_generation_stands_beside_the_older_transcript(outbox: Watched) -> None:
    transcribe(outbox, claim(5))
    write_error(outbox, LOCATION, claim(6), REASON)
    assert outbox.names() == ["a.wav.error.json", *SET]


def test_a_failure_may_stand_beside_the_transcript_of_another_source(outbox: Watched) -> None:
    """It is the only place where the collision can be read."""
    transcribe(outbox, claim(9))
    found = outbox.live("texts/a.wav.json")
    foreign = {**found.metadata, "source-name": "other.wav"}
    outbox.objects.write("outbox", found.name, b"{}", content_type="", metadata=foreign, if_generation=found.generation)
    write_error(outbox, LOCATION, claim(5), REASON)
    assert outbox.owner("texts/a.wav.error.json") == (5, 1)


@pytest.mark.parametrize("moment", range(6))
def test_a_failure_gives_way_to_a_transcript_that_comes_at_the_same_time(outbox: Watched, moment: int) -> None:
    def overtake(number: int, _: str) -> None:
        if number == moment:
            transcribe(Watched(outbox.objects), claim(6))

    outbox.before = overtake
    with suppress(Superseded):
        write_error(outbox, LOCATION, claim(5), REASON)
    if len(outbox.calls) <= moment:  # it came after the failure was written
        transcribe(outbox, claim(6))
    assert outbox.names() == SET


@pytest.mark.parametrize("moment", range(5))
def test_a_transcript_removes_a_failure_that_comes_at_the_same_time(outbox: Watched, moment: int) -> None:
    def fail(number: int, _: str) -> None:
        if number == moment:
            with suppress(Superseded):
                write_error(Watched(outbox.objects), LOCATION, claim(5), REASON)

    outbox.before = fail
    transcribe(outbox, claim(6))
    assert outbox.names() == SET


def test_a_transcript_removes_the_failure_before_it(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(5, 1), REASON)
    transcribe(outbox, claim(5, 2))
    assert outbox.names() == SET


def test_a_transcript_leaves_the_failure_of_a_newer_generation(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(6), REASON)
    transcribe(outbox, claim(5))
    assert outbox.names() == ["a.wav.error.json", *SET]


def test_a_failure_that_may_not_be_deleted_does_not_undo_the_transcript(outbox: Watched) -> None:
    write_error(outbox, LOCATION, claim(5, 1), REASON)

    def lock(_: int, call: str) -> None:
        if call == "delete texts/a.wav.error.json":
            raise Permanent("output_locked", "until 2027")

    outbox.before = lock
    assert transcribe(outbox, claim(5, 2))


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
