"""The emulators as a project with a bucket, its notifications and a subscription, and the daemon's own figures."""

from __future__ import annotations

import json
from typing import Any

from subscriber.demo.programs import ask
from subscriber.emulators import Emulators, free_port
from subscriber.model import Job, Outcome

__all__ = ["INBOX", "TOPIC", "Cloud"]

TOPIC, SUBSCRIPTION, INBOX, OUTBOX = "uploads", "transcribe", "recordings", "transcripts"


class Cloud:
    """Made of running emulators that were told to notify TOPIC of uploads into INBOX."""

    def __init__(self, servers: Emulators) -> None:
        self._servers = servers
        self.daemon_url = f"http://127.0.0.1:{free_port()}"
        servers.make_topic(TOPIC, SUBSCRIPTION)
        servers.make_bucket(INBOX, OUTBOX)

    def environ(self) -> dict[str, str]:
        """All that the daemon must be told; in production the emulators' addresses are left out."""
        return {
            **self._servers.environ(),
            "SUBSCRIBER_SUBSCRIPTION": SUBSCRIPTION,
            "SUBSCRIBER_OUTPUT": f"gs://{OUTBOX}",
            "PORT": self.daemon_url.rpartition(":")[2],
        }

    def notify(self, job: Job) -> None:
        """Publish the notification of an upload once more, as Cloud Storage and Pub/Sub may do themselves."""
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": job.bucket,
            "objectId": job.name,
            "objectGeneration": str(job.generation),
        }
        self._pubsub(f"topics/{TOPIC}:publish", {"messages": [{"attributes": attributes}]})

    def unacked(self) -> int:
        """How many messages Pub/Sub would deliver now; to be asked when nobody holds any."""
        answer = self._pubsub(f"subscriptions/{SUBSCRIPTION}:pull", {"maxMessages": 100, "returnImmediately": True})
        return len(answer.get("receivedMessages", []))

    def acked(self) -> int:
        """How many acks Pub/Sub has taken."""
        return self._metrics()['subscriber_settlements_total{kind="ack",result="ok"}']

    def parked(self) -> int:
        """Deliveries that wait for a job in work."""
        return self._metrics()["subscriber_jobs_parked"]

    def deliveries(self) -> dict[Outcome, int]:
        """How many ended in which way."""
        metrics = self._metrics()
        return {outcome: metrics[f'subscriber_deliveries_total{{outcome="{outcome}"}}'] for outcome in Outcome}

    def _metrics(self) -> dict[str, int]:
        lines = ask(f"{self.daemon_url}/metrics").decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: int(float(value)) for name, _, value in pairs if value not in ("NaN", "+Inf")}

    def _pubsub(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"http://{self._servers.pubsub_host}/v1/projects/{self._servers.project}/{path}"
        answer: dict[str, Any] = json.loads(ask(url, body))
        return answer
