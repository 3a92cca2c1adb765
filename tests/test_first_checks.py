"""The first checks of a daemon's neighbours are under way at the same time, and each is asked for once."""

from __future__ import annotations

from threading import Barrier

import pytest

from subscriber.adapters.firestore import FirestoreLedger
from subscriber.adapters.gcs import GcsObjects
from subscriber.adapters.openai_api import OpenAITranscriber
from subscriber.adapters.pubsub import PubSubAnnouncer, PubSubSource
from subscriber.compose import cloud_adapters
from subscriber.config import Settings
from subscriber.errors import ConfigError
from subscriber.first_checks import begun
from subscriber.metrics import Metrics

PATIENCE_SECONDS = 30.0
NOBODY = "127.0.0.1:9"
ENVIRON = {
    "SUBSCRIBER_SUBSCRIPTION": "projects/project/subscriptions/subscription",
    "SUBSCRIBER_OUTPUT": "gs://output",
    "SUBSCRIBER_RESULT_TOPIC": "projects/project/topics/results",
    "OPENAI_BASE_URL": f"http://{NOBODY}/v1",
    "PUBSUB_EMULATOR_HOST": NOBODY,
    "FIRESTORE_EMULATOR_HOST": NOBODY,
    "STORAGE_EMULATOR_HOST": f"http://{NOBODY}",
}
CHECKS = (
    (PubSubSource, "check"),
    (FirestoreLedger, "check"),
    (GcsObjects, "check_output"),
    (OpenAITranscriber, "check"),
    (PubSubAnnouncer, "check"),
)


def test_every_neighbour_is_checked_while_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(len(CHECKS))
    for adapter, check in CHECKS:
        monkeypatch.setattr(adapter, check, lambda *_: together.wait(PATIENCE_SECONDS))
    settings = Settings.from_environ(ENVIRON)
    with cloud_adapters(settings, Metrics(settings.model)) as adapters:
        assert len(adapters.checks) == len(CHECKS)
        for answer in adapters.checks.values():
            answer()  # one alone would wait for the others in vain


def test_the_check_that_was_begun_is_the_first_answer_and_every_later_one_is_new() -> None:
    made: list[str] = []
    check = begun(lambda: made.append("a check"))
    check()
    assert made == ["a check"]
    check()
    assert made == ["a check"] * 2


def test_what_the_first_check_found_is_told_when_it_is_asked_for_and_once() -> None:
    findings = [ConfigError("SUBSCRIBER_OUTPUT", "does not exist", "make it")]

    def failing_once() -> None:
        if findings:
            raise findings.pop()

    check = begun(failing_once)
    with pytest.raises(ConfigError, match="does not exist"):
        check()
    check()
