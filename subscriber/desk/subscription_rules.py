"""What a subscription's settings mean for us. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from subscriber.desk.facts import DeadLetterFacts, Finding, Level, SubscriptionFacts

__all__ = ["replay_findings", "subscription_findings"]

ADVISED_ACK_DEADLINE_SECONDS = 60
LEAST_DEAD_LETTER_ATTEMPTS = 50
"""A recording of 6 h restarted every 15 minutes takes 24 deliveries, and each duplicate counts as well."""

ADVISED_DEAD_LETTER_ATTEMPTS = 100
"""The most that Pub/Sub takes."""

LONGEST_RETENTION_SECONDS = 31 * 86_400
SUBJECT = "subscription"
AGENT = "serviceAccount:service-PROJECT_NUMBER@gcp-sa-pubsub.iam.gserviceaccount.com"


def subscription_findings(facts: SubscriptionFacts, *, max_event_age_seconds: float) -> Iterator[Finding]:
    """One line for each setting that matters."""
    yield _kind(facts)
    yield _ack_deadline(facts)
    yield _expiration(facts)
    yield _retention(facts, max_event_age_seconds)
    yield _retry_policy(facts)
    yield _filter(facts)
    yield _exactly_once(facts)
    if facts.dead_letter is None:
        yield _said(
            Level.WARN,
            "has no dead-letter policy: a message that no daemon can take comes for ever",
            _update(facts, "--dead-letter-topic=TOPIC --max-delivery-attempts=100"),
        )
    else:
        yield from _dead_letter(facts, facts.dead_letter)


def replay_findings(topic: str | None, sources: Mapping[str, str], *, may_publish: bool) -> Iterator[Finding]:
    """Whether what `replay` and `backfill` publish would arrive, and after the live uploads.

    `sources`: the topic of each subscription, in order of priority.
    """
    subject = "replay topic"
    if topic is None:
        yield Finding(
            Level.WARN, subject, "is not set: replay and backfill notify nobody", "SUBSCRIBER_REPLAY_TOPIC=TOPIC"
        )
        return
    if not may_publish:
        create = f"gcloud pubsub topics create {topic}"
        yield Finding(Level.FAIL, subject, f"{topic} does not exist or we must not publish to it", create)
    live, *others = sources.values()
    if topic in others:
        yield Finding(Level.OK, subject, f"what replay and backfill publish to {topic} is pulled after live uploads")
    elif topic == live:
        why = f"{topic} is also the live one: replays are pulled before uploads, and other readers see them"
        yield Finding(Level.WARN, subject, why, "SUBSCRIBER_REPLAY_TOPIC=ANOTHER_TOPIC")
    else:
        why = f"no subscription of SUBSCRIPTION pulls from {topic}: what is replayed never arrives"
        create = f"gcloud pubsub subscriptions create NAME --topic={topic} --ack-deadline=60 --expiration-period=never"
        yield Finding(Level.WARN, subject, f"{why}; name one second in SUBSCRIBER_SUBSCRIPTION", create)


def _kind(facts: SubscriptionFacts) -> Finding:
    if facts.push:
        return _said(Level.FAIL, "pushes; we pull", _update(facts, "--push-endpoint=''"))
    if facts.topic == "_deleted-topic_":
        return _said(Level.FAIL, "its topic was deleted: nothing will come", "create it anew on an existing topic")
    return _said(Level.OK, f"{facts.name} pulls from {facts.topic}")


def _ack_deadline(facts: SubscriptionFacts) -> Finding:
    seconds = facts.ack_deadline_seconds
    if seconds < ADVISED_ACK_DEADLINE_SECONDS:
        why = f"ack deadline {seconds} s: a pull that is slow to arrive may lapse; 60 is advised"
        return _said(Level.WARN, why, _update(facts, f"--ack-deadline={ADVISED_ACK_DEADLINE_SECONDS}"))
    if seconds > 2 * ADVISED_ACK_DEADLINE_SECONDS:
        why = f"ack deadline {seconds} s: what a cancelled pull took comes back only then; 60 is advised"
        return _said(Level.WARN, why, _update(facts, f"--ack-deadline={ADVISED_ACK_DEADLINE_SECONDS}"))
    return _said(Level.OK, f"ack deadline {seconds} s")


def _expiration(facts: SubscriptionFacts) -> Finding:
    after = facts.expires_after_seconds
    if after is None:
        return _said(Level.UNKNOWN, "nobody told whether it expires")
    if after:
        why = f"expires after {after / 86_400:.0f} days without a pull, with all its messages"
        return _said(Level.WARN, why, _update(facts, "--expiration-period=never"))
    return _said(Level.OK, "never expires")


def _retention(facts: SubscriptionFacts, max_event_age_seconds: float) -> Finding:
    days, remedy = facts.retention_seconds / 86_400, _update(facts, "--message-retention-duration=31d")
    if facts.retention_seconds <= max_event_age_seconds:
        why = f"keeps messages for {days:.1f} days, not longer than MAX_EVENT_AGE_SECONDS: they vanish without a record"
        return _said(Level.FAIL, why, remedy)
    if facts.retention_seconds < LONGEST_RETENTION_SECONDS:
        return _said(Level.WARN, f"keeps messages for {days:.1f} days; a longer outage loses files; 31 advised", remedy)
    return _said(Level.OK, f"keeps messages for {days:.0f} days")


def _retry_policy(facts: SubscriptionFacts) -> Finding:
    if facts.backoff_seconds is not None:
        why = f"adds its own backoff (from {facts.backoff_seconds:g} s) to ours, also when a pod hands its jobs over"
        return _said(Level.WARN, why, _update(facts, "--clear-retry-policy"))
    return _said(Level.OK, "redelivers at once")


def _filter(facts: SubscriptionFacts) -> Finding:
    if not facts.filter:
        return _said(Level.OK, "no filter: what is no finished upload is acked and counted as ignored")
    if "eventType" in facts.filter and "OBJECT_FINALIZE" not in facts.filter:
        why = f"its filter lets no OBJECT_FINALIZE pass: {facts.filter}"
        return _said(Level.FAIL, why, "a filter cannot be changed: create the subscription anew")
    return _said(Level.OK, f"filter {facts.filter}")


def _exactly_once(facts: SubscriptionFacts) -> Finding:
    if facts.exactly_once:
        why = "exactly-once delivery is on: it costs throughput, and the ledger does the job"
        return _said(Level.WARN, why, _update(facts, "--no-enable-exactly-once-delivery"))
    return _said(Level.OK, "exactly-once delivery is off")


def _dead_letter(facts: SubscriptionFacts, dead: DeadLetterFacts) -> Iterator[Finding]:
    count, remedy = dead.max_attempts, _update(facts, f"--dead-letter-topic={dead.topic} --max-delivery-attempts=100")
    if count < LEAST_DEAD_LETTER_ATTEMPTS:
        why = f"dead-letters after {count} deliveries: restarts and duplicates count, so live jobs would be lost"
        yield _said(Level.FAIL, why, remedy)
    elif count < ADVISED_DEAD_LETTER_ATTEMPTS:
        yield _said(Level.WARN, f"dead-letters after {count} deliveries; 100 advised", remedy)
    else:
        yield _said(Level.OK, f"dead-letters after {count} deliveries")
    yield _holding(dead)
    yield _grant(
        dead.agent_may_publish,
        f"publish to {dead.topic}",
        f"gcloud pubsub topics add-iam-policy-binding {dead.topic} --member={AGENT} --role=roles/pubsub.publisher",
    )
    yield _grant(
        dead.agent_may_acknowledge,
        f"acknowledge on {facts.name}",
        f"gcloud pubsub subscriptions add-iam-policy-binding {facts.name}"
        f" --member={AGENT} --role=roles/pubsub.subscriber",
    )


def _holding(dead: DeadLetterFacts) -> Finding:
    create = f"gcloud pubsub subscriptions create NAME --topic={dead.topic} --expiration-period=never"
    if dead.subscriptions is None:
        return _said(Level.UNKNOWN, f"nobody told whether {dead.topic} has a subscription", create)
    if not dead.subscriptions:
        return _said(Level.FAIL, f"{dead.topic} has no subscription: what is dead-lettered is lost", create)
    return _said(Level.OK, f"dead letters are held by {', '.join(dead.subscriptions)}")


def _grant(granted: bool | None, what: str, remedy: str) -> Finding:
    if granted is None:
        return _said(Level.UNKNOWN, f"nobody told whether Pub/Sub's service agent may {what}", remedy)
    if not granted:
        why = f"its policy does not let Pub/Sub's service agent {what}: unless the project's does, nothing goes there"
        return _said(Level.WARN, why, remedy)
    return _said(Level.OK, f"Pub/Sub's service agent may {what}")


def _said(level: Level, message: str, remedy: str = "") -> Finding:
    return Finding(level, SUBJECT, message, remedy)


def _update(facts: SubscriptionFacts, options: str) -> str:
    return f"gcloud pubsub subscriptions update {facts.name} {options}"
