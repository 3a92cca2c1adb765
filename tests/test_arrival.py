"""What a message asks of this process, and how much of it only the object itself can tell."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from subscriber.arrival import LARGE_BYTES, Arrivals
from subscriber.drain import Drain
from subscriber.errors import Interrupted, NotForUs, Transient
from subscriber.metrics import Metrics
from subscriber.model import Job, Message, ObjectInfo
from subscriber.notification import Selection
from subscriber.outage import Outages
from subscriber.outputs import OutputLocation
from subscriber.ports import Objects


@dataclass
class Store:
    """One object, or the error with which a look at it ends."""

    size: int | None = 0
    content_type: str = "audio/wav"
    error: Exception | None = None
    looks: list[str] = field(default_factory=list)

    def stat(self, bucket: str, name: str) -> ObjectInfo | None:
        self.looks.append(name)
        if self.error:
            raise self.error
        return None if self.size is None else ObjectInfo(bucket, name, 7, self.size, self.content_type)


def arrivals(store: Store, output: str = "gs://out") -> Arrivals:
    outages = Outages({}, Drain(1.0), Metrics())
    objects: Objects = store  # type: ignore[assignment] # nothing but a look is needed
    return Arrivals(objects, OutputLocation.parse(output), Selection(), outages)


def message(name: str = "one.wav", **body: object) -> Message:
    attributes = {"eventType": "OBJECT_FINALIZE", "bucketId": "in", "objectId": name, "objectGeneration": "7"}
    return Message("17", attributes, json.dumps(body).encode() if body else b"", datetime.now(UTC))


@pytest.mark.parametrize(("size", "large"), [(0, False), (LARGE_BYTES - 1, False), (LARGE_BYTES, True)])
def test_the_notification_tells_the_size_and_nobody_looks(size: int, large: bool) -> None:
    store = Store()
    assert arrivals(store).identify(message(size=str(size))) == (Job("in", "one.wav", 7, "gs://out"), large)
    assert store.looks == []


@pytest.mark.parametrize(("size", "large"), [(None, False), (LARGE_BYTES - 1, False), (LARGE_BYTES, True)])
@pytest.mark.parametrize("name", ["one.wav", "no ending"])
def test_where_it_does_not_one_look_at_the_object_tells(name: str, size: int | None, large: bool) -> None:
    store = Store(size)
    if size is None and name == "no ending":
        with pytest.raises(NotForUs):
            arrivals(store).identify(message(name))
    else:
        assert arrivals(store).identify(message(name)).large is large
    assert store.looks == [name]


def test_an_object_that_cannot_be_looked_at_goes_on_to_where_that_is_recorded() -> None:
    store = Store(error=Transient("forbidden_object", "403"))
    assert not arrivals(store).identify(message()).large


def test_a_drain_while_we_wait_for_the_store_ends_the_delivery() -> None:
    with pytest.raises(Interrupted):
        arrivals(Store(error=Interrupted("draining"))).identify(message())


def test_our_own_outputs_are_not_looked_at() -> None:
    store = Store()
    with pytest.raises(NotForUs) as refused:
        arrivals(store, "gs://in/texts").identify(message("texts/one.wav"))
    assert (refused.value.reason, store.looks) == ("own_output", [])
