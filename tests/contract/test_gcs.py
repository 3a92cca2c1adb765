"""What only Cloud Storage can answer: behind the adapter stands a server that each test scripts."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.api_core.retry import Retry
from google.cloud.storage import Bucket

from subscriber import sessions
from subscriber.adapters import gcs
from subscriber.adapters.gcs import GcsObjects
from subscriber.errors import (
    ConfigError,
    NeighbourDown,
    Permanent,
    PreconditionFailed,
    SubscriberError,
    Transient,
)
from subscriber.model import ObjectInfo
from subscriber.storage_api import StorageApi
from tests.stores import Store
from tests.valve import Valve

Answer = tuple[int, str]


@dataclass(frozen=True)
class Script:
    """An adapter whose server gives these answers, the last one again and again; status 0 hangs up without a word."""

    answers: list[Answer]
    asked: list[str]
    queries: list[str]
    objects: GcsObjects
    server: str

    def say(self, *answers: Answer) -> Store:
        self.answers[:] = answers
        return Store(self.objects, "bucket")


@pytest.fixture
def script() -> Iterator[Script]:
    answers: list[Answer] = []
    asked: list[str] = []
    queries: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            asked.append(f"{self.command} {path}")
            queries.append(query)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.close_connection = not status
            if status:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        objects = GcsObjects(connections=1, emulator=True, endpoint=endpoint, retry_seconds=1)
        yield Script(answers, asked, queries, objects, endpoint.removeprefix("http://"))
        server.shutdown()
        serving.join()


def error(code: int, message: str, reason: str = "forbidden") -> Answer:
    return code, f'{{"error": {{"code": {code}, "message": "{message}", "errors": [{{"reason": "{reason}"}}]}}}}'


CREATE_DENIED = error(403, "a does not have storage.objects.create access to the Google Cloud Storage object")
GRANTED = (200, '{"permissions": ["storage.objects.create", "storage.objects.get"]}')
NOTHING_GRANTED = (200, "{}")


@pytest.mark.parametrize(
    ("answers", "expected", "reason"),
    [
        ([error(503, "try later")], NeighbourDown, "unavailable"),
        ([error(429, "slow down")], NeighbourDown, "unavailable"),
        ([(0, "")], NeighbourDown, "unavailable"),
        ([error(401, "who are you")], NeighbourDown, "forbidden"),
        ([CREATE_DENIED, NOTHING_GRANTED], NeighbourDown, "forbidden"),
        ([CREATE_DENIED, GRANTED], Transient, "forbidden_object"),
        ([error(403, "billing is off", "accountDisabled"), GRANTED], NeighbourDown, "forbidden"),
        ([error(403, "wait until 2027", "retentionPolicyNotMet")], Permanent, "output_locked"),
        ([error(403, "Object 'a' is under active Event-Based hold")], Permanent, "output_locked"),
        ([error(400, "Bucket is a requester pays bucket but no user project provided.")], NeighbourDown, "forbidden"),
        ([error(404, "The specified bucket does not exist.")], NeighbourDown, "forbidden"),
        ([error(412, "conditionNotMet")], PreconditionFailed, None),
        ([error(400, "invalid")], Transient, "storage_error"),
        ([(200, "a login page of some proxy")], NeighbourDown, "unavailable"),
    ],
)
def test_every_refusal_of_a_write_is_named_by_its_remedy(
    script: Script, answers: list[Answer], expected: type[SubscriberError], reason: str | None
) -> None:
    store = script.say(*answers)
    with pytest.raises(expected) as raised:
        store.write("a")
    assert getattr(raised.value, "reason", None) == reason


def test_a_read_of_one_forbidden_object_costs_only_its_own_attempt(script: Script) -> None:
    store = script.say(error(403, "a does not have storage.objects.get access"), GRANTED)
    with pytest.raises(Transient):
        store.objects.read(ObjectInfo("bucket", "a", 1, 1))


def test_a_write_whose_answer_was_lost_is_tried_again_and_fails_its_condition(script: Script) -> None:
    """So PreconditionFailed must never be taken for somebody else's write without a look."""
    store = script.say((0, ""), error(412, "conditionNotMet"))
    with pytest.raises(PreconditionFailed):
        store.write("a")
    assert len(script.asked) == 2


def test_the_client_asks_nothing_that_we_did_not_ask(script: Script) -> None:
    """It would look up the bucket in threads of its own, also after each 404: more calls, and a right that we lack."""
    store = script.say(error(412, "conditionNotMet"))
    for _ in range(9):
        with pytest.raises(PreconditionFailed):
            store.write("a")
    assert script.asked == ["POST /upload/storage/v1/b/bucket/o"] * 9


def test_missing_rights_are_named_with_the_command_that_grants_them(script: Script) -> None:
    script.say(GRANTED)
    with pytest.raises(ConfigError) as refused:
        script.objects.check_output("bucket")
    assert "storage.objects.delete, storage.objects.list" in str(refused.value)
    assert "gs://bucket --member" in refused.value.remedy


