import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from subscriber.log import configure, get_logger

KEY = "sk-proj-0123456789abcdefghij"
OTHER_SECRET = "correct horse battery"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, google = logging.getLogger(), logging.getLogger("google")
    before = root.handlers, root.level, google.level, google.propagate, logging.raiseExceptions
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers, root.level, google.level, google.propagate, logging.raiseExceptions = before


@pytest.fixture
def stream() -> io.StringIO:
    made = io.StringIO()
    configure("info", "json", stream=made, secrets=[OTHER_SECRET, "none"])
    return made


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(sentence: str = f"no luck with {KEY}") -> None:
    raise RuntimeError(sentence)


def test_a_line_is_json_in_cloud_loggings_fields(stream: io.StringIO) -> None:
    get_logger().warning("attempt", outcome="failed", seconds=1.5, reason=None)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    location = line.pop("logging.googleapis.com/sourceLocation")
    assert (location["file"], location["function"]) == (
        "test_log.py",
        "test_a_line_is_json_in_cloud_loggings_fields",
    )
    assert location["line"].isdigit()
    assert line == {"severity": "WARNING", "message": "attempt", "outcome": "failed", "seconds": 1.5}


def test_what_is_bound_to_a_job_stands_in_each_of_its_lines(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(job="gs://b/a.mp3", message_id="17"):
        get_logger().info("within")
        logging.getLogger("google.api_core").warning("retrying")
    get_logger().info("after")
    within, library, after = lines(stream)
    assert within["job"] == library["job"] == "gs://b/a.mp3"
    assert within["message_id"] == "17"
    assert "job" not in after


def test_an_unexpected_exception_is_reported_with_its_stack(stream: io.StringIO) -> None:
    try:
        fail()
    except RuntimeError as error:
        get_logger().exception("unexpected_error")
        get_logger().error("unexpected_error", exc_info=error)
    for line in lines(stream):
        assert line["@type"].endswith("ReportedErrorEvent")
        assert line["serviceContext"]["service"] == "subscriber"
        assert "in fail" in line["stack_trace"]


def test_an_expected_failure_is_not_reported(stream: io.StringIO) -> None:
    get_logger().error("paused", error="the provider is away")
    (line,) = lines(stream)
    assert not {"@type", "stack_trace", "serviceContext"} & line.keys()


def test_no_secret_is_ever_in_a_line_whoever_wrote_it(stream: io.StringIO) -> None:
    try:
        fail()
    except RuntimeError:
        get_logger().exception(f"failed with {KEY}", nested={"headers": [f"Bearer {KEY}"]}, plain=OTHER_SECRET)
        logging.getLogger("urllib3").error("key %s, url ?X-Goog-Signature=ab12cd", OTHER_SECRET, exc_info=True)
    configure("info", "console", stream=stream, secrets=[OTHER_SECRET])
    get_logger().error(f"failed with {KEY}", plain=OTHER_SECRET)
    for secret in (KEY, OTHER_SECRET, "ab12cd"):
        assert secret not in stream.getvalue()
    assert stream.getvalue().count("***") >= 8


def test_what_a_stranger_named_neither_steers_a_terminal_nor_begins_a_line(stream: io.StringIO) -> None:
    configure("info", "console", stream=stream)
    try:
        fail("\x1b[2J\x07")
    except RuntimeError:
        get_logger().exception("failed\r\x1b[2K", job="gs://in/\x1b]0;title\x07\n2026", nested=["\x9b2J"])
    first, *stack = stream.getvalue().splitlines()
    for told in (r"failed\x0d\x1b[2K", r"\x1b]0;title", r"\x07", r"\x0a2026", r"\x9b2J"):
        assert told in first
    assert any(line.endswith(r"RuntimeError: \x1b[2J\x07") for line in stack)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", stream.getvalue())


def test_a_line_that_cannot_be_written_is_dropped_in_silence_not_shown_unmasked(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("google").error("%d", KEY)
    assert KEY not in stream.getvalue() + "".join(capsys.readouterr())


def test_a_short_key_of_a_local_server_does_not_spoil_the_lines(stream: io.StringIO) -> None:
    get_logger().info("none of the retries helped")
    assert lines(stream)[0]["message"] == "none of the retries helped"


def test_a_line_stays_bounded_whatever_it_is_given(stream: io.StringIO) -> None:
    try:
        fail("x" * 1_000_000)
    except RuntimeError:
        get_logger().exception("long", text="y" * 1_000_000, many=["z" * 10] * 100_000, odd=object())
    assert len(stream.getvalue()) < 15_000
    assert lines(stream)[0]["text"].endswith("(1000000 characters)")


def test_a_field_cannot_take_the_place_of_one_of_cloud_loggings(stream: io.StringIO) -> None:
    get_logger().info("attempt", severity="EMERGENCY", time="never")
    assert lines(stream)[0]["severity"] == "INFO"


def test_levels_below_the_configured_one_are_silent_and_so_is_chatter_of_libraries(stream: io.StringIO) -> None:
    get_logger().debug("quiet")
    configure("debug", "json", stream=stream)
    get_logger().debug("heard")
    chatty = logging.getLogger("openai")
    chatty.setLevel(logging.DEBUG)  # as OPENAI_LOG=debug does
    chatty.debug("Request options: a transcript")
    chatty.warning("heard too")
    chatty.setLevel(logging.NOTSET)
    assert [line["message"] for line in lines(stream)] == ["heard", "heard too"]


def test_googles_library_is_heard_though_it_cuts_itself_off(stream: io.StringIO) -> None:
    logging.getLogger("google").propagate = False
    configure("info", "json", stream=stream)
    logging.getLogger("google.cloud").warning("heard")
    assert lines(stream)[0]["logger"] == "google.cloud"


def test_warnings_of_python_are_lines_too(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"


def test_a_logger_taken_before_configuring_obeys_it() -> None:
    early, stream = get_logger(), io.StringIO()
    early.bind()
    configure("warning", "json", stream=stream)
    early.info("quiet")
    early.warning("heard")
    assert [line["message"] for line in lines(stream)] == ["heard"]


def test_people_at_a_terminal_get_plain_lines_and_collectors_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure(stream=terminal)
    get_logger().info("started")
    configure(stream=pipe)
    get_logger().info("started")
    assert "started" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert lines(pipe)[0]["message"] == "started"
