"""What a backfill would take: estimates that are near the truth, from a sample of bounded size."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from subscriber.cli.forecast import forecast
from subscriber.desk.estimate import MOST_KINDS, MOST_PROBES, Means, Sample, Speed, assumed_speed, seen_speed
from subscriber.errors import Gone, Permanent, Transient
from subscriber.model import Attempt, ChunkCounts, ObjectInfo, Record, State
from tests.claims import CLAIMED, NOW

KINDS = {"audio/wav": 32_000, "audio/mpeg": 8_000, "audio/amr": 700}
"""Bytes a second."""


def recording(number: int, kind: str, size: int) -> ObjectInfo:
    return ObjectInfo("in", f"{number}", 1, size, kind)


def seconds_of(found: ObjectInfo) -> float | None:
    return found.size / KINDS[found.content_type]


def refusing(error: Exception) -> Callable[[ObjectInfo], float | None]:
    def probe(_: ObjectInfo) -> float | None:
        raise error

    return probe


def sampled(*found: ObjectInfo) -> Sample:
    sample = Sample()
    for one in found:
        sample.add(one)
    return sample


def test_of_few_objects_all_are_read_and_nothing_is_estimated() -> None:
    found = [recording(number, kind, 1000 + number) for number, kind in enumerate([*KINDS] * 20)]
    estimate = sampled(*found).estimate(seconds_of)
    assert (estimate.count, estimate.probed) == (60, 60)
    assert estimate.size == sum(one.size for one in found)
    assert estimate.seconds == pytest.approx(sum(seconds_of(one) or 0 for one in found))


@pytest.mark.parametrize("seed", range(5))
def test_of_many_a_few_hundred_headers_give_the_hours(seed: int) -> None:
    """Sizes over four decades, three kinds, and bit rates that vary by a factor of three."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    truth: dict[str, float] = {}

    def made(number: int) -> ObjectInfo:
        kind = chance.choice([*KINDS])
        found = recording(number, kind, round(10 ** chance.uniform(3, 7)))
        truth[found.name] = found.size / KINDS[kind] * chance.uniform(0.5, 1.5)
        return found

    sample = sampled(*(made(number) for number in range(20_000)))
    estimate = sample.estimate(lambda found: truth[found.name])
    assert estimate.probed == MOST_PROBES
    assert estimate.seconds == pytest.approx(sum(truth.values()), rel=0.25)


def test_the_longest_recording_is_always_looked_at() -> None:
    small = [recording(number, "audio/wav", 10_000) for number in range(5000)]
    probed = set[str]()

    def probe(found: ObjectInfo) -> float:
        probed.add(found.name)
        return 1.0

    sampled(*small[:2500], recording(9999, "audio/wav", 10**9), *small[2500:]).estimate(probe)
    assert "9999" in probed


def test_a_small_kind_gets_its_share_and_a_large_one_what_it_leaves() -> None:
    probed: list[str] = []

    def probe(found: ObjectInfo) -> float | None:
        probed.append(found.content_type)
        return 1.0

    found = [recording(number, "audio/wav", 1000) for number in range(5000)]
    sampled(*found, *(recording(number, "audio/amr", 10) for number in range(7))).estimate(probe)
    assert (probed.count("audio/amr"), probed.count("audio/wav")) == (7, MOST_PROBES - 7)


def test_names_of_types_are_strangers_and_cannot_fill_the_memory() -> None:
    sample = sampled(*(recording(number, f"audio/{number}", 100) for number in range(1000)))
    assert len(sample._kinds) == MOST_KINDS
    assert sum(len(kind.first) for kind in sample._kinds.values()) <= MOST_KINDS * MOST_PROBES
    assert sample.estimate(lambda _: 1.0).seconds == pytest.approx(1000)


def test_nothing_is_guessed_where_no_header_tells() -> None:
    estimate = sampled(recording(1, "audio/wav", 100)).estimate(lambda _: None)
    assert (estimate.seconds, estimate.probed, estimate.untold) == (None, 1, 1)
    assert sampled().estimate(seconds_of).seconds == 0
    assert sampled(recording(1, "audio/wav", 0)).estimate(seconds_of).seconds == 0


def test_a_kind_that_does_not_tell_is_taken_for_the_others() -> None:
    sample = sampled(recording(1, "audio/wav", 32_000), recording(2, "audio/webm", 32_000))
    told = sample.estimate(lambda found: 1.0 if found.content_type == "audio/wav" else None)
    assert (told.seconds, told.untold) == (2.0, 1)


def test_what_cannot_be_transcribed_costs_nothing_and_is_counted() -> None:
    bad = sampled(*(recording(number, "audio/wav", 100) for number in range(300)))
    estimate = bad.estimate(refusing(Permanent("undecodable", "no container")))
    assert (estimate.seconds, estimate.unreadable) == (0.0, {"undecodable": MOST_PROBES})


@pytest.mark.parametrize("error", [Gone("deleted"), Transient("storage_error", "500")])
def test_what_cannot_be_read_now_is_not_told(error: Exception) -> None:
    assert sampled(recording(1, "audio/wav", 100)).estimate(refusing(error)).untold == 1


def done(begin: float, end: float, seconds: float, *, attempts: int = 1, paid: int = 1) -> Record:
    return replace(
        CLAIMED,
        state=State.DONE,
        created_at=NOW + timedelta(seconds=begin),
        completed_at=NOW + timedelta(seconds=end),
        audio_seconds=seconds,
        chunks=ChunkCounts(paid, 0, 0),
        history=tuple(Attempt(epoch, "done", "", "", NOW) for epoch in range(attempts)),
    )


def test_the_speed_is_that_of_the_time_in_which_there_was_work() -> None:
    speed = seen_speed([done(0, 10, 300), done(5, 15, 300), done(1000, 1005, 400), done(1001, 1002, 0)])
    assert speed
    assert speed.ratio == pytest.approx(1000 / 20)
    assert "newest 3 jobs" in speed.source


def test_jobs_that_waited_or_cost_nothing_tell_no_speed() -> None:
    assert seen_speed([done(0, 9000, 300, attempts=2), done(0, 1, 300, paid=0), replace(CLAIMED)]) is None
    assert seen_speed([]) is None


MEANS = Means(seconds_of, "whisper-1", 0.006, slots=8, chunk_seconds=30)


def test_every_figure_says_what_it_is_made_of() -> None:
    estimate = sampled(*(recording(number, "audio/wav", 32_000 * 3600) for number in range(1000))).estimate(seconds_of)
    told = "\n".join(forecast(estimate, MEANS, assumed_speed(MEANS), 60))
    assert "115.2 GB" in told
    assert "1,000.0 h; the headers of 200 objects were read, the other 800 are reckoned by their bytes" in told
    assert "$360.00, at $0.006 a minute (whisper-1)" in told
    assert "12 h, at 80 s of sound a second (assumed: 8 slots, and 3 s for 30 s of sound)" in told
    assert "17 min, at --rate 60" in told


def test_what_nobody_knows_is_unknown() -> None:
    untold = sampled(recording(1, "audio/webm", 100)).estimate(lambda _: None)
    assert "unknown" in "\n".join(forecast(untold, MEANS, Speed(80, "seen"), 60))
    known = sampled(recording(1, "audio/wav", 100)).estimate(lambda _: 1.0)
    priceless = "\n".join(forecast(known, replace(MEANS, usd_per_minute=None), Speed(80, "seen"), 60))
    assert "SUBSCRIBER_PRICE_USD_PER_MINUTE is not set" in priceless
