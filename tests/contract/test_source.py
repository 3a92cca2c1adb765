"""One suite for both sources, and what only each of them can suffer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]  # mypy says so only once a run
import pytest

from subscriber.adapters.inbox import InboxSource
from subscriber.adapters.pubsub import PubSubSource
from subscriber.emulators import Emulators, free_port
from subscriber.errors import ConfigError, NeighbourDown, Refused
from subscriber.metrics import Metrics
from subscriber.model import Delivery
from subscriber.notification import parse
from subscriber.ports import Source
from tests.world import Queue, fresh

SOON = 40.0
"""Bound of every wait for a delivery: four times the shortest ack deadline that Pub/Sub gives."""
LONG_AGO = 1_700_000_000.0

Pubsub = Callable[..., Queue]


@dataclass
class Place:
    """A source, and a way to put messages about objects into it."""

    source: Source
    subscription: str
    put: Callable[[str], object]


@pytest.fixture(params=["inbox", "pubsub"])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty source; the test runs once on each."""
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.fixture
def inbox_place(tmp_path: Path) -> Place:
    return Place(InboxSource(tmp_path, "inbox", watch=True), "inbox", lambda name: drop(tmp_path, name))


@pytest.fixture
def pubsub_place(pubsub: Pubsub, emulators: Emulators) -> Iterator[Place]:
    queue = pubsub(ack_deadline_seconds=10)
    with closing(source_of(emulators, queue.subscription)) as source:
        yield Place(source, queue.subscription, lambda name: publish(queue, name))


def source_of(emulators: Emulators, *subscriptions: str, metrics: Metrics | None = None) -> PubSubSource:
    return PubSubSource(subscriptions, emulators.pubsub_host, 2.0, metrics or Metrics())


