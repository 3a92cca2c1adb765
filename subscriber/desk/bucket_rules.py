"""What the settings of the two buckets mean for us. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from subscriber.desk.facts import BucketFacts, Finding, Level, Notification
from subscriber.outputs import OutputLocation

__all__ = ["echo_findings", "notification_findings", "output_findings", "place_finding", "source_findings"]

FINALIZE = "OBJECT_FINALIZE"


def notification_findings(
    bucket: str, found: Sequence[Notification], topic: str, location: OutputLocation
) -> Iterator[Finding]:
    """Whether uploads reach the subscription's topic, once each, and our own outputs do not."""
    subject = f"notifications of gs://{bucket}"
    ours = [one for one in found if one.topic == topic]
    finalizing = [one for one in ours if not one.event_types or FINALIZE in one.event_types]
    create = f"gcloud storage buckets notifications create gs://{bucket} --topic={topic} --event-types={FINALIZE}"
    if not finalizing:
        why = f"those to {topic} do not tell of {FINALIZE}" if ours else f"none goes to {topic}: nothing will come"
        yield Finding(Level.FAIL, subject, why, create)
        return
    yield Finding(Level.OK, subject, f"{FINALIZE} goes to {topic}")
    for one in ours:
        if set(one.event_types) != {FINALIZE}:
            told = ", ".join(one.event_types) or "every event"
            yield Finding(
                Level.WARN,
                subject,
                f"config {one.id} sends {told}; we ignore all but {FINALIZE}",
                f"{_delete(bucket, one)} && {create}",
            )
    for first, second in _overlapping(finalizing):
        why = f"configs {first.id} and {second.id} both tell of the same uploads: every event comes twice"
        yield Finding(Level.WARN, subject, why, _delete(bucket, second))
    if bucket == location.bucket:
        yield from echo_findings(finalizing, topic, location)


def echo_findings(found: Sequence[Notification], topic: str, location: OutputLocation) -> Iterator[Finding]:
    """Whether the notifications of OUTPUT's bucket tell us of our own outputs."""
    for one in found:
        if one.topic != topic or location.covers_whole_bucket or not _overlap(one.prefix, location.static_prefix):
            continue
        why = f"config {one.id} covers our OUTPUT: each output costs a message that we ignore"
        remedy = "narrow it by --object-prefix, or move OUTPUT to its own bucket"
        yield Finding(Level.WARN, f"notifications of gs://{location.bucket}", why, remedy)


def place_finding(location: OutputLocation, sources: Sequence[str]) -> Finding:
    """Whether OUTPUT can be told from the recordings."""
    if location.covers_whole_bucket and location.bucket in sources:
        why = f"OUTPUT covers all of gs://{location.bucket}, from which notifications come: the daemon will pause"
        return Finding(Level.FAIL, "output", why, f"SUBSCRIBER_OUTPUT=gs://{location.bucket}/transcripts")
    if location.covers_whole_bucket and not sources:
        why = f"OUTPUT covers all of gs://{location.bucket}: whether recordings come there too nobody told"
        return Finding(Level.UNKNOWN, "output", why, "subscriber check --bucket=BUCKET")
    return Finding(Level.OK, "output", f"{location.text} can be told from the recordings")


def source_findings(facts: BucketFacts, user_project: str | None) -> Iterator[Finding]:
    """What else matters of a bucket that we read."""
    yield _requester_pays(facts, f"gs://{facts.name}", user_project)


def output_findings(facts: BucketFacts, chunk_prefix: str, user_project: str | None) -> Iterator[Finding]:
    """Whether outputs can be replaced there, and how long what is there stays."""
    yield _requester_pays(facts, "output", user_project)
    name = f"gs://{facts.name}"
    if facts.retention_seconds:
        why = f"{name} keeps every object for {facts.retention_seconds} s: outputs cannot be replaced before"
        yield Finding(Level.FAIL, "output", why, f"gcloud storage buckets update {name} --clear-retention-period")
    if facts.default_hold:
        why = f"{name} holds every new object: outputs cannot be replaced"
        yield Finding(Level.FAIL, "output", why, f"gcloud storage buckets update {name} --no-default-event-based-hold")
    if not facts.retention_seconds and not facts.default_hold:
        yield Finding(Level.OK, "output", "neither retention nor hold forbids replacing")
    yield from _lifecycle(facts, chunk_prefix)


def _lifecycle(facts: BucketFacts, chunk_prefix: str) -> Iterator[Finding]:
    deleting = [rule for rule in facts.lifecycle if rule.action == "Delete"]
    if any(not rule.prefixes or any(not one.startswith(chunk_prefix) for one in rule.prefixes) for rule in deleting):
        why = f"a lifecycle rule of gs://{facts.name} deletes more than {chunk_prefix}: perhaps transcripts"
        yield Finding(Level.WARN, "output", why, f"gcloud storage buckets describe gs://{facts.name}")
    if any(one.startswith(chunk_prefix) for rule in deleting for one in rule.prefixes):
        yield Finding(Level.OK, "output", f"a lifecycle rule deletes old chunks below {chunk_prefix}")
        return
    rule = f'{{"rule":[{{"action":{{"type":"Delete"}},"condition":{{"age":7,"matchesPrefix":["{chunk_prefix}"]}}}}]}}'
    why = f"no lifecycle rule deletes old chunks below {chunk_prefix}: they stay for ever"
    remedy = f"echo '{rule}' | gcloud storage buckets update gs://{facts.name} --lifecycle-file=/dev/stdin"
    yield Finding(Level.WARN, "output", why, remedy)


def _requester_pays(facts: BucketFacts, subject: str, user_project: str | None) -> Finding:
    if facts.requester_pays and not user_project:
        why = f"gs://{facts.name} lets requesters pay, and USER_PROJECT is not set"
        return Finding(Level.FAIL, subject, why, "SUBSCRIBER_USER_PROJECT=PROJECT")
    paid = f"requesters pay: {user_project}" if facts.requester_pays else "its owner pays for requests"
    return Finding(Level.OK, subject, paid)


def _overlapping(found: Sequence[Notification]) -> Iterator[tuple[Notification, Notification]]:
    for number, first in enumerate(found):
        for second in found[number + 1 :]:
            if _overlap(first.prefix, second.prefix):
                yield first, second


def _overlap(first: str, second: str) -> bool:
    return first.startswith(second) or second.startswith(first)


def _delete(bucket: str, one: Notification) -> str:
    return f"gcloud storage buckets notifications delete projects/_/buckets/{bucket}/notificationConfigs/{one.id}"
