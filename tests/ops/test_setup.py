"""k8s/setup: what it makes, that it makes it once, and what it takes away again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from subscriber.config import Settings
from subscriber.queries import every_index
from tests.ops.gcloud import BUCKETS, GcloudStub, changes
from tests.ops.manifests import KUBERNETES, ROOT, TOOLS

SETUP, TEARDOWN = "setup-gcp.sh", "teardown-gcp.sh"
PRINCIPAL = (
    "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/"
    "my-project.svc.id.goog/subject/ns/subscriber/sa/subscriber"
)
ACCOUNT = "serviceAccount:subscriber@my-project.iam.gserviceaccount.com"
AGENT = "serviceAccount:service-123456789012@"


@pytest.fixture
def gcloud(tmp_path: Path) -> GcloudStub:
    return GcloudStub(tmp_path)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> GcloudStub:
    gcloud = GcloudStub(tmp_path_factory.mktemp("project"))
    _, ran = gcloud.run(SETUP, *BUCKETS)
    assert ran.returncode == 0, ran.stderr
    return gcloud


@pytest.fixture
def made(gcloud: GcloudStub, made_once: GcloudStub) -> GcloudStub:
    """A project that was set up."""
    gcloud.like(made_once)
    return gcloud


def rights_of(gcloud: GcloudStub, member: str) -> set[tuple[str, str]]:
    """Everything that a member may do: on what, and which role."""
    return {
        (name, line.split(",")[0])
        for name, thing in gcloud.state.items()
        if isinstance(thing, dict)
        for line in thing["policy"]
        if line.split(",")[1].startswith(member)
    }


def test_everything_that_the_daemon_needs_is_made(made: GcloudStub) -> None:
    assert {name for name, thing in made.state.items() if isinstance(thing, dict)} == {
        "projects my-project",
        "storage buckets gs://recordings-of-ours",
        "storage buckets gs://transcripts",
        *(
            f"pubsub topics {one}"
            for one in ("recordings", "recordings-dead", "subscriber-replay", "subscriber-results")
        ),
        *(f"pubsub subscriptions {one}" for one in ("subscriber", "subscriber-replay", "recordings-dead-hold")),
        "firestore databases (default)",
        "secrets subscriber-openai",
    }
    assert len(made.state["notifications"]) == 1
    assert [one.rpartition("/")[2] for one in made.state["ttls"]] == ["expires_at"]
    assert set(made.state["exempt"]) == {"expires_at", "renewed_at", "progress"}


def test_every_index_that_the_commands_ask_by_is_made(made: GcloudStub) -> None:
    fields = [one["fields"][:-1] for one in made.state["indexes"]]
    assert {tuple((one["fieldPath"], one["order"].lower()) for one in index) for index in fields} == every_index()
    assert all("/collectionGroups/transcriptions/" in one["name"] for one in made.state["indexes"])


def test_an_index_of_another_collection_is_not_ours_and_a_missing_one_is_made(made: GcloudStub) -> None:
    first, *others = made.state["indexes"]
    elsewhere = {**first, "name": first["name"].replace("transcriptions", "transcriptions-budget")}
    made.give(indexes=[*others, {**elsewhere, "fields": first["fields"][:1]}])
    lines, ran = made.run(SETUP, *BUCKETS)
    assert ran.returncode == 0, ran.stderr
    (change,) = changes(lines)
    assert change.startswith("firestore indexes composite create --collection-group=transcriptions")


def test_the_workload_may_do_what_it_needs_and_each_on_one_thing_only(made: GcloudStub) -> None:
    assert rights_of(made, PRINCIPAL) == {
        *((f"pubsub subscriptions {one}", "roles/pubsub.subscriber") for one in ("subscriber", "subscriber-replay")),
        *((f"pubsub subscriptions {one}", "roles/pubsub.viewer") for one in ("subscriber", "subscriber-replay")),
        *((f"pubsub topics {one}", "roles/pubsub.publisher") for one in ("subscriber-replay", "subscriber-results")),
        ("storage buckets gs://recordings-of-ours", "roles/storage.objectViewer"),
        ("storage buckets gs://transcripts", "roles/storage.objectUser"),
        ("secrets subscriber-openai", "roles/secretmanager.secretAccessor"),
        ("projects my-project", "roles/datastore.user"),
    }


def test_the_one_right_on_the_project_is_for_one_database_of_it(made: GcloudStub) -> None:
    [grant] = [line for line in made.lines() if "add-iam-policy-binding" in line and "projects" in line]
    [condition] = [one for one in grant if one.startswith("--condition")]
    assert 'resource.name=="projects/my-project/databases/(default)"' in condition


def test_the_service_agents_may_publish_and_dead_letter(made: GcloudStub) -> None:
    assert rights_of(made, f"{AGENT}gs-project-accounts") == {("pubsub topics recordings", "roles/pubsub.publisher")}
    assert rights_of(made, f"{AGENT}gcp-sa-pubsub") == {
        ("pubsub topics recordings-dead", "roles/pubsub.publisher"),
        ("pubsub subscriptions subscriber", "roles/pubsub.subscriber"),
        ("pubsub subscriptions subscriber-replay", "roles/pubsub.subscriber"),
    }


def test_a_subscription_keeps_what_it_has_and_gives_up_late(made: GcloudStub) -> None:
    [line] = [line for line in made.lines() if line[:4] == ["pubsub", "subscriptions", "create", "subscriber"]]
    assert {
        "--ack-deadline=60",
        "--expiration-period=never",
        "--message-retention-duration=31d",
        "--max-delivery-attempts=100",
        "--dead-letter-topic=recordings-dead",
        '--message-filter=attributes.eventType="OBJECT_FINALIZE"',
    } <= set(line)
    assert not [flag for flag in line if "retry" in flag]


def test_what_is_replayed_is_kept_as_long_as_what_is_live_and_not_filtered(made: GcloudStub) -> None:
    created = {line[3]: set(line[4:]) for line in made.lines() if line[:3] == ["pubsub", "subscriptions", "create"]}
    live, replay = created["subscriber"], created["subscriber-replay"]
    assert live - replay == {"--topic=recordings", '--message-filter=attributes.eventType="OBJECT_FINALIZE"'}
    assert replay - live == {"--topic=subscriber-replay"}


def test_paid_chunks_are_deleted_after_a_week_and_nothing_else_is(made: GcloudStub) -> None:
    assert made.state["storage buckets gs://transcripts"]["lifecycle"].strip() == (
        '{"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": [".chunks/"]}}]}'
    )
    assert "lifecycle" not in made.state["storage buckets gs://recordings-of-ours"]


def test_a_second_run_changes_nothing(made: GcloudStub) -> None:
    lines, ran = made.run(SETUP, *BUCKETS)
    assert ran.returncode == 0, ran.stderr
    assert lines
    assert changes(lines) == []


def test_a_dry_run_changes_nothing_and_says_what_a_run_would_do(gcloud: GcloudStub) -> None:
    lines, ran = gcloud.run(SETUP, *BUCKETS, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert changes(lines) == []
    would = [line for line in ran.stdout.splitlines() if line.startswith("+ gcloud")]
    done, real = gcloud.run(SETUP, *BUCKETS)
    did = [line for line in real.stdout.splitlines() if line.startswith("+ gcloud")]
    without_names = [re.sub(r"lifecycle-file=\S+", "", line) for line in would]
    assert without_names == [re.sub(r"lifecycle-file=\S+", "", line) for line in did]
    assert len(changes(done)) == len(did)


def test_a_run_that_broke_off_is_finished_by_the_next(made: GcloudStub) -> None:
    made.lose("secrets subscriber-openai", "notifications")
    lines, ran = made.run(SETUP, *BUCKETS)
    assert ran.returncode == 0, ran.stderr
    assert len(changes(lines)) == 3  # the secret, the right to read it, the notification


def test_the_notification_is_looked_for_before_it_is_made(made: GcloudStub) -> None:
    asked = [" ".join(line[3:4]) for line in made.lines() if "notifications" in line]
    assert asked == ["list", "create"]


def test_a_notification_of_somebody_elses_topic_is_not_ours(gcloud: GcloudStub) -> None:
    gcloud.give(notifications=[{"id": "1", "topic": "//pubsub.googleapis.com/projects/my-project/topics/recordings-2"}])
    gcloud.run(SETUP, *BUCKETS)
    assert len(gcloud.state["notifications"]) == 2


def test_lifecycle_rules_of_somebody_else_are_left_alone(gcloud: GcloudStub) -> None:
    theirs = '{"lifecycle_config": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 400}}]}}'
    gcloud.give(**{"storage buckets gs://transcripts": {"policy": [], "lifecycle": theirs}})
    _, ran = gcloud.run(SETUP, *BUCKETS)
    assert gcloud.state["storage buckets gs://transcripts"]["lifecycle"] == theirs
    assert "left to do: gs://transcripts has lifecycle rules of its own" in ran.stdout


def test_what_is_left_to_do_and_what_to_set_is_said(made: GcloudStub) -> None:
    _, ran = made.run(SETUP, *BUCKETS)
    assert "left to do: the provider's key: gcloud secrets versions add subscriber-openai" in ran.stdout
    said = dict(line.split("=", 1) for line in ran.stdout.partition("settings:\n")[2].splitlines())
    settings = Settings.from_environ({**said, "OPENAI_BASE_URL": "http://whisper.internal/v1"})
    assert settings.subscription == tuple(
        f"projects/my-project/subscriptions/{one}" for one in ("subscriber", "subscriber-replay")
    )


def test_cloud_run_gets_an_account_of_its_own_and_may_write_metrics(gcloud: GcloudStub) -> None:
    gcloud.run(SETUP, *BUCKETS, "--cloud-run")
    assert "iam service-accounts subscriber" in gcloud.state
    assert ("projects my-project", "roles/monitoring.metricWriter") in rights_of(gcloud, ACCOUNT)
    assert not rights_of(gcloud, PRINCIPAL)


def test_on_gke_no_service_account_is_made(made: GcloudStub) -> None:
    assert not [line for line in made.lines() if "service-accounts" in line]


@pytest.mark.parametrize(
    "options",
    [
        ("--bucket=one", "--output=one"),
        ("--bucket=one", "--output=one/transcripts"),
        ("--bucket=one", "--output=one/in/transcripts", "--prefix=in/"),
    ],
)
def test_an_output_below_what_is_watched_is_refused_before_anything_is_made(
    gcloud: GcloudStub, options: tuple[str, ...]
) -> None:
    lines, ran = gcloud.run(SETUP, *BUCKETS[:2], *options)
    assert ran.returncode == 2
    assert "lies below what is watched" in ran.stderr
    assert lines == []


def test_one_bucket_will_do_where_the_watched_prefix_leaves_the_output_out(gcloud: GcloudStub) -> None:
    _, ran = gcloud.run(SETUP, *BUCKETS[:2], "--bucket=one", "--output=one/out", "--prefix=in/")
    assert ran.returncode == 0, ran.stderr
    assert '"out/.chunks/"' in gcloud.state["storage buckets gs://one"]["lifecycle"]


@pytest.mark.parametrize("options", [(), ("--project=p",), (*BUCKETS, "--dryrun")])
def test_a_missing_or_unknown_option_is_bad_usage(gcloud: GcloudStub, options: tuple[str, ...]) -> None:
    lines, ran = gcloud.run(SETUP, *options)
    assert ran.returncode == 2
    assert ran.stderr.startswith("setup-gcp.sh: ")
    assert lines == []


def test_a_teardown_that_is_not_confirmed_deletes_nothing_that_holds_data(made: GcloudStub) -> None:
    lines, ran = made.run(TEARDOWN, *BUCKETS, typed="no\n\nYES\n")
    assert ran.returncode == 0, ran.stderr
    deleted = [line for line in changes(lines) if "remove-iam" not in line]
    assert deleted == [
        "storage buckets notifications delete projects/_/buckets/recordings-of-ours/notificationConfigs/1"
    ]


def test_a_confirmed_teardown_leaves_the_recordings_the_transcripts_and_the_database(made: GcloudStub) -> None:
    made.give(chunks={"policy": []})
    _, ran = made.run(TEARDOWN, *BUCKETS, "--yes")
    assert ran.returncode == 0, ran.stderr
    left = {name for name, thing in made.state.items() if isinstance(thing, dict)}
    assert left == {
        "projects my-project",
        "storage buckets gs://recordings-of-ours",
        "storage buckets gs://transcripts",
        "firestore databases (default)",
    }
    assert not rights_of(made, PRINCIPAL)
    assert made.state["notifications"] == []


def test_a_dry_teardown_asks_nothing_and_changes_nothing(made: GcloudStub) -> None:
    lines, ran = made.run(TEARDOWN, *BUCKETS, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert changes(lines) == []
    assert "+ gcloud pubsub subscriptions delete subscriber " in ran.stdout


def test_every_shell_script_of_the_project_is_clean() -> None:
    below = [one for folder in ("k8s", "tests", "tools") for one in (ROOT / folder).rglob("*.sh")]
    scripts = [ROOT / ".ci" / "run", *below]
    assert KUBERNETES / "setup" / SETUP in scripts
    checked = subprocess.run(
        [TOOLS / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
