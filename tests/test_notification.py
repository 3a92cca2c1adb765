"""From a message to a job, row by row; and whatever bytes arrive, a Notice or NotForUs, never another exception."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.errors import NotForUs
from subscriber.model import Job, Message, ObjectInfo
from subscriber.notification import MEDIA_ENDINGS, Notice, Selection, parse, written

GENERATION = 1762000000000001
FINALIZED = "google.cloud.storage.object.v1.finalized"
ATTRIBUTES = {
    "notificationConfig": "projects/_/buckets/calls/notificationConfigs/3",
    "eventType": "OBJECT_FINALIZE",
    "payloadFormat": "JSON_API_V1",
    "bucketId": "calls",
    "objectId": "2026/one.wav",
    "objectGeneration": str(GENERATION),
    "eventTime": "2026-11-01T12:00:00.000000Z",
}
OBJECT = {
    "kind": "storage#object",
    "bucket": "calls",
    "name": "2026/one.wav",
    "generation": str(GENERATION),
    "contentType": "audio/wav",
    "size": "3200",
}
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "17",
    "ce-type": FINALIZED,
    "ce-source": "//storage.googleapis.com/projects/_/buckets/calls",
    "ce-subject": "objects/2026/one.wav",
    "content-type": "application/json",
}
EVENT = {"specversion": "1.0", "id": "17", "type": FINALIZED, "subject": "objects/2026/one.wav", "data": OBJECT}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}

NOTICE = Notice("calls", "2026/one.wav", GENERATION, "audio/wav", 3200)
UNTYPED = Notice("calls", "2026/one.wav", GENERATION, None)

NAMES = (
    "a/b/c.wav",
    "/leading//double/",
    "take #3.wav",
    "take%203.wav",
    "../../etc/passwd.wav",
    "..",
    "🎧/naïve, ünïcödé.wav",
    "two\nlines.wav",
    "🎧" * 255 + ".wav",  # 1,024 bytes
    "a" * 1024,
)


def rows(*table: tuple[Any, ...]) -> list[Any]:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def message(body: Any = b"", **attributes: str) -> Message:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message("17", attributes, data, datetime.now(UTC))


def without(table: dict[str, Any], *names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (table | changes).items() if name not in names}


UNDERSTOOD = rows(
    ("a notification with its body", message(OBJECT, **ATTRIBUTES), NOTICE),
    ("a notification without a body", message(**ATTRIBUTES), UNTYPED),
    ("payloadFormat NONE", message(**(ATTRIBUTES | {"payloadFormat": "NONE"})), UNTYPED),
    ("the body is a hint, the attributes count", message({"name": "x", "contentType": "a/b"}, **ATTRIBUTES), ...),
    ("a body that is no JSON is no hint", message(b"\xff\xfe\x00", **ATTRIBUTES), UNTYPED),
    ("a body that is an array is no hint", message([1, 2], **ATTRIBUTES), UNTYPED),
    ("a content type that is no text is unknown", message({"contentType": 5}, **ATTRIBUTES), UNTYPED),
    ("a size that is none is unknown", message({"contentType": "a/b", "size": "-1"}, **ATTRIBUTES), ...),
    ("a size that is a list is unknown", message({"contentType": "a/b", "size": [1]}, **ATTRIBUTES), ...),
    ("a size beyond all stores is unknown", message({"contentType": "a/b", "size": 10**18 * 10}, **ATTRIBUTES), ...),
    ("a binary CloudEvent", message(OBJECT, **BINARY), NOTICE),
    ("a binary one whose name is only in the subject", message(without(OBJECT, "name"), **BINARY), NOTICE),
    ("a binary one without a subject", message(OBJECT, **without(BINARY, "ce-subject")), NOTICE),
    ("a structured CloudEvent", message(EVENT, **STRUCTURED), NOTICE),
    ("a structured one without the attribute", message(EVENT), NOTICE),
    ("a structured one that only the attribute names", message(without(EVENT, "specversion"), **STRUCTURED), NOTICE),
    ("a generation that is a number", message(without(OBJECT, generation=GENERATION), **BINARY), NOTICE),
    ("UTF-16, which JSON may be", message(json.dumps(OBJECT).encode("utf-16"), **ATTRIBUTES), NOTICE),
)


@pytest.mark.parametrize(("arrived", "expected"), UNDERSTOOD)
def test_a_finished_upload_is_understood(arrived: Message, expected: Any) -> None:
    wanted = Notice("calls", "2026/one.wav", GENERATION, "a/b") if expected is ... else expected
    assert parse(arrived) == wanted


def test_a_notice_makes_the_job_of_one_output() -> None:
    assert NOTICE.job("gs://out/p") == Job("calls", "2026/one.wav", GENERATION, "gs://out/p")


@pytest.mark.parametrize("kind", ["OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "OBJECT_ARCHIVE", "object_finalize", ""])
def test_an_event_that_is_no_finished_upload_is_not_for_us(kind: str) -> None:
    assert reason(message(OBJECT, **(ATTRIBUTES | {"eventType": kind}))) == "event_type"


@pytest.mark.parametrize("kind", ["deleted", "archived", "metadataUpdated", "finalized.v2", ""])
def test_a_cloudevent_of_another_type_is_not_for_us(kind: str) -> None:
    of_type = f"google.cloud.storage.object.v1.{kind}"
    assert reason(message(OBJECT, **(BINARY | {"ce-type": of_type}))) == "event_type"
    assert reason(message(EVENT | {"type": of_type})) == "event_type"


@pytest.mark.parametrize("kind", [None, 5, True, [], [FINALIZED], {}, {FINALIZED: 1}, 1.5], ids=repr)
def test_a_cloudevent_whose_type_is_no_text_is_not_for_us(kind: object) -> None:
    assert reason(message(EVENT | {"type": kind})) == "event_type"


@pytest.mark.parametrize(
    "generation",
    [
        "",
        "-1",
        "+1",
        "1e5",
        "1.0",
        " 1",
        "1_000",
        "0x10",
        "\uff11\uff12\uff13",
        "٣",
        "²",
        "9" * 30,
        str(2**63),
        "one",
        "\ud800",
    ],
)
def test_a_generation_that_is_no_number_of_cloud_storages_is_not_for_us(generation: str) -> None:
    """One beyond 63 bits would fail at every call of the ledger, and its message would come again for ever."""
    assert reason(message(**(ATTRIBUTES | {"objectGeneration": generation}))) == "not_a_notification"
    assert reason(message(EVENT | {"data": OBJECT | {"generation": generation}})) == "not_a_notification"


@pytest.mark.parametrize("generation", [None, True, 1.0, -1, 10**30, [], [5], {}], ids=repr)
def test_a_generation_of_another_type_is_not_for_us(generation: object) -> None:
    assert reason(message(EVENT | {"data": OBJECT | {"generation": generation}})) == "not_a_notification"


@pytest.mark.parametrize("digits", ["1", "0", "0001", str(2**63 - 1)])
def test_every_generation_that_a_store_may_give_is_taken(digits: str) -> None:
    assert parse(message(**(ATTRIBUTES | {"objectGeneration": digits}))).generation == int(digits)


@pytest.mark.parametrize("missing", ["bucketId", "objectGeneration"])
def test_a_notification_without_bucket_or_generation_is_not_for_us(missing: str) -> None:
    assert reason(message(OBJECT, **without(ATTRIBUTES, missing))) == "not_a_notification"
    assert reason(message(OBJECT, **(ATTRIBUTES | {missing: ""}))) == "not_a_notification"


@pytest.mark.parametrize("value", [None, "", 5, [], {}, ["calls"], "\ud83c"], ids=ascii)
@pytest.mark.parametrize("field", ["bucket", "name"])
def test_a_bucket_or_name_that_no_store_takes_is_not_for_us(field: str, value: object) -> None:
    without_subject = EVENT | {"subject": 5, "data": OBJECT | {field: value}}
    assert reason(message(without_subject)) == "not_a_notification"


@pytest.mark.parametrize("data", [None, "text", 5, [], [OBJECT]], ids=repr)
def test_a_cloudevent_without_an_object_in_it_is_not_for_us(data: object) -> None:
    assert reason(message(EVENT | {"data": data})) == "not_a_notification"


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_every_name_of_cloud_storages_is_carried_whole(name: str) -> None:
    assert parse(message(**(ATTRIBUTES | {"objectId": name}))).name == name
    assert parse(message(OBJECT | {"name": name}, **BINARY)).name == name
    assert parse(message(without(OBJECT, "name"), **(BINARY | {"ce-subject": f"objects/{name}"}))).name == name
    assert parse(message(EVENT | {"data": OBJECT | {"name": name}})).name == name


GARBAGE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "invalid UTF-8": lambda: b'{"specversion": "\xff\xfe\xfa"}',
    "half a surrogate pair": lambda: json.dumps(EVENT | {"data": {"bucket": "\ud83c", "name": "\udfa7"}}).encode(),
    "10 MB of spaces": lambda: b" " * 10_000_000,
    "10 MB of text": lambda: b'"' + b"a" * 10_000_000 + b'"',
    "100,000 nested brackets": lambda: b"[" * 100_000,
    "100,000 nested objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "an array": lambda: b'[{"specversion": "1.0"}]',
    "a number": lambda: b"17",
    "a number of 10,000 digits": lambda: b'{"specversion": ' + b"9" * 10_000 + b"}",
    "a text": lambda: b'"specversion"',
    "null": lambda: b"null",
    "not a number": lambda: b"NaN",
    "an empty object": lambda: b"{}",
    "a CloudEvent cut short": lambda: json.dumps(EVENT).encode()[:-1],
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_not_for_us_and_does_not_take_long(garbage: str) -> None:
    body = GARBAGE[garbage]()
    began = time.process_time()
    assert reason(message(body)) in {"not_a_notification", "event_type"}
    assert reason(message(body, **STRUCTURED)) in {"not_a_notification", "event_type"}
    assert reason(message(body, **BINARY)) == "not_a_notification"
    assert parse(message(body, **ATTRIBUTES)) == UNTYPED
    assert time.process_time() - began < 5


@pytest.mark.parametrize("where", ["type", "subject", "data", "bucket", "generation"])
def test_nesting_as_deep_as_can_just_be_read_is_not_for_us(where: str) -> None:
    """The depth at which Python gives up lies near its recursion limit, wherever our caller stands."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 120, limit + 10):
        nested = "[" * depth + "]" * depth
        inner = f'{{"bucket": "b", "{where}": {nested}}}'
        outer = f'{{"specversion": "1.0", "type": "{FINALIZED}", "data": {inner}, "{where}": {nested}}}'
        assert reason(message(outer.encode())) in {"not_a_notification", "event_type"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["specversion", "type", "subject", "data", "bucket", "name", "generation", "contentType"])
