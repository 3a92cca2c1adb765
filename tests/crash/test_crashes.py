"""Killed before and after every effect of a life, then delivered again: one outcome, recorded, announced, acked.

What the effects are is found out by living each story once. A death may cost a request once more if it came between
that request and the storing of its answer (or the record of its failure), and none otherwise.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from subscriber.adapters.pubsub import _event
from subscriber.compose import INBOX, OUTBOX
from subscriber.errors import Permanent, Transient
from subscriber.model import Job, Record, State
from subscriber.transcript import Answer
from tests.crash.lives import NAME, Moment, Stage, moments, spoken

Say = Callable[[int], Answer | Exception]


def speaks(number: int) -> Answer:
    return spoken(f"answer {number}")


def rejects(number: int) -> Exception:
    return Permanent("audio_rejected", f"no sound in it, said {number} times")


def fails(number: int) -> Exception:
    return Transient("provider_error", f"failure {number}")


def fails_once(number: int) -> Answer | Exception:
    return fails(number) if number == 1 else spoken(f"answer {number}")


def falls_silent(number: int) -> Exception:
    return Transient("no_answer", f"silence {number}")


def falls_silent_once(number: int) -> Answer | Exception:
    return falls_silent(number) if number == 1 else spoken(f"answer {number}")


def rejects_the_first(number: int) -> Answer | Exception:
    return rejects(number) if number == 1 else spoken(f"answer {number}")


def lived_before(stage: Stage) -> None:
    """An older generation of the recording has had its life."""
    stage.live_on()
    stage.upload("better sound")


def failed_before(stage: Stage) -> None:
    """An attempt at the recording has failed."""
    stage.live()
    stage.let_time_pass()


def deleted(stage: Stage) -> None:
    stage.objects.delete(INBOX, NAME, if_generation=stage.job.generation)


def overwritten(stage: Stage) -> None:
    job = stage.job
    stage.upload("better sound")
    stage.job = job


def forgotten(stage: Stage) -> None:
    """The message has waited for longer than anybody wants its transcript."""
    stage.published_at -= timedelta(days=30)


def nothing(_: Stage) -> None: ...


@dataclass(frozen=True)
class Story:
    """What the provider says, what came before, and how it ends."""

    end: State
    say: Say = speaks
    past: Callable[[Stage], None] = nothing
    reason: str | None = None
    requests: int = 1
    """How many are made when nobody dies, the past's not counted."""
    settings: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 1.0
    hears_nothing_in: float = math.inf

    def stage(self, root: Path) -> Stage:
        stage = Stage(root, self.say, seconds=self.seconds, hears_nothing_in=self.hears_nothing_in, **self.settings)
        self.past(stage)
        return stage

    def effects(self) -> list[str]:
        """Of its first life, in order."""
        with tempfile.TemporaryDirectory() as folder:
            return self.stage(Path(folder)).live().effects

    def moments(self) -> list[Moment]:
        return moments(self.effects())


STORIES = {
    "a transcript": Story(State.DONE),
    "a transcript over an older one": Story(State.DONE, past=lived_before),
    "a transcript over an older failure": Story(State.DONE, say=rejects_the_first, past=lived_before),
    "a failure that is tried again": Story(State.DONE, say=fails_once, requests=2),
    "a transcript after a failure": Story(State.DONE, say=fails_once, past=failed_before),
    "a dead end": Story(State.DEAD, say=rejects, reason="audio_rejected"),
    "the last attempt": Story(State.DEAD, say=fails, reason="exhausted", settings={"max_attempts": "1"}),
    "the second silence": Story(State.DEAD, say=falls_silent, reason="unanswered", requests=2),
    "an answer after a silence": Story(State.DONE, say=falls_silent_once, requests=2),
    "a doubtful answer": Story(State.DONE, seconds=3.0, hears_nothing_in=2.0, requests=3),
    "a message that is too old": Story(State.DEAD, past=forgotten, reason="expired", requests=0),
    "a deleted recording": Story(State.GONE, past=deleted, reason="gone", requests=0),
    "an overwritten recording": Story(State.SUPERSEDED, past=overwritten, reason="superseded", requests=0),
}


@dataclass(frozen=True)
class Death:
    """A story, and where its first life ends."""

    story: Story
    moment: Moment


DEATHS = [
    pytest.param(Death(story, moment), id=f"{name}, killed {moment}")
    for name, story in STORIES.items()
    for moment in story.moments()
]