def test_a_server_that_is_away_is_an_outage_for_the_check_too(script: Script) -> None:
    script.say((0, ""))
    with pytest.raises(NeighbourDown):
        script.objects.check_output("bucket")


def test_missing_credentials_are_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="gcloud auth application-default login"):
        GcsObjects(connections=1)


def test_a_name_that_cloud_storage_cannot_take_is_refused_unasked(script: Script) -> None:
    with pytest.raises(Permanent) as refused:
        Store(script.objects, "bucket").write("é" * 513)
    assert (refused.value.reason, script.asked) == ("output_name_too_long", [])


def test_a_download_that_trickles_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is never silence, and never an end: the time that a call gets follows from the bytes that it wants."""
    monkeypatch.setattr(gcs, "_TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        trickling = threading.Thread(target=trickle, args=(server,))
        trickling.start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        objects = GcsObjects(connections=1, emulator=True, endpoint=endpoint, retry_seconds=0)
        with pytest.raises(NeighbourDown, match="timed out"):
            objects.read(ObjectInfo("bucket", "a", 1, 1))
        trickling.join(timeout=30)


def trickle(server: socket.socket) -> None:
    """A byte every hundredth of a second to the first who asks, until he has gone."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        connection.settimeout(0.01)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    return


def test_what_came_of_an_object_is_compared_with_its_checksum(script: Script) -> None:
    store = script.say((200, "damaged"))
    with pytest.raises(Transient, match="checksum"):
        store.objects.read(ObjectInfo("bucket", "a", 1, 7, md5="AAAAAAAAAAAAAAAAAAAAAA=="))


def test_a_range_of_another_length_than_was_asked_for_is_no_answer(script: Script) -> None:
    """Such as of a proxy that does not know ranges: the decoder would take other bytes for those that it wanted."""
    store = script.say((200, "the whole object"))
    for offset, size in [(4, 5), (0, 100)]:
        with pytest.raises(NeighbourDown, match="16 bytes of gs://bucket/a came"):
            store.objects.read_range(ObjectInfo("bucket", "a", 1, 200), offset, size)


def test_nothing_is_asked_for_behind_an_objects_end(script: Script) -> None:
    assert script.objects.read_range(ObjectInfo("bucket", "a", 1, 7), 7, 5) == b""
    assert not script.asked


def test_what_a_server_calls_null_is_nothing(script: Script) -> None:
    about = '"bucket": "b", "name": "n", "generation": "1", "size": "2", "timeCreated": "2026-11-01T12:00:00Z"'
    script.say((200, f'{{{about}, "metadata": null, "md5Hash": null, "contentType": null}}'))
    live = script.objects.stat("b", "n")
    assert live
    assert (live.metadata, live.md5, live.content_type, live.size) == ({}, "", "", 2)


class Watched:
    """In the place of a session."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.seconds: list[float] = []

    def ask(self, *_: object, seconds: float) -> sessions.Answer:
        self.seconds.append(seconds)
        return sessions.Answer(200, self.body)


def test_a_call_may_take_as_long_as_its_bytes_do() -> None:
    """Else a large object on a slow line would never come, and each try would count as an outage."""
    session: Any = Watched(bytes(1000))
    api = StorageApi(session, "http://a", user_project=None, retry=Retry(), seconds=10.0, slowest=100)
    api.download("bucket", "a", 1, 1000)
    api.download("bucket", "a", 1, 1000, start=5000)
    assert session.seconds == [20.0, 20.0]


def test_requests_are_billed_to_the_project_that_shall_pay(script: Script) -> None:
    endpoint = f"http://{script.server}"
    script.say(error(404, "No such object: bucket/a"))
    objects = GcsObjects(connections=1, emulator=True, endpoint=endpoint, user_project="payer")
    assert objects.stat("bucket", "a") is None
    assert "userProject=payer" in script.queries[-1]


def test_a_compressed_object_is_read_as_it_is_stored(bucket: Bucket) -> None:
    stored = gzip.compress(b"RIFF" * 99)
    blob = bucket.blob("a.wav")
    blob.content_encoding = "gzip"
    blob.upload_from_string(stored)
    store = Store(GcsObjects(connections=1, emulator=True), bucket.name)
    assert store.objects.read(store.live("a.wav")) == stored


NO_OBJECT = error(404, "No such object: bucket/a")


def test_a_connection_that_died_in_its_sleep_costs_a_call_its_time_and_no_more(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten by a NAT: no packet gets through any more, and nobody is told. Here all times are a twentieth."""
    monkeypatch.setattr(gcs, "_TIMEOUT_SECONDS", gcs._TIMEOUT_SECONDS / 20)
    script.say(NO_OBJECT)
    with Valve(script.server) as valve:
        endpoint, patience = f"http://{valve.address}", gcs._RETRY_SECONDS / 20
        objects = GcsObjects(connections=1, emulator=True, endpoint=endpoint, retry_seconds=patience)
        assert objects.stat("bucket", "a") is None
        valve.forget()
        assert objects.stat("bucket", "a") is None
    assert len(script.asked) == 2