EVENTS = st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON) | st.just(FINALIZED))
BODIES = st.binary() | EVENTS.map(lambda event: json.dumps(event).encode()) | JSON.map(json.dumps).map(str.encode)
KNOWN = st.sampled_from([*ATTRIBUTES, *BINARY, "content-type"])
SAID = st.text(st.characters(exclude_categories=[])) | st.sampled_from([*ATTRIBUTES.values(), *BINARY.values()])


@given(st.dictionaries(KNOWN | st.text(), SAID), BODIES)
def test_whatever_arrives_is_a_notice_or_not_for_us(attributes: dict[str, str], body: bytes) -> None:
    try:
        notice = parse(Message("17", attributes, body, datetime.now(UTC)))
    except NotForUs:
        return
    assert notice.bucket
    assert notice.name.encode()
    assert 0 <= notice.generation < 2**63


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["attributes", "binary", "structured"]),
)
def test_every_binding_tells_the_same(name: str, generation: int, binding: str) -> None:
    info = OBJECT | {"name": name, "generation": str(generation)}
    arrived = {
        "attributes": message(info, **(ATTRIBUTES | {"objectId": name, "objectGeneration": str(generation)})),
        "binary": message(info, **BINARY),
        "structured": message(EVENT | {"data": info}),
    }
    assert parse(arrived[binding]) == Notice("calls", name, generation, "audio/wav", 3200)


