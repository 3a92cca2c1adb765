"""Each finding of `check`: the setting that makes it, the level, and that gcloud takes the command that mends it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from subscriber.desk.bucket_rules import (
    echo_findings,
    notification_findings,
    output_findings,
    place_finding,
    source_findings,
)
from subscriber.desk.facts import (
    BucketFacts,
    DeadLetterFacts,
    Finding,
    LedgerFacts,
    Level,
    LifecycleRule,
    Notification,
    SubscriptionFacts,
)
from subscriber.desk.other_rules import (
    SKEW_FAIL,
    SKEW_WARN,
    clock_finding,
    ledger_findings,
    model_findings,
    retirement_findings,
)
from subscriber.desk.subscription_rules import replay_findings, subscription_findings
from subscriber.outputs import OutputLocation
from subscriber.queries import every_index
from subscriber.transcribe.profiles import OPENAI_RETIREMENT

TOPIC = "projects/p/topics/uploads"
DEAD = DeadLetterFacts("projects/p/topics/dead", 100, ("projects/p/subscriptions/held",), True, True)
GOOD = SubscriptionFacts(
    name="projects/p/subscriptions/s",
    topic=TOPIC,
    ack_deadline_seconds=60,
    expires_after_seconds=0.0,
    retention_seconds=31 * 86_400.0,
    backoff_seconds=None,
    filter='attributes.eventType="OBJECT_FINALIZE"',
    exactly_once=False,
    push=False,
    dead_letter=DEAD,
)
BUCKET = BucketFacts("out", False, 0, False, (LifecycleRule("Delete", 7, ("texts/.chunks/",)),))
FINALIZES = Notification("1", TOPIC, ("OBJECT_FINALIZE",), "")
OURS = OutputLocation.parse("gs://out/texts")
LEDGER = LedgerFacts(
    frozenset({"expires_at"}), frozenset({"expires_at", "progress", "renewed_at"}), frozenset(every_index())
)

SUBSCRIPTION: list[tuple[dict[str, Any], Level, str]] = [
    ({"push": True}, Level.FAIL, "pushes"),
    ({"topic": "_deleted-topic_"}, Level.FAIL, "topic was deleted"),
    ({"ack_deadline_seconds": 10}, Level.WARN, "ack deadline 10 s"),
    ({"ack_deadline_seconds": 600}, Level.WARN, "ack deadline 600 s"),
    ({"expires_after_seconds": 2_678_400.0}, Level.WARN, "expires after 31 days"),
    ({"expires_after_seconds": None}, Level.UNKNOWN, "whether it expires"),
    ({"retention_seconds": 7 * 86_400.0}, Level.FAIL, "7.0 days, not longer than MAX_EVENT_AGE_SECONDS"),
    ({"retention_seconds": 20 * 86_400.0}, Level.WARN, "20.0 days"),
    ({"backoff_seconds": 10.0}, Level.WARN, "its own backoff"),
    ({"filter": 'attributes.eventType="OBJECT_DELETE"'}, Level.FAIL, "no OBJECT_FINALIZE"),
    ({"exactly_once": True}, Level.WARN, "exactly-once delivery is on"),
    ({"dead_letter": None}, Level.WARN, "no dead-letter policy"),
    ({"dead_letter": replace(DEAD, max_attempts=49)}, Level.FAIL, "after 49 deliveries"),
    ({"dead_letter": replace(DEAD, max_attempts=50)}, Level.WARN, "after 50 deliveries"),
    ({"dead_letter": replace(DEAD, subscriptions=())}, Level.FAIL, "what is dead-lettered is lost"),
    ({"dead_letter": replace(DEAD, subscriptions=None)}, Level.UNKNOWN, "has a subscription"),
    ({"dead_letter": replace(DEAD, agent_may_publish=None)}, Level.UNKNOWN, "may publish"),
    ({"dead_letter": replace(DEAD, agent_may_publish=False)}, Level.WARN, "publish to"),
    ({"dead_letter": replace(DEAD, agent_may_acknowledge=False)}, Level.WARN, "acknowledge on"),
    ({"dead_letter": replace(DEAD, agent_may_acknowledge=None)}, Level.UNKNOWN, "may acknowledge"),
]

NOTIFICATIONS: list[tuple[list[Notification], OutputLocation, Level, str]] = [
    ([], OURS, Level.FAIL, "none goes to"),
    ([replace(FINALIZES, topic="projects/p/topics/other")], OURS, Level.FAIL, "none goes to"),
    ([replace(FINALIZES, event_types=("OBJECT_DELETE",))], OURS, Level.FAIL, "do not tell of OBJECT_FINALIZE"),
    ([replace(FINALIZES, event_types=())], OURS, Level.WARN, "sends every event"),
    ([FINALIZES, replace(FINALIZES, id="2")], OURS, Level.WARN, "configs 1 and 2 both tell"),
    ([FINALIZES, replace(FINALIZES, id="2", prefix="calls/")], OURS, Level.WARN, "configs 1 and 2 both tell"),
    ([FINALIZES], OutputLocation.parse("gs://in/texts"), Level.WARN, "covers our OUTPUT"),
    ([replace(FINALIZES, prefix="texts/a")], OutputLocation.parse("gs://in/texts"), Level.WARN, "covers our OUTPUT"),
]

OUTPUT: list[tuple[dict[str, Any], Level, str]] = [
    ({"requester_pays": True}, Level.FAIL, "USER_PROJECT is not set"),
    ({"retention_seconds": 60}, Level.FAIL, "keeps every object for 60 s"),
    ({"default_hold": True}, Level.FAIL, "holds every new object"),
    ({"lifecycle": ()}, Level.WARN, "no lifecycle rule deletes old chunks"),
    ({"lifecycle": (LifecycleRule("Delete", 30, ()),)}, Level.WARN, "deletes more than"),
    ({"lifecycle": (LifecycleRule("SetStorageClass", 30, ()),)}, Level.WARN, "no lifecycle rule deletes"),
]


def subscription(facts: SubscriptionFacts) -> list[Finding]:
    return list(subscription_findings(facts, max_event_age_seconds=14 * 86_400))


def output(facts: BucketFacts) -> list[Finding]:
    return list(output_findings(facts, "texts/.chunks/", None))


def ledger(facts: LedgerFacts) -> list[Finding]:
    return list(ledger_findings(facts, "(default)", "transcriptions"))


def require(found: Iterable[Finding], level: Level, said: str) -> None:
    """One such finding; all of another level than ok say how to mend it, and the others are ok."""
    found = list(found)
    (one,) = [finding for finding in found if said in finding.message]
    assert one.level is level
    assert all(finding.remedy for finding in found if finding.level in {Level.WARN, Level.FAIL})


def test_what_is_set_up_well_is_ok_throughout() -> None:
    found = [*subscription(GOOD), *output(BUCKET), *ledger(LEDGER), *source_findings(BUCKET, None)]
    found += [*notification_findings("in", [FINALIZES], TOPIC, OURS), place_finding(OURS, ["in"])]
    found += [*model_findings(["a"], frozenset({"a"}), "h"), clock_finding(timedelta(seconds=1))]
    assert {finding.level for finding in found} == {Level.OK}


REPLAYS = [
    (TOPIC, {"live": "other", "second": TOPIC}, True, Level.OK, "is pulled after live uploads"),
    (TOPIC, {"live": "other", "second": TOPIC}, False, Level.FAIL, "does not exist or we must not publish"),
    (TOPIC, {"live": TOPIC}, True, Level.WARN, "is also the live one"),
    (TOPIC, {"live": "other"}, True, Level.WARN, "never arrives"),
    (None, {"live": "other"}, True, Level.WARN, "is not set"),
]


@pytest.mark.parametrize(("topic", "sources", "may_publish", "level", "said"), REPLAYS)
def test_each_way_that_replays_go(
    topic: str | None, sources: dict[str, str], may_publish: bool, level: Level, said: str
) -> None:
    require(replay_findings(topic, sources, may_publish=may_publish), level, said)


@pytest.mark.parametrize(("change", "level", "said"), SUBSCRIPTION)
def test_each_setting_of_a_subscription(change: dict[str, Any], level: Level, said: str) -> None:
    require(subscription(replace(GOOD, **change)), level, said)


@pytest.mark.parametrize(("found", "location", "level", "said"), NOTIFICATIONS)
def test_each_way_that_notifications_go(
    found: list[Notification], location: OutputLocation, level: Level, said: str
) -> None:
    require(notification_findings("in", found, TOPIC, location), level, said)


def test_notifications_for_separate_prefixes_are_fine() -> None:
    found = [replace(FINALIZES, prefix="a/"), replace(FINALIZES, id="2", prefix="b/")]
    told = notification_findings("in", found, TOPIC, OutputLocation.parse("gs://in/texts"))
    assert {finding.level for finding in told} == {Level.OK}


def test_an_output_that_covers_the_recordings_bucket_fails() -> None:
    whole = OutputLocation.parse("gs://in")
    assert place_finding(whole, ["in"]).level is Level.FAIL
    assert place_finding(whole, ["other"]).level is Level.OK
    assert place_finding(whole, []).level is Level.UNKNOWN, "before the first record nobody knows"
    assert place_finding(OURS, []).level is Level.OK


def test_notifications_of_the_outputs_bucket_that_tell_us_of_outputs_are_found() -> None:
    """Also where recordings come to another bucket."""
    (echo,) = echo_findings([FINALIZES], TOPIC, OURS)
    assert (echo.level, echo.message) == (
        Level.WARN,
        "config 1 covers our OUTPUT: each output costs a message that we ignore",
    )
    for harmless in (replace(FINALIZES, topic="projects/p/topics/other"), replace(FINALIZES, prefix="calls/")):
        assert not list(echo_findings([harmless], TOPIC, OURS))


@pytest.mark.parametrize(("change", "level", "said"), OUTPUT)
def test_each_setting_of_the_output_bucket(change: dict[str, Any], level: Level, said: str) -> None:
    require(output(replace(BUCKET, **change)), level, said)


def test_requesters_may_pay_where_a_project_is_named() -> None:
    assert [one.level for one in source_findings(replace(BUCKET, requester_pays=True), "p")] == [Level.OK]


def test_each_part_of_the_ledgers_administration() -> None:
    require(ledger(replace(LEDGER, ttl_fields=frozenset())), Level.WARN, "no TTL policy")
    require(
        ledger(replace(LEDGER, unindexed=frozenset({"expires_at", "progress"}))), Level.WARN, "renewed_at is indexed"
    )
    missing = replace(LEDGER, indexes=frozenset(every_index() - {(("bucket", "ascending"), ("name", "ascending"))}))
    require(ledger(missing), Level.FAIL, "no index on bucket, name")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_is_well_within_seconds(sign: int) -> None:
    assert clock_finding(sign * SKEW_WARN).level is Level.OK
    assert clock_finding(sign * (SKEW_WARN + timedelta(seconds=1))).level is Level.WARN
    assert clock_finding(sign * (SKEW_FAIL + timedelta(seconds=1))).level is Level.FAIL


def test_a_first_model_that_openai_does_not_list_fails_and_elsewhere_it_is_a_warning() -> None:
    listed = frozenset({"b"})
    assert [one.level for one in model_findings(["a", "b"], listed, "api.openai.com")] == [Level.FAIL, Level.OK]
    assert [one.level for one in model_findings(["b", "a"], listed, "api.openai.com")] == [Level.OK, Level.WARN]
    assert [one.level for one in model_findings(["a"], listed, "whisper.example")] == [Level.WARN]


@pytest.mark.parametrize(
    ("models", "today", "level"),
    [
        (["whisper-1"], date(2026, 11, 1), Level.OK),
        (["whisper-1"], OPENAI_RETIREMENT - timedelta(days=30), Level.WARN),
        (["whisper-1", "gpt-transcribe"], OPENAI_RETIREMENT - timedelta(days=30), Level.OK),
        (["whisper-1", "gpt-transcribe"], OPENAI_RETIREMENT, Level.WARN),
        (["whisper-1"], OPENAI_RETIREMENT, Level.FAIL),
    ],
)
def test_a_model_that_is_about_to_retire_is_a_matter_of_whether_another_is_named(
    models: list[str], today: date, level: Level
) -> None:
    (finding,) = retirement_findings(models, today)
    assert finding.level is level
    assert str(OPENAI_RETIREMENT) in finding.message


def remedies() -> list[str]:
    found = [one for change, _, _ in SUBSCRIPTION for one in subscription(replace(GOOD, **change))]
    found += [one for change, _, _ in OUTPUT for one in output(replace(BUCKET, **change))]
    found += [one for some, where, _, _ in NOTIFICATIONS for one in notification_findings("in", some, TOPIC, where)]
    found += [one for topic, sources, may, _, _ in REPLAYS for one in replay_findings(topic, sources, may_publish=may)]
    found += ledger(LedgerFacts(frozenset(), frozenset(), frozenset()))
    commands = [part for one in found for part in re.split(r" (?:&&|\|) ", one.remedy) if part.startswith("gcloud")]
    return sorted(set(commands))


def test_gcloud_takes_every_command_that_mends_something(tmp_path: Path) -> None:
    if not shutil.which("gcloud"):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no gcloud")
    commands = remedies()
    assert len(commands) > 20
    file = tmp_path / "commands.json"
    file.write_text(json.dumps([{"command_string": command} for command in commands]))
    lint = ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"]
    told = json.loads(subprocess.run(lint, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert {one["command_string"]: one["error_message"] for one in told} == dict.fromkeys(commands)