def drop(folder: Path, name: str, *, at: float = LONG_AGO) -> None:
    """A file whose last change is long over."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    os.utime(path, (at, at))


def publish(queue: Queue, name: str, data: bytes = b"") -> str:
    return queue.publish(data, eventType="OBJECT_FINALIZE", bucketId="inbox", objectId=name, objectGeneration="7")


def name_of(delivery: Delivery) -> str:
    return delivery.message.attributes["objectId"]


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return sorted(name_of(delivery) for delivery in deliveries)


def pull(source: Source, number: int, free: int = 10) -> list[Delivery]:
    """So many deliveries, from as many pulls as it takes."""
    found: list[Delivery] = []
    deadline = time.monotonic() + SOON
    while len(found) < number and time.monotonic() < deadline:
        found += source.pull(free)
    assert len(found) >= number, f"only {names(found)} within {SOON} s"
    return found


def the(source: Source, name: str) -> tuple[Delivery, list[str]]:
    """The next delivery about this object, and the names of all that came before it."""
    before: list[str] = []
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        for delivery in source.pull(1):
            if name_of(delivery) == name:
                return delivery, before
            before.append(name_of(delivery))
    raise AssertionError(f"{name} did not come within {SOON} s, only {before}")


def test_a_delivery_says_what_happened_when_and_where(place: Place) -> None:
    place.put("calls/one.wav")
    (delivery,) = pull(place.source, 1)
    notice = parse(delivery.message)
    assert (notice.bucket, notice.name) == ("inbox", "calls/one.wav")
    assert delivery.subscription == place.subscription
    assert delivery.ack_id
    assert delivery.message.id
    assert abs((datetime.now(UTC) - delivery.message.published_at).total_seconds()) < SOON


def test_a_pull_brings_at_most_what_there_is_room_for(place: Place) -> None:
    for n in range(5):
        place.put(f"{n}.wav")
    found: list[Delivery] = []
    deadline = time.monotonic() + SOON
    while len(found) < 5 and time.monotonic() < deadline:
        now = place.source.pull(2)
        assert len(now) <= 2
        if now:
            place.source.extend(place.subscription, [one.ack_id for one in now], 60)
        found += now
    assert names(found) == [f"{n}.wav" for n in range(5)]


def test_an_empty_pull_comes_back_within_seconds_with_nothing(place: Place) -> None:
    began = time.monotonic()
    assert place.source.pull(10) == []
    assert time.monotonic() - began < 8


def test_an_empty_pull_leases_nothing_to_nobody(place: Place) -> None:
    """What it had leased would come after the ack deadline, as a second delivery or later than this."""
    for n in range(3):
        assert place.source.pull(10) == []
        place.put(f"{n}.wav")
        began = time.monotonic()
        (delivery,) = pull(place.source, 1)
        assert time.monotonic() - began < 8
        assert name_of(delivery) == f"{n}.wav"
        place.source.ack(place.subscription, [delivery.ack_id])


def test_what_is_extended_or_acked_does_not_come_again_with_what_is_not(place: Place) -> None:
    """The third is leased after the other two; when its lease has ended, so would have theirs."""
    for name in ("acked", "extended", "left"):
        place.put(f"{name}.wav")
        delivery, before = the(place.source, f"{name}.wav")
        assert before == []
        if name == "acked":
            place.source.ack(place.subscription, [delivery.ack_id])
        if name == "extended":
            place.source.extend(place.subscription, [delivery.ack_id], 60)
    again, before = the(place.source, "left.wav")
    assert before == []
    assert again.message.id == delivery.message.id
    assert again.key == delivery.key


def test_an_extension_of_no_time_brings_the_message_again_at_once(place: Place) -> None:
    place.put("one.wav")
    (first,) = pull(place.source, 1)
    place.source.extend(place.subscription, [first.ack_id], 60)
    began = time.monotonic()
    place.source.extend(place.subscription, [first.ack_id], 0)
    (again,) = pull(place.source, 1)
    assert time.monotonic() - began < 8
    assert again.key == first.key
    place.source.ack(place.subscription, [again.ack_id])


def test_many_are_extended_and_acked_in_one_request(place: Place) -> None:
    for n in range(20):
        place.put(f"{n}.wav")
    ack_ids = [delivery.ack_id for delivery in pull(place.source, 20)]
    place.source.extend(place.subscription, ack_ids, 60)
    place.source.extend(place.subscription, ack_ids, 0)
    again = pull(place.source, 20)
    assert len({delivery.key for delivery in again}) == 20
    place.source.ack(place.subscription, [delivery.ack_id for delivery in again])
    assert place.source.pull(10) == []


def test_one_malformed_id_refuses_the_whole_batch(place: Place) -> None:
    place.put("one.wav")
    (delivery,) = pull(place.source, 1)
    place.source.extend(place.subscription, [delivery.ack_id], 60)
    with pytest.raises(Refused):
        place.source.extend(place.subscription, [delivery.ack_id, "no ack id"], 0)
    assert place.source.pull(10) == [], "the sound id of a refused batch was not extended"
    with pytest.raises(Refused):
        place.source.ack(place.subscription, ["no ack id"])


# Pub/Sub


def test_the_first_subscription_is_emptied_before_the_second(pubsub: Pubsub, emulators: Emulators) -> None:
    live, replay = pubsub(), pubsub()
    for n in range(3):
        publish(replay, f"replay {n}")
        publish(live, f"live {n}")
    with closing(source_of(emulators, live.subscription, replay.subscription)) as source:
        came: list[Delivery] = []
        deadline = time.monotonic() + SOON
        while len(came) < 6 and time.monotonic() < deadline:
            came += source.pull(1)
        order = [name_of(one) for one in came]
        assert sorted(order[:3]) == ["live 0", "live 1", "live 2"]
        assert sorted(order[3:]) == ["replay 0", "replay 1", "replay 2"]
        assert [one.subscription for one in came] == [live.subscription] * 3 + [replay.subscription] * 3
        assert source.pull(1) == []


def test_of_two_empty_subscriptions_none_is_asked_in_a_hot_loop(pubsub: Pubsub, emulators: Emulators) -> None:
    with closing(source_of(emulators, pubsub().subscription, pubsub().subscription)) as source:
        began = time.monotonic()
        assert source.pull(1) == []
        assert 0.5 < time.monotonic() - began < 8


def test_a_message_of_9_megabytes_is_pulled(pubsub: Pubsub, emulators: Emulators) -> None:
    """With gRPC's own limit of 4 MB the subscription would be blocked behind it for a month."""
    queue = pubsub()
    publish(queue, "large.wav", b" " * 9_000_000)
    with closing(source_of(emulators, queue.subscription)) as source:
        (delivery,) = pull(source, 1)
        assert len(delivery.message.data) == 9_000_000
        source.ack(queue.subscription, [delivery.ack_id])


