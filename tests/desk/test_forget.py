"""Erasing an object: all of it, nothing of anybody else's, and for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from subscriber.adapters.folder import FolderObjects
from subscriber.adapters.sqlite import SqliteLedger
from subscriber.adapters.sqlite_records import SqliteRecords
from subscriber.decisions import decide_completion, decide_renewal
from subscriber.desk.decisions import ERASING_SECONDS, decide_take, decide_tombstone
from subscriber.desk.forget import Erased, Traces, find, forget
from subscriber.desk.tools import Desk
from subscriber.desk.words import readings
from subscriber.errors import ClaimLost, NeighbourDown, NotForUs, Permanent, SubscriberError
from subscriber.model import SCHEMA_VERSION, Claim, Job, Pin, Progress, State
from subscriber.notification import Selection
from subscriber.outputs import OutputLocation, write_set
from subscriber.transcribe.cache import ChunkCache, chunk_key
from subscriber.transcript import SILENCE, OutputFile
from tests.claims import CLAIMED, JOB, NOW, RESULT, claim, claiming, found

OURS = OutputLocation.parse("gs://out/texts")
CHUNKS = OURS.chunk_prefix(".chunks/")


class Stores(FolderObjects):
    """Folders in which a test can hold a file, or lose the store in the middle of things."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"in": folder / "in", "out": folder / "out"})
        self.locked: set[str] = set()
        self.deletes_left: int | None = None

    def delete(self, bucket: str, name: str, *, if_generation: int) -> None:
        if name in self.locked:
            raise Permanent("output_locked", "a hold forbids it")
        if self.deletes_left == 0:
            raise NeighbourDown("gcs", "unavailable", "gone away")
        if self.deletes_left:
            self.deletes_left -= 1
        super().delete(bucket, name, if_generation=if_generation)


@dataclass
class Office:
    """A desk, and what daemons leave on it."""

    desk: Desk
    objects: Stores
    ledger: SqliteLedger

    def paid(self, job: Job, *sounds: str) -> list[str]:
        """Chunks that are paid for a job, unless somebody has paid for them."""
        keys = [chunk_key(sound.encode(), {}) for sound in sounds]
        for key in keys:
            ChunkCache(self.objects, "out", CHUNKS).put(key, SILENCE, job.source_id)
        return keys

    def transcribed(self, name: str, *sounds: str, generation: int = 1, by: Claim | None = None) -> Job:
        job = Job("in", name, generation, OURS.text)
        held = by or claim(self.ledger, job)
        self.write(held, self.paid(job, *sounds))
        uris = tuple(f"gs://out/texts/{name}.{ending}" for ending in ("txt", "json"))
        self.ledger.transact(job, partial(decide_completion, claim=held, result=replace(RESULT, outputs=uris)))
        return job

    def write(self, held: Claim, keys: list[str]) -> None:
        document = json.dumps({"chunks": [{"key": None}, *({"key": key} for key in keys)]})
        files = [OutputFile("txt", "text/plain", b"words")]
        write_set(
            self.objects, OURS, held, files, lambda _: OutputFile("json", "application/json", document.encode()), "f"
        )

    def files(self) -> list[str]:
        return [info.name for info in self.objects.below("out", "texts/") if not info.name.startswith(CHUNKS)]

    def chunks(self) -> int:
        return len(list(self.objects.below("out", CHUNKS)))

    def find(self, text: str) -> Traces:
        return find(self.desk, readings(text))

    def forget(self, text: str, wait: Callable[[float], None] | None = None) -> Erased:
        return forget(self.desk, self.find(text), wait or unexpected)


def unexpected(seconds: float) -> None:
    pytest.fail(f"nobody had it, so why wait {seconds} s?")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    objects, path = Stores(tmp_path), tmp_path / "ledger.sqlite"
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    with closing(SqliteLedger(path)) as ledger:
        ledger.check()
        desk = Desk(ledger, SqliteRecords(path), objects, OURS, CHUNKS, Selection(), 10, 1_209_600.0)
        yield Office(desk, objects, ledger)


