"""Debian's Prometheus on a port of its own, with the alerts loaded; a minute of theirs passes in a second."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from subscriber.emulators import free_port
from tests.daemon import until
from tools import alerts

__all__ = ["Prometheus", "prometheus"]

SCRAPE_EVERY = "1s"


class Prometheus:
    """What a running server answers."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return self._get("/-/ready")[0] == 200
        except OSError:
            return False

    def value(self, query: str) -> float | None:
        """The first value of an instant query."""
        found = self._data("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query, each with `metric` and `values`; times in Unix seconds."""
        series: list[dict[str, Any]] = self._data("query_range", query=query, start=start, end=end, step=step)["result"]
        return series

    def firing(self) -> dict[str, dict[str, str]]:
        """The alerts that fire now, by name, with the labels that their rules gave them."""
        found = [one["labels"] for one in self._data("alerts")["alerts"] if one["state"] == "firing"]
        scraped = {"alertname", "instance", "job"}
        return {one["alertname"]: {k: v for k, v in one.items() if k not in scraped} for one in found}

    def _data(self, path: str, **asked: Any) -> Any:
        status, body = self._get(f"/api/v1/{path}?{urlencode(asked)}")
        assert status == 200, body
        return json.loads(body)["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def prometheus(folder: Path, target_port: int) -> Iterator[Prometheus]:
    """A server that scrapes 127.0.0.1:`target_port` as the job `subscriber`; it keeps its data in `folder`."""
    (folder / "rules.yaml").write_text(_hurried(alerts.SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(_config(target_port)), encoding="utf-8")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = Prometheus(port)
        try:
            until(lambda: process.poll() is not None or server.ready(), "Prometheus answers")
            assert process.poll() is None, (folder / "log").read_text()
            yield server
        finally:
            process.terminate()


def _hurried(rules: str) -> str:
    """The rules with every minute a second; so is an hour a minute, for a rate needs scrapes to look at."""
    waits = re.sub(r"for: (\d+)m\b", r"for: \1s", rules)
    windows = re.sub(r"\[(\d+)m\]", lambda found: f"[{max(3, int(found[1]))}s]", waits)
    return re.sub(r"\[(\d+)h\]", r"[\1m]", windows)


def _config(target_port: int) -> dict[str, Any]:
    target = {"targets": [f"127.0.0.1:{target_port}"]}
    return {
        "global": {
            "scrape_interval": SCRAPE_EVERY,
            "scrape_timeout": SCRAPE_EVERY,
            "evaluation_interval": SCRAPE_EVERY,
        },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "subscriber", "static_configs": [target]}],
    }