ADMITTED = rows(
    ("an ending that says audio", "a.wav", None, Selection()),
    ("an ending in capitals", "A.WAV", "text/plain", Selection()),
    ("a name that is all ending", ".mp3", None, Selection()),
    ("a video", "talk.mp4", None, Selection()),
    ("no ending, but a type of audio", "take1", "audio/x-wav", Selection()),
    ("no ending, but a type of video", "take1", "video/mp4", Selection()),
    ("a type in capitals", "take1", "Audio/MPEG; codecs=x", Selection()),
    ("INCLUDE names it", "calls/take1.raw", "text/plain", Selection(include=("calls/*",))),
    ("a star matches slashes too", "a/b/c/d.wav", None, Selection(include=("a/*.wav",))),
    ("case is ignored on both sides", "Calls/TAKE.Wav", None, Selection(include=("cALLS/*.wAV",))),
    ("one of several globs is enough", "b/x", None, Selection(include=("a/*", "b/*"))),
    ("EXCLUDE that does not match", "a.wav", None, Selection(exclude=("*.mp3",))),
    ("a glob of one character", "take1.wav", None, Selection(include=("take?.wav",))),
)


@pytest.mark.parametrize(("name", "content_type", "selection"), ADMITTED)
def test_what_is_wanted_is_admitted(name: str, content_type: str | None, selection: Selection) -> None:
    assert selection.admits(name, content_type) is True