def test_attributes_and_data_come_as_they_were_published(pubsub: Pubsub, emulators: Emulators) -> None:
    queue = pubsub()
    message_id = queue.publish(b"\x00\xff", **{"ce-type": "Grüße 🎧", "empty": ""})
    with closing(source_of(emulators, queue.subscription)) as source:
        (delivery,) = pull(source, 1)
    assert delivery.message.id == message_id
    assert delivery.message.data == b"\x00\xff"
    assert delivery.message.attributes == {"ce-type": "Grüße 🎧", "empty": ""}
    assert delivery.attempt == 0, "no dead-letter policy counts it"


def test_a_subscription_never_ends(pubsub_place: Place) -> None:
    assert not pubsub_place.source.finished()


def test_a_subscription_that_is_there_passes_the_check(pubsub: Pubsub, emulators: Emulators) -> None:
    with closing(source_of(emulators, pubsub().subscription, pubsub().subscription)) as source:
        source.check()


@pytest.mark.parametrize("missing", [fresh("subscription"), "!", "x" * 300])
def test_a_subscription_that_is_not_there_is_told_with_the_command_that_makes_it(
    pubsub: Pubsub, emulators: Emulators, missing: str
) -> None:
    name = f"projects/{emulators.project}/subscriptions/{missing}"
    with closing(source_of(emulators, pubsub().subscription, name)) as source:
        with pytest.raises(ConfigError, match="SUBSCRIBER_SUBSCRIPTION") as found:
            source.check()
        assert f"gcloud pubsub subscriptions create {name}" in found.value.remedy


def test_a_subscription_that_was_deleted_under_us_is_a_pause(emulators: Emulators) -> None:
    name = f"projects/{emulators.project}/subscriptions/{fresh('subscription')}"
    metrics = Metrics()
    with closing(source_of(emulators, name, metrics=metrics)) as source, pytest.raises(NeighbourDown) as down:
        source.pull(1)
    assert (down.value.neighbour, down.value.reason) == ("pubsub", "forbidden")
    assert rpc_errors(metrics, "not_found") == 1


CALLS: dict[str, Callable[[PubSubSource], object]] = {
    "pull": lambda source: source.pull(1),
    "extend": lambda source: source.extend("projects/p/subscriptions/sub", ["id"], 60),
    "ack": lambda source: source.ack("projects/p/subscriptions/sub", ["id"]),
    "check": lambda source: source.check(),
}


@pytest.mark.parametrize("call", CALLS)
def test_where_nothing_listens_pubsub_is_away(call: str) -> None:
    metrics = Metrics()
    host = f"127.0.0.1:{free_port()}"
    with (
        closing(PubSubSource(["projects/p/subscriptions/sub"], host, 2.0, metrics)) as source,
        pytest.raises(NeighbourDown) as down,
    ):
        CALLS[call](source)
    assert (down.value.neighbour, down.value.reason) == ("pubsub", "unavailable")
    assert rpc_errors(metrics, "unavailable") == 1


