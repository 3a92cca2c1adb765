"""A Celery worker on kombu's Pub/Sub transport: threads, fetching ahead as it does by default, acks when done."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from kombu import Exchange, Queue

from bench.peers.work import transcribe

__all__ = ["app"]

_topic, _queue = (os.environ[name].rpartition("/")[2] for name in ("TOPIC", "SUBSCRIPTION"))

app = Celery(broker=f"gcpubsub://projects/{os.environ['GOOGLE_CLOUD_PROJECT']}")
app.conf.update(
    task_queues=[Queue(_queue, Exchange(_topic, type="direct"), routing_key=_topic)],
    task_default_queue=_queue,
    # Else a task counts as done before it has begun, and a worker that dies loses it.
    task_acks_late=True,
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_redirect_stdouts=False,
    broker_transport_options={"queue_name_prefix": ""},
)


def _ready(**_: Any) -> None:
    print("ready", flush=True)


app.task(name="transcribe")(transcribe)
worker_ready.connect(_ready)
