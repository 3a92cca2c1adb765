"""The high-level streaming client with flow control, as Google's samples show it, with as many threads as slots."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

from google.cloud import pubsub_v1  # type: ignore[attr-defined]
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler

from bench.peers.work import transcribe

__all__ = ["main"]

log = logging.getLogger(__name__)


def main() -> None:
    """Until it is killed."""
    slots = int(os.environ["SLOTS"])
    flow = pubsub_v1.types.FlowControl(max_messages=slots)
    # The client's own executor has ten threads whatever flow control says.
    threads = ThreadScheduler(ThreadPoolExecutor(max_workers=slots))
    with pubsub_v1.SubscriberClient() as client:
        subscription = os.environ["SUBSCRIPTION"]
        future = client.subscribe(subscription, callback=_callback, flow_control=flow, scheduler=threads)
        print("ready", flush=True)
        future.result()


def _callback(message: Message) -> None:
    try:
        transcribe(message.attributes["bucketId"], message.attributes["objectId"])
    except Exception:
        log.exception("failed")
        message.nack()
    else:
        message.ack()


if __name__ == "__main__":
    main()