@pytest.fixture
def swallower() -> Iterator[str]:
    """The address of a server that takes calls and never answers one."""
    stopped = threading.Event()

    class Silent(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
        def service(self, _: object) -> object:
            return grpc.unary_unary_rpc_method_handler(lambda *_: stopped.wait(SOON))

    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, handlers=[Silent()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        stopped.set()
        server.stop(grace=None)


def test_a_server_that_lets_an_empty_pull_run_into_its_deadline_is_not_away(swallower: str) -> None:
    """Neither emulator nor production do so usually; that it may happen is in Google's documentation."""
    metrics = Metrics()
    with closing(PubSubSource(["projects/p/subscriptions/sub"], swallower, 0.5, metrics)) as source:
        assert source.pull(1) == []
        assert rpc_errors(metrics, "deadline_exceeded") == 0


def test_a_minute_without_any_answer_is_asked_about(swallower: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows all calls looks like an empty subscription; only its probe can tell."""
    with closing(PubSubSource(["projects/p/subscriptions/sub"], swallower, 0.2, Metrics())) as source:
        monkeypatch.setattr("subscriber.adapters.pubsub.SILENCE_SECONDS", 0.0)
        with pytest.raises(NeighbourDown, match="no pull was answered") as down:
            source.pull(1)
        assert (down.value.neighbour, down.value.reason) == ("pubsub", "unavailable")
        monkeypatch.undo()
        assert source.pull(1) == [], "asked about once, it has another minute"


def test_without_credentials_the_remedy_is_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "PUBSUB_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS") as missing:
        PubSubSource(["projects/p/subscriptions/sub"], None, 2.0, Metrics())
    assert "gcloud auth application-default login" in missing.value.remedy


def rpc_errors(metrics: Metrics, code: str) -> float | None:
    labels = {"adapter": "pubsub", "code": code}
    return metrics.registry.get_sample_value("subscriber_rpc_errors_total", labels)


# The inbox


def test_all_files_of_a_folder_and_its_folders_are_messages(tmp_path: Path) -> None:
    for name in ("a.wav", "b/c.mp3", "b/d/e f.ogg", "b/d/notes.txt"):
        drop(tmp_path, name)
    source = InboxSource(tmp_path, "inbox", watch=False)
    assert names(source.pull(10)) == ["a.wav", "b/c.mp3", "b/d/e f.ogg", "b/d/notes.txt"]


@pytest.mark.parametrize("name", [".hidden.wav", ".folder/a.wav", "a/.b/c.wav", "a/.DS_Store"])
@pytest.mark.parametrize("watch", [False, True])
def test_hidden_files_and_folders_are_left_out(tmp_path: Path, name: str, watch: bool) -> None:
    drop(tmp_path, name)
    drop(tmp_path, "seen.wav")
    assert names(InboxSource(tmp_path, "inbox", watch=watch).pull(10)) == ["seen.wav"]


def test_a_watched_inbox_sees_later_files_and_another_one_does_not(tmp_path: Path) -> None:
    watching = InboxSource(tmp_path, "inbox", watch=True)
    once = InboxSource(tmp_path, "inbox", watch=False)
    drop(tmp_path, "late.wav")
    assert names(watching.pull(10)) == ["late.wav"]
    assert once.pull(10) == []


def test_a_file_that_may_still_be_being_copied_is_left_for_a_later_look(tmp_path: Path) -> None:
    source = InboxSource(tmp_path, "inbox", watch=True)
    drop(tmp_path, "growing.wav", at=time.time() + 3600)
    assert source.pull(10) == []
    drop(tmp_path, "growing.wav", at=LONG_AGO)
    assert names(source.pull(10)) == ["growing.wav"]


def test_without_watching_the_newest_file_counts_too(tmp_path: Path) -> None:
    drop(tmp_path, "new.wav", at=time.time())
    assert names(InboxSource(tmp_path, "inbox", watch=False).pull(10)) == ["new.wav"]


def test_a_file_that_changes_is_a_new_message_of_a_higher_generation(tmp_path: Path) -> None:
    source = InboxSource(tmp_path, "inbox", watch=True)
    drop(tmp_path, "one.wav", at=LONG_AGO)
    (first,) = source.pull(10)
    source.ack("inbox", [first.ack_id])
    assert source.pull(10) == []
    drop(tmp_path, "one.wav", at=LONG_AGO + 0.5)
    (second,) = source.pull(10)
    assert second.key != first.key
    assert parse(second.message).generation > parse(first.message).generation


def test_an_inbox_that_is_not_watched_has_finished_when_every_message_is_acked(tmp_path: Path) -> None:
    drop(tmp_path, "a.wav")
    drop(tmp_path, "b.wav")
    source = InboxSource(tmp_path, "inbox", watch=False)
    for delivery in source.pull(10):
        assert not source.finished()
        source.ack("inbox", [delivery.ack_id])
    assert source.finished()


def test_an_empty_inbox_has_finished_and_a_watched_one_never_has(tmp_path: Path) -> None:
    assert InboxSource(tmp_path, "inbox", watch=False).finished()
    assert not InboxSource(tmp_path, "inbox", watch=True).finished()


def test_each_delivery_of_a_file_counts_as_an_attempt(tmp_path: Path) -> None:
    drop(tmp_path, "one.wav")
    source = InboxSource(tmp_path, "inbox", watch=False)
    attempts = []
    for _ in range(3):
        (delivery,) = pull(source, 1)
        attempts.append(delivery.attempt)
        source.extend("inbox", [delivery.ack_id], 0)
    assert attempts == [1, 2, 3]


def test_a_file_that_is_moved_away_under_our_eyes_is_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path, "gone.wav")
    drop(tmp_path, "stays.wav")
    listed = os.walk

    def gone_after_it(*arguments: Any, **more: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        yield from listed(*arguments, **more)
        (tmp_path / "gone.wav").unlink()

    monkeypatch.setattr(os, "walk", lambda *arguments, **more: iter(list(gone_after_it(*arguments, **more))))
    source = InboxSource(tmp_path, "inbox", watch=False)
    assert names(source.pull(10)) == ["stays.wav"]
    assert source.unusable == {}


def test_a_file_that_is_dated_to_the_future_settles_by_our_own_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriber.adapters.inbox.SETTLED_SECONDS", 0.2)
    source = InboxSource(tmp_path, "inbox", watch=True)
    drop(tmp_path, "tomorrow.wav", at=time.time() + 86_400)
    assert names(pull(source, 1)) == ["tomorrow.wav"]


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(tmp_path, "private/a.wav")
    drop(tmp_path, "open.wav")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = InboxSource(tmp_path, "inbox", watch=False)
    assert names(source.pull(10)) == ["open.wav"]
    assert source.unusable == {"private": "cannot be looked into: Permission denied"}


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(tmp_path, "private.wav")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert InboxSource(tmp_path, "inbox", watch=False).unusable == {
        "private.wav": "it may not be read: permission denied"
    }


@pytest.mark.parametrize(("target", "told"), [("hidden/.a", True), ("seen", False), ("..", True), (".", False)])
def test_a_link_to_a_folder_is_told_unless_its_files_are_met_under_its_own_name(
    tmp_path: Path, target: str, told: bool
) -> None:
    drop(tmp_path, "inbox/seen/a.wav")
    drop(tmp_path, "inbox/hidden/.a/b.wav")
    (tmp_path / "inbox/link").symlink_to(tmp_path / "inbox" / target, target_is_directory=True)
    source = InboxSource(tmp_path / "inbox", "inbox", watch=False)
    assert names(source.pull(10)) == ["seen/a.wav"]
    assert list(source.unusable) == ["link"] * told


def test_of_one_file_nothing_else_is_looked_at(tmp_path: Path) -> None:
    drop(tmp_path, "one.wav")
    drop(tmp_path, "two.wav")
    source = InboxSource(tmp_path, "inbox", watch=False, only="one.wav")
    (delivery,) = source.pull(10)
    assert source.counts() == (0, 1)
    source.ack("inbox", [delivery.ack_id])
    assert source.counts() == (1, 1)
    assert [(one.name, one.settled) for one in source.found()] == [("one.wav", True)]
    assert source.finished()
