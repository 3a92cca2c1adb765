"""/api/status and the page: what the running daemon tells of itself."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from subscriber.status_fields import Status
from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import chunks, said, wav

SCHEMA = Status.model_json_schema(mode="serialization")


def status(daemon: Daemon) -> dict[str, Any]:
    code, body = daemon.get("/api/status")
    assert code == 200
    told: dict[str, Any] = json.loads(body)
    return told


def test_the_status_tells_of_each_job_in_work_how_far_it_is(scene: Scene) -> None:
    long = wav("long", 35)
    daemon = scene.start(chunk_seconds=10, whisper_concurrency=1, language="en")
    daemon.ready()
    idle = status(daemon)
    jsonschema.validate(idle, SCHEMA)
    assert (idle["state"], idle["health"]["level"], idle["jobs"]) == ("pulling", "well", [])
    scene.control.fault("hang", sha256=chunks(long, 10)[1])
    generation = scene.world.upload("long.wav", long)
    until(lambda: any(job["done_seconds"] for job in status(daemon)["jobs"]), "its first chunk is done")
    at_work = status(daemon)
    jsonschema.validate(at_work, SCHEMA)
    (job,) = at_work["jobs"]
    assert (job["job"], job["generation"]) == (f"gs://{scene.world.bucket}/long.wav", str(generation))
    assert (job["attempt"], job["stage"]) == (1, "transcribe")
    assert 5 <= job["done_seconds"] <= 10 < job["total_seconds"] == 35


def test_the_status_counts_as_the_metrics_do(scene: Scene) -> None:
    daemon = scene.start(price_usd_per_minute=0.006, language="en")
    daemon.ready()
    words = wav("one", 20)
    scene.world.upload("one.wav", words)
    scene.world.upload("no.wav", b"RIFF and no more")
    daemon.counts(1, "jobs_total", result="done")
    daemon.counts(1, "jobs_total", result="dead")
    until(lambda: not status(daemon)["work"]["in_flight"], "all are at rest")
    told = status(daemon)
    jsonschema.validate(told, SCHEMA)
    assert (sum(told["hour"]["done"]), sum(told["hour"]["dead"]), sum(told["hour"]["failed"])) == (1, 1, 0)
    assert told["money"]["today_usd"] == sum(told["hour"]["cost_usd"]) == daemon.metrics("cost_usd_total") > 0
    (finished,), (failed,) = told["finished"], told["failed"]
    assert (finished["outcome"], finished["audio_seconds"]) == ("transcribed", 20)
    assert (failed["outcome"], failed["reason"]) == ("rejected", "undecodable")
    assert said(words) not in json.dumps(told)


def test_the_status_can_be_turned_off_because_names_may_be_personal(scene: Scene) -> None:
    daemon = scene.start(status_page="off")
    daemon.ready()
    assert [daemon.get(path)[0] for path in ("/api/status", "/")] == [404, 404]
