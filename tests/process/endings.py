"""How a recording ends in a daemon that several tests share, seen from outside: log, ledger, outputs, metrics.

Such a daemon keeps its outputs below `texts/`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from tests.daemon import Daemon
from tests.process.scenes import Scene

__all__ = ["TEXTS", "dies", "is_dead", "is_done", "lives", "told"]

TEXTS = "texts"


def lives(scene: Scene, daemon: Daemon, name: str, data: bytes, **how: str) -> Any:
    """Upload, and see it done at the first attempt; what NAME.json says."""
    generation = scene.world.upload(name, data, **how)
    line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["attempt"]) == ("transcribed", 1), line["raw"]
    return is_done(scene, name, generation)


def is_done(scene: Scene, name: str, generation: int) -> Any:
    """Ledger and outputs agree that it is; what NAME.json says."""
    record, outputs = scene.record(name, generation), scene.outputs(f"{TEXTS}/{name}")
    assert (record["state"], record["reason"]) == ("done", None)
    listed = {uri.removeprefix(f"{scene.world.output}/{TEXTS}/{name}.") for uri in record["outputs"]}
    assert outputs.keys() == listed >= {"json", "txt"}
    document = json.loads(outputs["json"].data)
    assert document["source"]["generation"] == str(generation)
    assert document["duration"] == round(record["audio_seconds"], 3)
    for timed in (*document["segments"], *document["words"]):
        assert 0 <= timed["start"] <= timed["end"] <= document["duration"]
    for warning in document["warnings"]:  # what is missing lies behind the end
        assert 0 <= warning["start"] <= warning["end"]
    return document


def dies(scene: Scene, daemon: Daemon, name: str, data: bytes, *reasons: str, **how: str) -> dict[str, str]:
    """Upload, and see it dead at once for one of these reasons, and acked, and nothing paid; what was told of it."""
    asked, acked = scene.requests(), daemon.metrics("settlements_total", kind="ack", result="ok")
    generation = scene.world.upload(name, data, **how)
    line = daemon.says("attempt", generation=str(generation))
    assert (line["outcome"], line["attempt"]) == ("rejected", 1), line["raw"]
    reason = is_dead(scene, name, generation, reasons)
    assert line["reason"] == reason["kind"]
    assert daemon.metrics("jobs_total", result="dead", reason=reason["kind"]) >= 1
    daemon.counts(acked + 1, "settlements_total", kind="ack", result="ok")
    assert scene.requests() == asked
    return reason


def is_dead(scene: Scene, name: str, generation: int, reasons: Collection[str]) -> dict[str, str]:
    """Ledger and NAME.error.json agree that it is, and why, and there is no transcript; the ledger's reason."""
    record = scene.record(name, generation)
    reason: dict[str, str] = record["reason"]
    assert record["state"] == "dead"
    assert reason["kind"] in reasons
    if reason["kind"] == "output_name_too_long":  # as an error file's would be
        assert not scene.outputs(f"{TEXTS}/{name}")
        return reason
    assert scene.outputs(f"{TEXTS}/{name}").keys() == {"error.json"}
    assert {field: told(scene, name)[field] for field in ("kind", "message")} == {
        field: reason[field] for field in ("kind", "message")
    }
    return reason


def told(scene: Scene, name: str) -> dict[str, str]:
    """What NAME.error.json gives as the reason."""
    found: dict[str, str] = json.loads(scene.outputs(f"{TEXTS}/{name}")["error.json"].data)["reason"]
    return found