def test_everything_of_an_object_is_erased_and_nothing_of_others(office: Office) -> None:
    job = office.transcribed("anna.wav", "one", "two")
    other = office.transcribed("berta.wav", "three")
    erased = office.forget("gs://in/anna.wav")
    assert (len(erased.files), erased.chunks, erased.records, erased.resisted) == (2, 2, 1, [])
    assert office.files() == ["texts/berta.wav.json", "texts/berta.wav.txt"]
    assert office.chunks() == 1
    assert found(office.ledger, other).state is State.DONE
    assert found(office.ledger, job).state is State.FORGOTTEN


def test_the_tombstone_tells_of_nobody_and_never_expires(office: Office, tmp_path: Path) -> None:
    job = office.transcribed("anna.wav", "one")
    office.forget("gs://in/anna.wav")
    record = found(office.ledger, job)
    assert (record.name, record.bucket, record.generation, record.owner, record.message_id) == ("", "", 0, "", "")
    assert (record.history, record.reason, record.outputs, record.expires_at) == ((), None, (), None)
    office.ledger.close()
    left = [path for path in tmp_path.rglob("*") if path.is_file() and b"anna" in path.read_bytes()]
    assert [path for path in left if path.suffix != ".sqlite"] == []


def test_a_redelivery_does_not_bring_it_back(office: Office) -> None:
    job = office.transcribed("anna.wav", "one")
    office.forget("gs://in/anna.wav")
    tombstone = found(office.ledger, job)
    with pytest.raises(NotForUs, match="forgotten"):
        office.ledger.transact(job, claiming(job))
    assert found(office.ledger, job) == tombstone


def test_an_object_that_nobody_has_claimed_yet_is_not_transcribed_later(office: Office) -> None:
    info = office.objects.write("in", "anna.wav", b"x", content_type="audio/wav", metadata={}, if_generation=0)
    job = Job("in", "anna.wav", info.generation, OURS.text)
    assert office.forget("gs://in/anna.wav").records == 1
    with pytest.raises(NotForUs):
        office.ledger.transact(job, claiming(job))
    assert office.objects.stat("in", "anna.wav") == info, "the source object is not ours"


def test_all_generations_go_or_the_one_that_is_named(office: Office) -> None:
    first = office.transcribed("anna.wav", "one", generation=1)
    second = office.transcribed("anna.wav", "two", generation=2)
    assert [file.name for file in office.find("gs://in/anna.wav#1").files] == []
    assert office.forget("gs://in/anna.wav#1").records == 1
    assert found(office.ledger, second).state is State.DONE
    assert office.files() == ["texts/anna.wav.json", "texts/anna.wav.txt"], "they are the second's"
    assert office.forget("gs://in/anna.wav").records == 1
    assert [found(office.ledger, job).state for job in (first, second)] == [State.FORGOTTEN] * 2
    assert office.files() == []


def test_a_name_that_holds_a_hash_goes_whole(office: Office) -> None:
    plain, hashed = office.transcribed("a", generation=7), office.transcribed("a#7")
    office.forget("gs://in/a#7")
    assert (found(office.ledger, plain).state, found(office.ledger, hashed).state) == (State.DONE, State.FORGOTTEN)


def test_chunks_of_a_job_that_never_came_to_its_transcript_go_too(office: Office) -> None:
    job = Job("in", "anna.wav", 1, OURS.text)
    claim(office.ledger, job)
    office.paid(job, "one", "two")
    assert office.forget("gs://in/anna.wav", lambda _: None).chunks == 2
    assert office.chunks() == 0


def test_chunks_that_another_object_paid_for_go_with_the_transcript_that_is_made_of_them(office: Office) -> None:
    copy = office.transcribed("copy.wav", "one")
    office.transcribed("anna.wav", "one", "two")
    assert office.forget("gs://in/anna.wav").chunks == 2
    assert found(office.ledger, copy).state is State.DONE
    assert office.files() == ["texts/copy.wav.json", "texts/copy.wav.txt"]


def test_answers_that_led_to_a_verdict_go_with_it(office: Office) -> None:
    """Of a chunk that was asked in halves there is more than its verdict, and another object may have paid for it."""
    (key,) = office.paid(Job("in", "copy.wav", 1, OURS.text), "one")
    for answer in (".0-16000", ".16000-32000"):
        ChunkCache(office.objects, "out", CHUNKS).put(key + answer, SILENCE, "another")
    office.transcribed("anna.wav", "one")
    assert office.forget("gs://in/anna.wav").chunks == 3
    assert office.chunks() == 0


