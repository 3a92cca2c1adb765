"""What Cloud Run is asked for: a service, or a worker pool."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from tests.ops.manifests import KUBERNETES, ROOT, Manifest, Workload

RUN_MONITORING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.googleapis.com/v1beta"},
        "kind": {"const": "RunMonitoring"},
        "metadata": {"type": "object", "additionalProperties": False, "properties": {"name": {"type": "string"}}},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["endpoints"],
            "properties": {
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["port", "interval"],
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                            "timeout": {"type": "string", "pattern": "^[0-9]+s$"},
                        },
                    },
                },
                "targetLabels": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "metadata": {
                            "type": "array",
                            "items": {"enum": ["instance", "revision", "service", "configuration"]},
                        }
                    },
                },
            },
        },
    },
}


@pytest.fixture(params=["service", "worker_pool"])
def on_cloud_run(request: pytest.FixtureRequest) -> Workload:
    found: Workload = request.getfixturevalue(request.param)
    return found


def annotated(metadata: Manifest) -> dict[str, str]:
    found: dict[str, str] = metadata["metadata"]["annotations"]
    return found


def test_every_field_is_one_that_cloud_run_has(on_cloud_run: Workload) -> None:
    schema = json.loads((ROOT / "tests/ops/cloud_run.schema.json").read_text(encoding="utf-8"))
    [document] = on_cloud_run.documents
    jsonschema.validate(document, {**schema, "$ref": f"#/definitions/{document['kind']}"})


def test_the_file_says_in_which_region_it_runs(on_cloud_run: Workload) -> None:
    """The command that replaces a worker pool takes no --region; both files answer for themselves."""
    [document] = on_cloud_run.documents
    assert document["metadata"]["labels"] == {"cloud.googleapis.com/location": "REGION"}


def test_secrets_are_mounted_in_a_version_that_does_not_move(on_cloud_run: Workload) -> None:
    for volume in on_cloud_run.revision["volumes"]:
        for item in volume["secret"]["items"]:
            assert item["key"].isdigit(), volume["name"]


def test_a_service_has_a_processor_also_when_nobody_calls_it(service: Workload) -> None:
    [document] = service.documents
    assert annotated(document["spec"]["template"])["run.googleapis.com/cpu-throttling"] == "false"


def test_a_service_has_a_fixed_number_of_instances(service: Workload) -> None:
    [document] = service.documents
    scale = annotated(document["spec"]["template"])
    least, most = scale["autoscaling.knative.dev/minScale"], scale["autoscaling.knative.dev/maxScale"]
    assert int(least) == int(most) >= 1


def test_a_service_cannot_be_called_from_outside(service: Workload) -> None:
    [document] = service.documents
    assert annotated(document)["run.googleapis.com/ingress"] == "internal"
    assert annotated(document)["run.googleapis.com/default-url-disabled"] == "true"


def test_a_service_sends_what_traffic_there_is_to_the_newest_revision(service: Workload) -> None:
    [document] = service.documents
    assert document["apiVersion"] == "serving.knative.dev/v1"
    assert document["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_one_container_of_a_service_has_the_port(service: Workload) -> None:
    """Cloud Run takes the container with a port for the one that serves."""
    assert [one["name"] for one in service.revision["containers"] if "ports" in one] == ["subscriber"]
    assert service.daemon["ports"] == [{"containerPort": 8080}]
    assert "PORT" not in service.environ  # reserved: Cloud Run sets it and refuses a revision that does


def test_the_metrics_sidecar_starts_after_the_daemon(service: Workload) -> None:
    [document] = service.documents
    order = annotated(document["spec"]["template"])["run.googleapis.com/container-dependencies"]
    assert json.loads(order) == {"metrics": ["subscriber"]}
    assert {one["name"] for one in service.revision["containers"]} == {"metrics", "subscriber"}


def test_the_metrics_sidecar_finds_its_configuration_where_it_looks(service: Workload) -> None:
    [sidecar] = [one for one in service.revision["containers"] if one["name"] == "metrics"]
    [mount] = sidecar["volumeMounts"]
    [volume] = [one for one in service.revision["volumes"] if one["name"] == mount["name"]]
    [item] = volume["secret"]["items"]
    assert f"{mount['mountPath']}/{item['path']}" == "/etc/rungmp/config.yaml"


def test_the_metrics_sidecar_understands_its_configuration(service: Workload) -> None:
    config = yaml.safe_load((KUBERNETES / "cloud-run/run-monitoring.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(config, RUN_MONITORING)
    [endpoint] = config["spec"]["endpoints"]
    assert int(endpoint["port"]) == service.daemon["ports"][0]["containerPort"]
    assert endpoint["path"] == "/metrics"


def test_a_worker_pool_has_no_port_and_nothing_that_counts_requests(worker_pool: Workload) -> None:
    assert "containerConcurrency" not in worker_pool.revision
    for container in worker_pool.revision["containers"]:
        assert "ports" not in container


def test_the_collector_scrapes_the_daemon_and_tells_its_instances_apart(worker_pool: Workload) -> None:
    config = yaml.safe_load((KUBERNETES / "cloud-run" / "collector.yaml").read_text(encoding="utf-8"))
    [scrape] = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    port = worker_pool.daemon["livenessProbe"]["httpGet"]["port"]
    assert scrape["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert scrape["metrics_path"] == "/metrics"
    assert "service.instance.id" in {one["key"] for one in config["processors"]["resource"]["attributes"]}


def test_every_part_of_the_collector_is_defined_and_used() -> None:
    config = yaml.safe_load((KUBERNETES / "cloud-run" / "collector.yaml").read_text(encoding="utf-8"))
    [pipeline] = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(config[kind])


def test_the_collector_reads_its_file_where_it_is_mounted(worker_pool: Workload) -> None:
    [collector] = [one for one in worker_pool.revision["containers"] if one["name"] == "metrics"]
    [mount] = collector["volumeMounts"]
    [volume] = [one for one in worker_pool.revision["volumes"] if one["name"] == mount["name"]]
    [item] = volume["secret"]["items"]
    assert collector["args"] == [f"--config={mount['mountPath']}/{item['path']}"]


def test_a_worker_pool_has_a_fixed_number_of_instances(worker_pool: Workload) -> None:
    [document] = worker_pool.documents
    assert document["apiVersion"] == "run.googleapis.com/v1"
    assert annotated(document)["run.googleapis.com/scalingMode"] == "manual"
    assert int(annotated(document)["run.googleapis.com/manualInstanceCount"]) >= 1


def test_all_instances_of_a_worker_pool_are_of_the_newest_revision(worker_pool: Workload) -> None:
    [document] = worker_pool.documents
    assert document["spec"]["instanceSplits"] == [{"latestRevision": True, "percent": 100}]


def test_both_ways_to_run_on_cloud_run_run_the_same_daemon(service: Workload, worker_pool: Workload) -> None:
    service_without_port = {name: value for name, value in service.daemon.items() if name != "ports"}
    assert service_without_port == worker_pool.daemon
