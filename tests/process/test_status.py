"""/api/status: how far each job in work is, from the running daemon."""

from __future__ import annotations

import json
from typing import Any

from tests.daemon import Daemon, until
from tests.process.scenes import Scene
from tests.sound import chunks, wav


def status(daemon: Daemon) -> dict[str, Any]:
    code, body = daemon.get("/api/status")
    assert code == 200
    told: dict[str, Any] = json.loads(body)
    return told


def test_the_status_tells_of_each_job_in_work_how_far_it_is(scene: Scene) -> None:
    long = wav("long", 35)
    daemon = scene.start(chunk_seconds=10, whisper_concurrency=1, language="en")
    daemon.ready()
    assert status(daemon) == {"state": "pulling", "jobs": []}
    scene.control.fault("hang", sha256=chunks(long, 10)[1])
    generation = scene.world.upload("long.wav", long)
    until(lambda: any(job["done_seconds"] for job in status(daemon)["jobs"]), "its first chunk is done")
    (job,) = status(daemon)["jobs"]
    assert (job["job"], job["generation"]) == (f"gs://{scene.world.bucket}/long.wav", str(generation))
    assert job["attempt"] == 1
    assert 5 <= job["done_seconds"] <= 10 < job["total_seconds"] == 35


def test_the_status_can_be_turned_off_because_names_may_be_personal(scene: Scene) -> None:
    daemon = scene.start(status_page="off")
    daemon.ready()
    assert daemon.get("/api/status")[0] == 404