def test_the_output_of_another_source_under_the_same_name_stays(office: Office) -> None:
    theirs = Job("elsewhere", "anna.wav", 1, OURS.text)
    office.write(claim(office.ledger, theirs), [])
    claim(office.ledger, Job("in", "anna.wav", 1, OURS.text))
    assert office.forget("gs://in/anna.wav", lambda _: None).files == []
    assert office.files() == ["texts/anna.wav.json", "texts/anna.wav.txt"]


def test_a_worker_loses_the_job_and_what_it_wrote_until_its_claims_end_goes_too(office: Office) -> None:
    job = Job("in", "anna.wav", 1, OURS.text)
    working = claim(office.ledger, job)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        office.write(working, office.paid(job, "one"))
        renew = partial(decide_renewal, claim=working, progress=Progress(), pin=Pin())
        with pytest.raises(ClaimLost):
            office.ledger.transact(job, renew)

    erased = office.forget("gs://in/anna.wav", wait)
    assert 80 < waited[0] <= 90
    assert (len(erased.files), erased.chunks) == (2, 1)
    assert (office.files(), office.chunks()) == ([], 0)
    with pytest.raises(ClaimLost):
        office.ledger.transact(job, partial(decide_completion, claim=working, result=RESULT))


@pytest.mark.parametrize("deletes", range(4))
def test_after_an_outage_at_any_step_a_second_run_finds_the_rest(office: Office, deletes: int) -> None:
    job = office.transcribed("anna.wav", "one", "two")
    office.objects.deletes_left = deletes
    with pytest.raises(NeighbourDown):
        office.forget("gs://in/anna.wav")
    assert found(office.ledger, job).name == "anna.wav", "without its record nobody could go on"
    office.objects.deletes_left = None
    office.forget("gs://in/anna.wav", lambda _: None)
    assert office.files() == []
    assert found(office.ledger, job).state is State.FORGOTTEN


def test_what_may_not_be_deleted_is_named_and_found_by_a_second_run(office: Office) -> None:
    office.transcribed("anna.wav", "one")
    office.objects.locked = {"texts/anna.wav.txt"}
    (resisted,) = office.forget("gs://in/anna.wav").resisted
    assert resisted == "gs://out/texts/anna.wav.txt: a hold forbids it"
    assert office.files() == ["texts/anna.wav.txt"]
    office.objects.locked = set()
    assert office.forget("gs://in/anna.wav").resisted == []
    assert office.files() == []


def test_of_what_nobody_knows_there_is_nothing(office: Office) -> None:
    office.transcribed("anna.wav")
    assert not office.find("gs://in/ann")
    assert not office.find("gs://in/anna.wav#99")


def test_what_lies_under_another_output_is_told_and_left(office: Office) -> None:
    job = replace(office.transcribed("anna.wav"), output="gs://another")
    claim(office.ledger, job)
    traces = office.find("gs://in/anna.wav")
    assert traces.others == {"gs://another"}
    forget(office.desk, traces, unexpected)
    assert found(office.ledger, job).state is State.CLAIMED


def test_a_claim_that_was_taken_twice_for_a_lost_answer_is_taken_once() -> None:
    first = decide_take(CLAIMED, NOW, JOB, "desk")
    assert first.write
    again = decide_take(first.write, NOW + timedelta(seconds=1), JOB, "desk")
    assert again.write is None
    assert again.answer == first.answer
    assert first.answer.wait_seconds == pytest.approx(60.0)
    assert first.write.claim_seconds == pytest.approx(60.0 + ERASING_SECONDS)
    buried = decide_tombstone(first.write, NOW, first.answer.claim).write
    assert decide_tombstone(buried, NOW, first.answer.claim).write is None


def test_a_newer_versions_record_is_not_touched() -> None:
    with pytest.raises(SubscriberError, match="newer version"):
        decide_take(replace(CLAIMED, schema_version=SCHEMA_VERSION + 1), NOW, JOB, "desk")


def test_only_who_holds_the_claim_may_leave_a_tombstone() -> None:
    with pytest.raises(ClaimLost):
        decide_tombstone(CLAIMED, NOW, Claim(JOB, "desk", 7, 1, 90.0))
    with pytest.raises(ClaimLost):
        decide_tombstone(None, NOW, Claim(JOB, "desk", 7, 1, 90.0))
