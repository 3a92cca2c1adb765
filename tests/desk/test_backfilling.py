"""What a backfill wants, what it leaves, and how little it holds of a large bucket."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.decisions import Decide
from subscriber.desk.backfilling import BATCH_OBJECTS, Scope, Standing, notify, remedies, survey
from subscriber.desk.tools import Desk
from subscriber.desk.transcripts import STRIDE, found_among
from subscriber.errors import ConfigError
from subscriber.model import SCHEMA_VERSION, Job, ObjectInfo, Record, State
from subscriber.notification import Notice, Selection
from subscriber.outputs import OutputLocation
from subscriber.queries import Wanted
from tests.claims import CLAIMED, NOW, REASON

T = TypeVar("T")
OURS = OutputLocation.parse("gs://out/texts")
LONG_AGO = NOW - timedelta(days=1)


def recording(name: str, **changes: Any) -> ObjectInfo:
    return replace(ObjectInfo("in", name, 7, 1000, "audio/wav", created_at=NOW), **changes)


def output(name: str, source: str, generation: int = 7) -> ObjectInfo:
    told = {"source-bucket": "in", "source-name": source, "source-generation": str(generation), "epoch": "1"}
    return ObjectInfo("out", f"texts/{name}", 1, 10, metadata=told)


@dataclass
class Shelves:
    """Objects and records in memory, which say how often they were asked and how far they were read."""

    objects: Iterable[ObjectInfo] = ()
    records: dict[Job, Record] = field(default_factory=dict)
    outputs: list[ObjectInfo] = field(default_factory=list)
    listings: list[tuple[str, str]] = field(default_factory=list)
    finds: list[int] = field(default_factory=list)
    read: int = 0
    notified: list[Notice] = field(default_factory=list)

    def below(self, bucket: str, prefix: str, start: str = "") -> Iterator[ObjectInfo]:
        self.listings.append((bucket, start))
        for info in self.objects if bucket == "in" else sorted(self.outputs, key=lambda one: one.name):
            if info.bucket == bucket and info.name.startswith(prefix) and info.name >= start:
                self.read += bucket == "in"
                yield info

    def find(self, jobs: Sequence[Job]) -> dict[Job, Record]:
        self.finds.append(len(jobs))
        return {job: self.records[job] for job in jobs if job in self.records}

    def search(self, wanted: Wanted) -> Iterator[Record]:
        return filter(wanted.holds, self.records.values())

    def transact(self, job: Job, decide: Decide[T]) -> T:
        verdict = decide(self.records.get(job), NOW)
        if verdict.write:
            self.records[job] = verdict.write
        return verdict.answer

    def notify(self, notices: Sequence[Notice]) -> None:
        self.notified += notices

    def record(self, name: str, state: State, changes: dict[str, Any]) -> None:
        job = Job("in", name, 7, OURS.text)
        made = replace(CLAIMED, bucket="in", name=name, generation=7, output=OURS.text, state=state)
        self.records[job] = replace(made, **changes)

    def desk(self, **changes: Any) -> Desk:
        whole = cast("Any", self)
        made = Desk(whole, whole, whole, OURS, OURS.chunk_prefix(".chunks/"), Selection(), 10, 1.0, publisher=whole)
        return replace(made, **{"clock": lambda: NOW, **changes})

    def standings(self, **scope: Any) -> dict[str, Standing]:
        found = survey(self.desk(), Scope("in", **{"prefix": "", **scope}))
        return {candidate.found.name: candidate.standing for candidate in found}


def shelves(*names: str) -> Shelves:
    return Shelves([recording(name) for name in sorted(names)])


FREE: dict[str, Any] = {"renewed_at": LONG_AGO}
STANDINGS: list[tuple[State, dict[str, Any], Standing]] = [
    (State.DONE, {}, Standing.DONE),
    (State.SKIPPED, {}, Standing.SKIPPED),
    (State.FORGOTTEN, {"bucket": "", "name": ""}, Standing.FORGOTTEN),
    (State.DEAD, {"reason": REASON}, Standing.DEAD),
    (State.GONE, {}, Standing.ENDED),
    (State.SUPERSEDED, {}, Standing.ENDED),
    (State.CLAIMED, {"renewed_at": NOW}, Standing.IN_HAND),
    (State.CLAIMED, FREE, Standing.STALLED),
    (State.WAITING, {"next_attempt_at": NOW + timedelta(minutes=5)}, Standing.IN_HAND),
    (State.WAITING, {"next_attempt_at": NOW - timedelta(minutes=14)}, Standing.IN_HAND),
    (State.WAITING, {"next_attempt_at": NOW - timedelta(minutes=16)}, Standing.STALLED),
    (State.WAITING, {"schema_version": SCHEMA_VERSION + 1, "next_attempt_at": LONG_AGO}, Standing.NEWER),
]


@pytest.mark.parametrize(("state", "changes", "standing"), STANDINGS)
def test_the_ledger_is_believed(state: State, changes: dict[str, Any], standing: Standing) -> None:
    at = shelves("a.wav")
    at.record("a.wav", state, changes)
    assert at.standings() == {"a.wav": standing}


def test_every_state_is_judged() -> None:
    assert {state for state, _, _ in STANDINGS} == set(State)


def test_what_the_daemon_would_ignore_is_left_and_the_ledger_is_not_asked_about_it() -> None:
    at = Shelves(
        [
            recording("a.txt", content_type="text/plain"),
            recording("b", content_type="audio/ogg"),
            recording("c.wav", metadata={"Transcribe": "Skip "}),
            recording("d.wav"),
        ]
    )
    desk = at.desk(selection=Selection(exclude=("d*",)))
    found = {one.found.name: (one.standing, one.reason) for one in survey(desk, Scope("in", ""))}
    assert found == {
        "a.txt": (Standing.IGNORED, "not_included"),
        "b": (Standing.UNCLAIMED, ""),
        "c.wav": (Standing.IGNORED, "skipped"),
        "d.wav": (Standing.IGNORED, "excluded"),
    }
    assert at.finds == [1]


def test_our_own_outputs_are_no_recordings() -> None:
    at = Shelves([recording("texts/a.wav.json", bucket="out"), recording("up/b.wav", bucket="out")])
    at.outputs = list(at.objects)
    found = [(one.standing, one.reason) for one in survey(at.desk(), Scope("out", ""))]
    assert found == [(Standing.IGNORED, "own_output"), (Standing.UNCLAIMED, "")]


def test_a_bucket_that_may_be_all_outputs_is_refused() -> None:
    """The daemon would pause at the first of its notifications."""
    with pytest.raises(ConfigError, match="covers all of gs://out"):
        list(survey(Shelves().desk(location=OutputLocation.parse("gs://out")), Scope("out", "")))


def test_a_transcript_whose_record_has_expired_is_not_paid_for_again() -> None:
    at = shelves("a.wav", "b.wav", "c.wav", "d.wav")
    at.outputs = [
        output("a.wav.json", "a.wav"),
        output("b.wav.json", "b.wav", generation=6),
        output("c.wav.txt", "c.wav"),
        output("d.wav.json", "somebody.wav"),
    ]
    unclaimed = Standing.UNCLAIMED
    assert at.standings() == {"a.wav": Standing.DONE, "b.wav": unclaimed, "c.wav": unclaimed, "d.wav": unclaimed}


def test_a_name_too_long_for_an_output_is_left_for_the_daemon_to_judge() -> None:
    name = "é" * 505 + ".wav"
    assert shelves(name).standings() == {name: Standing.UNCLAIMED}


def test_outputs_are_verified_where_that_is_asked_for() -> None:
    at = shelves("a.wav", "b.wav", "c.wav")
    for name in ("a.wav", "b.wav", "c.wav"):
        at.record(name, State.DONE, {"outputs": (f"gs://out/texts/{name}.txt", f"gs://out/texts/{name}.json")})
    at.outputs = [
        output(f"{name}.{ending}", name) for name in ("a.wav", "b.wav", "c.wav") for ending in ("json", "txt")
    ]
    at.outputs.remove(output("b.wav.txt", "b.wav"))
    at.outputs[-1] = output("c.wav.txt", "c.wav", generation=6)
    spoiled = {"a.wav": Standing.DONE, "b.wav": Standing.SPOILED, "c.wav": Standing.SPOILED}
    assert set(at.standings().values()) == {Standing.DONE}
    assert at.standings(verify_outputs=True) == spoiled


def test_a_done_job_is_reopened_before_it_is_notified_and_no_other_is() -> None:
    at = shelves("done.wav", "new.wav", "stalled.wav")
    at.record("done.wav", State.DONE, {"outputs": ("gs://out/texts/done.wav.json",), "history": ()})
    at.record("stalled.wav", State.CLAIMED, FREE)
    before = dict(at.records)
    for candidate in survey(at.desk(), Scope("in", "", verify_outputs=True)):
        notify(at.desk(), candidate)
    assert [notice.name for notice in at.notified] == ["done.wav", "new.wav", "stalled.wav"]
    assert {notice.generation for notice in at.notified} == {7}
    (changed,) = (job for job in at.records if at.records[job] != before[job])
    assert (changed.name, at.records[changed].state) == ("done.wav", State.WAITING)
    assert at.standings(verify_outputs=True)["done.wav"] is Standing.IN_HAND
    later = at.desk(clock=lambda: NOW + timedelta(minutes=16))
    assert next(survey(later, Scope("in", ""))).standing is Standing.STALLED, "its notification may be lost"


def test_it_goes_on_behind_a_name_and_since_a_time() -> None:
    at = Shelves([recording(name, created_at=NOW - timedelta(days=age)) for age, name in enumerate("abcd")])
    assert list(at.standings(after="b", prefix="")) == ["c", "d"]
    assert list(at.standings(after="bb", prefix="")) == ["c", "d"]
    assert at.standings(since=NOW - timedelta(days=1))["c"] is Standing.EARLIER
    assert at.standings(since=NOW - timedelta(days=1))["b"] is not Standing.EARLIER
    assert ("in", "bb") in at.listings, "what lies before is not even listed"


def test_of_many_objects_a_batch_is_held() -> None:
    count, held = 30_000, []
    at = Shelves(recording(f"{number:06}.wav") for number in range(count))
    for number, _ in enumerate(survey(at.desk(), Scope("in", ""))):
        assert at.read - number <= BATCH_OBJECTS
        if number % 10_000 == BATCH_OBJECTS // 2:
            held.append(sum(type(one) is ObjectInfo for one in gc.get_objects()))
    assert at.read == count
    assert max(held) - min(held) < 10, "however far it is, it holds the same"
    assert (len(at.finds), max(at.finds)) == (count // BATCH_OBJECTS, BATCH_OBJECTS)
    assert len(at.listings) == 1 + len(at.finds), "one of recordings, one of outputs a batch"


def test_objects_are_read_as_they_are_taken() -> None:
    at = Shelves(recording(f"{number:06}.wav") for number in range(10_000))
    assert len(list(islice(survey(at.desk(), Scope("in", "")), 10))) == 10
    assert at.read == BATCH_OBJECTS


@given(
    st.lists(st.integers(0, 5000), unique=True, max_size=60),
    st.lists(st.integers(0, 5000), unique=True, max_size=60),
)
def test_files_are_found_wherever_they_are(there: list[int], asked: list[int]) -> None:
    at = Shelves(outputs=[ObjectInfo("out", f"{number:04}", 1, 1) for number in there])
    found = found_among(cast("Any", at), [f"gs://out/{number:04}" for number in asked])
    assert set(found) == {f"gs://out/{number:04}" for number in set(there) & set(asked)}


def test_neighbours_come_in_one_listing_and_what_lies_between_is_jumped_over() -> None:
    at = Shelves(outputs=[ObjectInfo("out", f"{number:06}", 1, 1) for number in range(20 * STRIDE)])
    near = [f"gs://out/{number:06}" for number in range(0, 900, 3)]
    assert len(found_among(cast("Any", at), near)) == 300
    assert len(at.listings) == 1
    far = [f"gs://out/{number:06}" for number in (5, 18 * STRIDE, 18 * STRIDE + 1)]
    assert len(found_among(cast("Any", at), far)) == 3
    assert len(at.listings) == 3
    assert found_among(cast("Any", at), ["gs://other/x"]) == {}


def test_what_a_notification_cannot_mend_is_told_with_its_command() -> None:
    totals = Counter(
        {(Standing.DEAD, "empty"): 3, (Standing.ENDED, "gone"): 1, (Standing.DONE, ""): 9, (Standing.UNCLAIMED, ""): 2}
    )
    told = list(remedies(totals, Scope("in", "our calls/")))
    assert len(told) == 2
    assert told[0].endswith("subscriber replay --state dead --reason empty --prefix 'gs://in/our calls/'")
    assert told[1].endswith("subscriber replay --state gone --fresh --prefix 'gs://in/our calls/'")