@pytest.mark.parametrize("death", DEATHS)
def test_whenever_it_dies_the_message_ends_once_and_is_acked_last(death: Death, tmp_path: Path) -> None:
    stage = death.story.stage(tmp_path)
    paid_before, answers_before, stored_before = stage.provider.requests, stage.provider.answers, stage.stored()
    assert stage.live(death.moment).dead, "the life was shorter than the story's"
    stored = len(stage.stored() - stored_before)
    answers, asked = stage.provider.answers - answers_before, stage.provider.requests - paid_before
    # Of a request that failed, nobody knows before its failure is recorded or the next answer stored.
    lost = max(0, answers - stored if stored else asked) if stage.state() is State.CLAIMED else 0
    stage.live_on()
    _assert_settled(stage, death.story)
    asked = stage.provider.requests - paid_before
    assert death.story.requests <= asked <= death.story.requests + lost
    # An ack is best effort: the message may come again all the same, and changes nothing then.
    before = stage.record(), stage.output("json"), stage.output("error.json"), len(stage.listeners.heard)
    stage.live_on()
    assert (stage.record(), stage.output("json"), stage.output("error.json"), len(stage.listeners.heard)) == before
    assert stage.provider.requests - paid_before == asked


@pytest.mark.parametrize("moment", STORIES["a transcript"].moments(), ids=str)
def test_each_death_costs_one_request_at_most_and_none_once_an_answer_is_stored(moment: Moment, tmp_path: Path) -> None:
    stage, lost = STORIES["a transcript"].stage(tmp_path), 0
    for _ in range(3):
        asked = stage.provider.requests
        stage.live(moment)
        lost += stage.provider.requests - asked if not stage.stored() else 0
        stage.let_time_pass()
    stage.live_on()
    _assert_settled(stage, STORIES["a transcript"])
    assert len(stage.stored()) == 1
    assert stage.provider.requests == lost + 1


def test_the_effects_of_a_life_are_all_seen() -> None:
    """Or the enumeration above would prove nothing: what is no effect there is never died at."""
    effects = STORIES["a transcript"].effects()
    assert effects[0] == "source.extend"
    assert effects[-1] == "source.ack"
    assert {"provider.transcribe", "objects.stat", "objects.read_range", "listeners.announce"} <= {*effects}
    assert effects.count("objects.write") == 3, "the chunk's verdict, the text, the JSON"
    asked = effects.index("provider.transcribe")
    assert effects[asked + 1] == "objects.write", "an answer is stored before anything else happens"
    assert effects.count("ledger.transact") >= 3, "claim, completion and announcement"


def test_an_answer_that_is_doubted_is_stored_before_its_halves_are_asked_for() -> None:
    effects = STORIES["a doubtful answer"].effects()
    first, second, _ = (at for at, effect in enumerate(effects) if effect == "provider.transcribe")
    assert effects[first + 1] == "objects.write"
    assert effects[first + 1 : second].count("objects.write") == 1
    assert effects.count("objects.write") == 7, "three answers, the verdict, refused and in place of one, text, JSON"


def _assert_settled(stage: Stage, story: Story) -> None:
    record = stage.record()
    assert record
    assert (record.state, record.reason and record.reason.kind) == (story.end, story.reason)
    assert record.announced_at
    assert _event_ids(stage.listeners.heard, stage.job) == {_event(record).attributes["ce-id"]}
    assert stage.sink.told[-1] == "ack"
    for seen in stage.sink.record_at_acks:
        assert seen
        assert seen.state.final, "acked before the outcome was recorded"
        assert seen.announced_at, "acked before the outcome was announced"
    if story.end is State.DONE:
        _assert_one_transcript(stage, record)
    elif story.end is State.DEAD:
        _assert_one_reason(stage, record)
    else:
        assert stage.output("error.json") is None


def _event_ids(heard: list[Record], job: Job) -> set[str]:
    return {_event(told).attributes["ce-id"] for told in heard if told.generation == job.generation}


def _assert_one_transcript(stage: Stage, record: Record) -> None:
    assert set(record.outputs) == {f"gs://{OUTBOX}/{NAME}.{ending}" for ending in ("json", "txt")}
    assert stage.output("error.json") is None
    json_found, txt_found = stage.output("json"), stage.output("txt")
    assert json_found
    assert txt_found
    (json_info, json_data), (txt_info, txt_data) = json_found, txt_found
    for info in (json_info, txt_info):
        assert info.metadata["source-bucket"] == INBOX
        assert info.metadata["source-generation"] == str(stage.job.generation)
        assert info.metadata["epoch"] == str(record.epoch)
        assert info.metadata["fingerprint"] == record.fingerprint
    document = json.loads(json_data)
    assert document["outputs"] == {f"{NAME}.txt": str(txt_info.generation)}
    assert document["source"]["generation"] == str(stage.job.generation)
    assert document["epoch"] == record.epoch
    assert document["text"] + "\n" == txt_data.decode()


def _assert_one_reason(stage: Stage, record: Record) -> None:
    assert stage.output("json") is None
    assert stage.output("txt") is None
    found = stage.output("error.json")
    assert found
    info, data = found
    assert info.metadata["epoch"] == str(record.epoch)
    assert record.reason
    assert json.loads(data)["reason"]["kind"] == record.reason.kind
