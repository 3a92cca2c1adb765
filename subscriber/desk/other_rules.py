"""What else `check` judges: the ledger's administration, clocks, models. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from subscriber.desk.facts import Finding, LedgerFacts, Level
from subscriber.queries import every_index
from subscriber.transcribe.profiles import profile_of

__all__ = ["clock_finding", "ledger_findings", "model_findings", "retirement_findings"]

TTL_FIELD = "expires_at"
UNINDEXED = ("expires_at", "progress", "renewed_at")
"""They change with every claim or grow with time: a collection takes 500 writes a second on such an indexed field."""

SKEW_WARN = timedelta(seconds=10)
SKEW_FAIL = timedelta(minutes=5)
"""From there on Google refuses our credentials' signatures."""

RETIRES_SOON = timedelta(days=90)


def ledger_findings(facts: LedgerFacts, database: str, collection: str) -> Iterator[Finding]:
    """TTL policy, exempt fields, composite indexes."""
    where = f"--database='{database}' --collection-group={collection}"
    if TTL_FIELD in facts.ttl_fields:
        yield _said(Level.OK, f"records expire by {TTL_FIELD}")
    else:
        remedy = f"gcloud firestore fields ttls update {TTL_FIELD} {where} --enable-ttl"
        yield _said(Level.WARN, f"no TTL policy on {TTL_FIELD}: records stay for ever", remedy)
    for field in UNINDEXED:
        if field not in facts.unindexed:
            remedy = f"gcloud firestore indexes fields update {field} {where} --disable-indexes"
            yield _said(Level.WARN, f"{field} is indexed: that bounds the collection to 500 writes a second", remedy)
    if missing := sorted(every_index() - facts.indexes):
        for index in missing:
            fields = " ".join(f"--field-config=field-path={field},order={order}" for field, order in index)
            why = f"no index on {', '.join(field for field, _ in index)}: `jobs` and `explain` need it"
            yield _said(Level.FAIL, why, f"gcloud firestore indexes composite create {where} {fields}")
    else:
        yield _said(Level.OK, f"has the {len(every_index())} composite indexes that `jobs` and `explain` need")


def clock_finding(skew: timedelta) -> Finding:
    """How far this machine's clock is from Firestore's."""
    seconds, remedy = skew.total_seconds(), "timedatectl set-ntp true"
    if abs(skew) > SKEW_FAIL:
        return Finding(Level.FAIL, "clock", f"{seconds:+.0f} s off: Google will refuse our credentials", remedy)
    if abs(skew) > SKEW_WARN:
        return Finding(Level.WARN, "clock", f"{seconds:+.0f} s off: logs and ages mislead, claims do not", remedy)
    return Finding(Level.OK, "clock", f"{seconds:+.1f} s from Firestore's")


def model_findings(models: Sequence[str], served: frozenset[str], host: str) -> Iterator[Finding]:
    """Whether the provider lists the models that we ask for. A compatible server need not list them."""
    strict = host == "api.openai.com"
    for number, model in enumerate(models):
        if model in served:
            yield Finding(Level.OK, "provider", f"serves {model}")
        else:
            level = Level.FAIL if strict and number == 0 else Level.WARN
            remedy = f"SUBSCRIBER_MODEL={next((one for one in models if one in served), 'A_MODEL')}"
            yield Finding(level, "provider", f"{host} does not list {model}", remedy)


def retirement_findings(models: Sequence[str], today: date) -> Iterator[Finding]:
    """Which models will be shut down, and when."""
    for number, model in enumerate(models):
        if not (retires := profile_of(model).retires):
            continue
        left, later = retires - today, models[number + 1 :]
        then = f"then {later[0]} is taken" if later else "and no other is named"
        level = Level.OK if left > RETIRES_SOON or (later and left > timedelta()) else Level.WARN
        if left <= timedelta() and not later:
            level = Level.FAIL
        verb = "retires" if left > timedelta() else "has retired"
        yield Finding(
            level, "provider", f"{model} {verb} on {retires}; {then}", "" if level is Level.OK else _other(models)
        )


def _other(models: Sequence[str]) -> str:
    return f"SUBSCRIBER_MODEL={','.join([*models[1:], 'ANOTHER_MODEL'][:2])}"


def _said(level: Level, message: str, remedy: str = "") -> Finding:
    return Finding(level, "ledger", message, remedy)
