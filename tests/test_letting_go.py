"""What a job held in memory goes with it, however it ends: without waiting until Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from subscriber.app import Daemon
from subscriber.errors import Interrupted, Permanent, Transient
from subscriber.metrics import Metrics
from subscriber.transcribe.asking import Question
from subscriber.transcript import Answer
from tests.crash.lives import NO_SIGNALS, Fate, Stage, spoken
from tests.daemon import until

SOON_SECONDS = 10.0


@pytest.fixture(autouse=True)
def nobody_looks_for_garbage() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sounds() -> int:
    """How many questions are in memory, each with its sound."""
    return sum(isinstance(one, Question) for one in gc.get_objects())


def hang_up() -> None:
    raise ConnectionError("closed by the peer")


def caused(error: Exception) -> Exception:
    """As an adapter raises it: from its library's own error, which remembers where it came from."""
    try:
        hang_up()
    except ConnectionError as cause:
        error.__cause__ = cause
    return error


def in_a_circle(error: Exception) -> Exception:
    """As one is that its future raises again while what it has led to is handled."""
    caused(error)
    assert error.__cause__
    error.__cause__.__context__ = error
    return error


@pytest.mark.parametrize(
    "says",
    [
        lambda _: spoken(),
        lambda _: caused(Transient("bad_answer", "no words")),
        lambda _: caused(Permanent("audio_rejected", "not audio")),
        lambda _: caused(Interrupted("ending")),
        lambda _: caused(RuntimeError("nobody expected it")),
        lambda _: in_a_circle(Transient("bad_answer", "no words")),
    ],
    ids=["transcribed", "failed", "rejected", "interrupted", "unexpected", "circle"],
)
def test_nothing_holds_the_sound_of_a_job_that_has_ended(
    tmp_path: Path, says: Callable[[int], Answer | Exception]
) -> None:
    stage = Stage(tmp_path, says, seconds=3.0)
    stage.live()
    assert stage.provider.requests == 1
    until(lambda: not sounds(), "no thread and no error holds any", SOON_SECONDS)


def test_what_nobody_expected_is_logged_with_the_place_where_it_was_raised(tmp_path: Path) -> None:
    """Of a claim, and of a delivery without one: there a verdict on the file is no less unexpected."""
    stage = Stage(tmp_path, lambda _: caused(RuntimeError("nobody expected it")))
    with capture_logs() as lines:
        stage.live()
        daemon = Daemon(stage.settings, stage._adapters(Fate(None)), Metrics(stage.settings.model), NO_SIGNALS)
        try:
            raise Permanent("empty", "where nobody looks for it")  # noqa: TRY301 - to have come from somewhere
        except Permanent as verdict:
            daemon.worker._pipeline._endings.of_delivery(verdict)
    told = [line["exc_info"] for line in lines if line["event"] == "unexpected_error"]
    assert [type(error) for error in told] == [RuntimeError, Permanent]
