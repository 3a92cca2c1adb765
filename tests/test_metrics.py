import itertools

from prometheus_client.parser import text_string_to_metric_families

from subscriber.errors import IGNORED, PAUSES, VERDICTS
from subscriber.metrics import RPC_CODES, Metrics, RecentMax, catalogue
from subscriber.model import Outcome

NAMES = [
    "subscriber_deliveries_total",
    "subscriber_jobs_total",
    "subscriber_ignored_total",
    "subscriber_settlements_total",
    "subscriber_rpc_errors_total",
    "subscriber_delivery_attempt_max",
    "subscriber_claims_total",
    "subscriber_jobs_in_flight",
    "subscriber_jobs_parked",
    "subscriber_jobs_limit",
    "subscriber_job_seconds",
    "subscriber_stage_seconds",
    "subscriber_delivery_age_seconds",
    "subscriber_end_to_end_seconds",
    "subscriber_lease_renewals_total",
    "subscriber_lease_staleness_seconds",
    "subscriber_whisper_requests_total",
    "subscriber_whisper_request_seconds",
    "subscriber_model_gone",
    "subscriber_whisper_in_flight",
    "subscriber_whisper_slots",
    "subscriber_audio_seconds_total",
    "subscriber_billed_seconds_total",
    "subscriber_possibly_billed_seconds_total",
    "subscriber_chunks_total",
    "subscriber_cost_usd_total",
    "subscriber_budget_remaining_usd",
    "subscriber_provider_paused",
    "subscriber_last_success_timestamp_seconds",
    "subscriber_draining",
    "subscriber_build_info",
]

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(metrics: Metrics) -> dict[Sample, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def sample(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def test_the_names_are_those_that_operators_were_promised() -> None:
    assert [metric.name for metric in catalogue()] == NAMES


def test_every_metric_says_what_it_means() -> None:
    assert all(metric.help.endswith(".") for metric in catalogue())


def test_an_attribute_is_the_name_without_prefix_and_suffix() -> None:
    metrics = Metrics()
    for name in NAMES:
        assert hasattr(metrics, name.removeprefix("subscriber_").removesuffix("_total"))


def test_every_label_value_is_there_at_zero_from_the_start() -> None:
    there = samples(Metrics(["whisper-1", "gpt-transcribe"]))
    models = ("whisper-1", "gpt-transcribe")
    expected = [
        *(sample("subscriber_deliveries_total", outcome=outcome) for outcome in Outcome),
        *(sample("subscriber_ignored_total", reason=reason) for reason in IGNORED),
        *(sample("subscriber_jobs_total", result="dead", reason=reason) for reason in VERDICTS),
        sample("subscriber_jobs_total", result="done", reason=""),
        sample("subscriber_jobs_total", result="gone", reason="gone"),
        sample("subscriber_jobs_total", result="superseded", reason="superseded"),
        sample("subscriber_jobs_total", result="skipped", reason="skipped"),
        *(
            sample("subscriber_settlements_total", kind=kind, result=result)
            for kind, result in itertools.product(("ack", "defer"), ("ok", "error"))
        ),
        *(
            sample("subscriber_rpc_errors_total", adapter=adapter, code=code)
            for adapter, code in itertools.product(("firestore", "gcs", "pubsub", "whisper"), RPC_CODES)
        ),
        *(
            sample("subscriber_claims_total", result=result)
            for result in ("granted", "taken_over", "duplicate", "busy", "early", "dead")
        ),
        *(
            sample("subscriber_stage_seconds_count", stage=stage)
            for stage in ("claim", "transcribe", "write", "complete", "settle")
        ),
        *(
            sample("subscriber_lease_renewals_total", kind=kind, result=result)
            for kind, result in itertools.product(("ack", "claim"), ("ok", "error"))
        ),
        sample("subscriber_lease_renewals_total", kind="ack", result="refused"),
        sample("subscriber_lease_renewals_total", kind="claim", result="lost"),
        *(sample("subscriber_lease_staleness_seconds", kind=kind) for kind in ("ack", "claim")),
        *(
            sample("subscriber_whisper_requests_total", model=model, result=result)
            for model, result in itertools.product(models, ("ok", "rejected", "failed", "rate_limited", "down"))
        ),
        *(sample("subscriber_model_gone", model=model) for model in models),
        *(sample("subscriber_whisper_request_seconds_count", model=model) for model in models),
        *(
            sample(f"subscriber_{name}_total", model=model)
            for name, model in itertools.product(("billed_seconds", "possibly_billed_seconds", "cost_usd"), models)
        ),
        *(sample("subscriber_chunks_total", source=source) for source in ("paid", "cache", "silent")),
        *(sample("subscriber_provider_paused", reason=reason) for reason in PAUSES),
    ]
    assert [one for one in expected if there.get(one) != 0.0] == []
    labelled = {
        one for one in there if one[1] and one[0].startswith("subscriber_") and not one[0].endswith(("_bucket", "_sum"))
    }
    assert {one[0] for one in labelled - set(expected)} == {"subscriber_build_info"}


def test_no_histogram_has_more_than_twelve_buckets_and_those_of_jobs_reach_six_hours() -> None:
    buckets = [one for one in samples(Metrics(["m"])) if one[0].endswith("_bucket")]
    series = [(name, frozenset(pair for pair in labels if pair[0] != "le")) for name, labels in buckets]
    assert max(map(series.count, series)) == 12
    assert sample("subscriber_job_seconds_bucket", le="21600.0") in buckets


def test_what_remains_of_the_budget_is_shown_only_where_there_is_one() -> None:
    metrics = Metrics()
    assert b"budget_remaining" not in metrics.render()
    metrics.show_budget().set(3.5)
    assert samples(metrics)[sample("subscriber_budget_remaining_usd")] == 3.5


def test_timestamps_start_at_the_start() -> None:
    there = samples(Metrics())
    assert there[sample("subscriber_last_success_timestamp_seconds")] > there[sample("process_start_time_seconds")]


def test_no_series_has_a_creation_time_beside_it() -> None:
    assert b"_created" not in Metrics(["m"]).render()


def test_staleness_is_asked_at_every_scrape() -> None:
    metrics, ages = Metrics(), iter([3.0, 4.0])
    metrics.watch_staleness("ack", lambda: next(ages))
    assert samples(metrics)[sample("subscriber_lease_staleness_seconds", kind="ack")] == 3.0
    assert samples(metrics)[sample("subscriber_lease_staleness_seconds", kind="ack")] == 4.0


def test_the_highest_delivery_attempt_is_shown() -> None:
    metrics = Metrics()
    for attempt in (2, 7, 1):
        metrics.see_delivery_attempt(attempt)
    assert samples(metrics)[sample("subscriber_delivery_attempt_max")] == 7.0


def test_a_high_attempt_is_forgotten_within_two_windows_so_that_its_alert_clears() -> None:
    now = 0.0
    recent = RecentMax(600, clock=lambda: now)
    recent.see(9)
    now = 1199.0
    recent.see(2)
    assert recent.value() == 9
    now = 1200.0
    assert recent.value() == 2
    now = 5000.0
    assert recent.value() == 0


def test_two_daemons_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.draining.set(1)
    assert samples(other)[sample("subscriber_draining")] == 0.0
