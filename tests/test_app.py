"""What a daemon says when it starts, and what it does while it waits for its end."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from subscriber import app
from subscriber.app import Adapters, Daemon
from subscriber.audio import pool
from subscriber.compose import local_settings
from subscriber.metrics import Metrics
from subscriber.signals import Signals
from tests.audio.making import decoded
from tests.crash.lives import Stage, spoken
from tests.daemon import until
from tests.sound import wav


def test_a_check_that_fails_in_a_way_nobody_foresaw_is_an_outage_until_it_passes(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lambda _: spoken())
    failures = [ZeroDivisionError("of all things")]

    def check() -> None:
        if failures:
            raise failures.pop()

    settings = local_settings({}, "http://whisper.example.com/v1")
    adapters = Adapters(stage.sink, stage.ledger, stage.objects, stage.provider, stage.listeners, {"gcs": check})
    daemon = Daemon(settings, adapters, Metrics(settings.model), Signals())
    assert daemon._prepare()
    assert daemon.outages.paused == {"gcs": "unavailable: ZeroDivisionError: of all things"}
    daemon.outages.probe()
    assert not daemon.outages.paused


@pytest.mark.parametrize(("host", "warned"), [("api.openai.com", ["whisper-1"]), ("whisper.example.com", [])])
def test_a_model_with_a_known_last_day_is_warned_about(tmp_path: Path, host: str, warned: list[str]) -> None:
    stage = Stage(tmp_path, lambda _: spoken())
    settings = local_settings({"OPENAI_API_KEY": "sk-of-no-account"}, f"https://{host}/v1")
    adapters = Adapters(stage.sink, stage.ledger, stage.objects, stage.provider, stage.listeners, {})
    daemon = Daemon(settings, adapters, Metrics(settings.model), Signals())
    with capture_logs() as lines:
        assert daemon._prepare()
    warnings = [line for line in lines if line["log_level"] != "info"]
    assert [(line["event"], line["model"], line["log_level"]) for line in warnings] == [
        ("model_retires", model, "warning") for model in warned
    ]
    assert all("retires whisper-1 on 2027-02-26" in line["hint"] and "days" in line["hint"] for line in warnings)


def test_a_daemon_at_rest_keeps_no_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "KEPT_SECONDS", 0.01)
    stage, events = Stage(tmp_path, lambda _: spoken()), Signals()
    settings = local_settings({}, "http://provider/v1")
    adapters = Adapters(stage.sink, stage.ledger, stage.objects, stage.provider, None, {})
    daemon = Daemon(settings, adapters, Metrics(settings.model), events)
    with daemon.decoders:
        decoded(daemon.decoders, wav("one", 1.0))
        assert daemon.decoders._kept
        serving = threading.Thread(target=daemon.serve, kwargs={"web": False})
        serving.start()
        try:
            monkeypatch.setattr(pool, "KEPT_SECONDS", 0.0)
            until(lambda: not daemon.decoders._kept, "it is ended while the daemon has nothing to do")
            assert serving.is_alive()
        finally:
            events.put("finished")
            serving.join(30)
    assert not serving.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_daemon_whose_acks_no_longer_go_out_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, events = Stage(tmp_path, lambda _: spoken()), Signals()
    adapters = Adapters(stage.sink, stage.ledger, stage.objects, stage.provider, None, {})
    daemon = Daemon(stage.settings, adapters, Metrics(stage.settings.model), events)
    serving = threading.Thread(target=daemon.serve, kwargs={"web": False})
    serving.start()
    try:
        until(daemon.live, "it serves")
        monkeypatch.setattr(daemon.acks, "flush", sys.exit)
        daemon.acks.add([stage._delivery("an ack id")])
        until(lambda: not daemon.live(), "somebody notices")
        assert daemon.worker.alive()
        assert daemon.leases.alive()
    finally:
        events.put("finished")
        serving.join(30)
