"""What the races stand on: contenders that do the work, a stub that counts, figures that are computed rightly."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest

from bench import scaling
from bench.contenders import CONTENDERS, DAEMON
from bench.figures import exponent, ideal_seconds, percentile
from bench.race import Load, Run, compared, run
from bench.recordings import short_recording
from bench.scaling import COST, SPEED, Point
from bench.stub import Stub
from bench.track import Track, track
from bench.wire import wire
from subscriber.audio.cut import cut
from subscriber.audio.pool import DecoderPool
from subscriber.emulators import EmulatorsMissing
from tests.audio.making import decoded

JOBS = 6


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_ideal_is_whole_rounds_of_the_slots() -> None:
    assert ideal_seconds(320, 8, 0.2) == pytest.approx(8.0)
    assert ideal_seconds(9, 8, 2.0) == 4.0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_an_exponent_is_found_again(power: float) -> None:
    sizes = [1.0, 3.0, 10.0, 100.0]
    assert exponent(sizes, [5 * size**power for size in sizes]) == pytest.approx(power)


@pytest.mark.parametrize(("sizes", "figures"), [([], []), ([1.0, 2.0], [0.0, 1.0]), ([4.0, 4.0], [1.0, 2.0])])
def test_no_exponent_is_made_up(sizes: list[float], figures: list[float]) -> None:
    with pytest.raises(ValueError, match=r"logarithms|exponent"):
        exponent(sizes, figures)


def one_run(contender: str, seconds: float, done: int = 10) -> Run:
    return Run(
        contender=contender,
        jobs=10,
        done=done,
        seconds=seconds,
        ideal_seconds=1.0,
        cpu_ms=5.0,
        servers_cpu_ms={"Firestore": 6.0},
        rss=100.0,
        pss=80.0,
        waits=(0.5, seconds),
        requests=11,
        paid_twice=1,
        most_in_flight=8,
    )


def test_the_comparison_has_a_line_a_contender_and_tells_of_unfinished_runs() -> None:
    told = str(compared("a race", [one_run("ours", 2.0), one_run("theirs", 4.0, done=9), one_run("ours", 1.0)]))
    title, _, _, _, ours, theirs = told.splitlines()
    assert title == "a race"
    assert ours.startswith("| ours ")
    assert "| 7.5 (5.0 to 10.0) | 0.75 (0.50 to 1.00) |" in ours
    assert theirs.startswith("| theirs (9 of 10 done) |")


def test_a_size_whose_run_did_not_end_has_no_figures() -> None:
    points = [Point(8, 3.9, 20.0, 150.4, limit=4.0), Point(2560, 9.0, 20.0, 150.0, limit=1280.0, finished=False)]
    title, _, head, _, few, many = str(scaling.compared("speed", "slots", points, {**SPEED, **COST})).splitlines()
    assert title == "speed; not done in time: 2,560"
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "slots",
        "jobs/s",
        "of the limit",
        "CPU ms a job",
        "PSS MB",
    ]
    assert [cell.strip() for cell in few.split("|")[1:-1]] == ["8", "3.90", "0.97", "20.0", "150"]
    assert [cell.strip() for cell in many.split("|")[1:-1]] == ["2,560", "", "", "", ""]


def test_short_recordings_are_all_different_and_none_is_silent() -> None:
    with DecoderPool() as pool:
        heard = [decoded(pool, short_recording(number))[0] for number in (0, 1, 100, 200)]
    assert len(set(heard)) == 4
    for pcm in heard:
        (chunk,) = cut([pcm])
        assert not chunk.silent


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub() as running:
        yield running


def test_the_stub_counts_requests_and_those_that_come_twice(stub: Stub) -> None:
    stub.restart(0.0)
    client = openai.OpenAI(base_url=f"{stub.url}/v1", api_key="none")
    said = [
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", short_recording(number))).text
        for number in (1, 2, 1)
    ]
    assert said[0] == said[2] != said[1]
    counts = stub.counts()
    assert (counts.received, counts.answered, counts.distinct, counts.paid_twice) == (3, 3, 2, 1)
    stub.restart(0.0)
    assert stub.counts().received == 0


def test_the_stub_takes_a_request_in_pieces_and_several_on_one_connection(stub: Stub) -> None:
    stub.restart(0.0)
    body = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nsound\r\n--x--\r\n'
    connection = http.client.HTTPConnection(urlsplit(stub.url).netloc, timeout=30)
    for _ in range(2):
        connection.putrequest("POST", "/v1/audio/transcriptions")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        for at in range(0, len(body), 40):
            connection.send(body[at : at + 40])
        assert json.loads(connection.getresponse().read())["text"].startswith("speech")
    connection.close()
    assert stub.counts().paid_twice == 1


@pytest.fixture(scope="module")
def place() -> Iterator[Track]:
    try:
        with track() as running:
            yield running
    except EmulatorsMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def load(place: Track) -> Load:
    inbox, sounds = place.upload(short_recording(number) for number in range(JOBS))
    return Load(2, 0.0, inbox, sounds)


@pytest.mark.parametrize("contender", CONTENDERS)
def test_every_contender_transcribes_every_object_and_pays_once(contender: str, place: Track, load: Load) -> None:
    done = run(place, CONTENDERS[contender], load)
    assert (done.done, done.requests, done.paid_twice) == (JOBS, JOBS, 0)
    assert 1 <= done.most_in_flight <= 2
    assert done.cpu_ms > 0
    assert done.servers_cpu_ms.keys() == {"Pub/Sub", "Firestore", "Storage", "Whisper"}
    assert sum(done.servers_cpu_ms.values()) > 0
    assert 0 < done.pss <= done.rss


def test_only_transcripts_count_as_written(place: Track, load: Load) -> None:
    first = load.sounds[0].name
    with place.lane(load.inbox, load.slots) as lane:
        for name in (f"{first}.json", f"{first}.error.json", f"{first}.txt", f".chunks/{first}.json"):
            place.storage.bucket(lane.outbox).blob(name).upload_from_string("{}")
        assert lane.written(load.sounds, ".json").keys() == {first}


def test_the_wire_names_the_calls_of_a_job_and_sees_its_ack(place: Track, load: Load) -> None:
    for contender in (DAEMON, CONTENDERS["streaming"]):
        with wire(place.servers) as (servers, seen):
            behind = Load(load.slots, 0.0, load.inbox, load.sounds, servers)
            assert run(place, contender, behind, ready=seen.reset).done == JOBS
        assert seen.calls["Storage.read object"] == JOBS
        assert len(seen.ack_waits) == JOBS
        assert seen.calls["documents written"] == (2 * JOBS if contender is DAEMON else 0)