REFUSED = rows(
    ("a text", "notes.txt", "text/plain", Selection(), "not_included"),
    ("a type of nothing", "notes", "", Selection(), "not_included"),
    ("the ending must be at the end", "a.wav.json", "application/json", Selection(), "not_included"),
    ("a type that only holds the word", "x", "application/audio/", Selection(), "not_included"),
    ("INCLUDE that does not name it", "b.wav", "audio/wav", Selection(include=("a*",)), "not_included"),
    ("INCLUDE makes the type count no more", "b", "audio/wav", Selection(include=("a*",)), "not_included"),
    ("EXCLUDE names it", "tmp/a.wav", "audio/wav", Selection(exclude=("tmp/*",)), "excluded"),
    ("EXCLUDE wins over INCLUDE", "a.wav", None, Selection(("*.wav",), ("a*",)), "excluded"),
    ("EXCLUDE ignores case", "TMP/a.wav", None, Selection(exclude=("Tmp/*",)), "excluded"),
    ("a glob covers the whole name", "xtmp/a.wav", None, Selection(include=("tmp/*",)), "not_included"),
)


@pytest.mark.parametrize(("name", "content_type", "selection", "expected"), REFUSED)
def test_what_is_not_wanted_says_which_rule_decided(
    name: str, content_type: str | None, selection: Selection, expected: str
) -> None:
    with pytest.raises(NotForUs) as refused:
        selection.admits(name, content_type)
    assert refused.value.reason == expected


def test_only_the_object_can_tell_where_neither_name_nor_notification_do() -> None:
    assert Selection().admits("take1", None) is None
    assert Selection(exclude=("*.tmp",)).admits("take1", None) is None


def test_all_media_endings_are_written_as_they_are_compared() -> None:
    assert all(ending == ending.lower() and ending.startswith(".") for ending in MEDIA_ENDINGS)


def test_a_reason_for_people_is_short_however_long_the_message_was() -> None:
    with pytest.raises(NotForUs) as refused:
        parse(message(**(ATTRIBUTES | {"eventType": "x" * 1_000_000})))
    assert len(str(refused.value)) < 200


def reason(arrived: Message) -> str:
    with pytest.raises(NotForUs) as refused:
        parse(arrived)
    return refused.value.reason


@given(name=st.text(min_size=1, max_size=100), size=st.none() | st.integers(0, 2**62), kind=st.none() | st.text())
def test_what_we_publish_is_read_as_cloud_storages_own(name: str, size: int | None, kind: str | None) -> None:
    notice = Notice("bucket", name, 1762000000000001, kind, size)
    attributes, data = written(notice)
    assert parse(Message("1", attributes, data, datetime.now(UTC))) == notice


def test_an_object_tells_what_its_notification_would() -> None:
    info = ObjectInfo("bucket", "one.wav", 7, 32_044, "audio/wav")
    assert Notice.of(info) == Notice("bucket", "one.wav", 7, "audio/wav", 32_044)
