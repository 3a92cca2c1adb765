"""The decoders' processes: what they know, what ends them, and that each ends alone."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from subscriber.audio.decoding import Decoding
from subscriber.audio.facts import Limits
from subscriber.audio.pool import ENVIRONMENT, KEPT, KEPT_SECONDS, PATIENCE_SECONDS, DecoderPool
from subscriber.audio.verdicts import facts_of, permanent_of
from subscriber.errors import Permanent, Transient
from tests.audio.making import RATE, Memory, decoded, recording, speech
from tests.daemon import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    """One of its own for each test: who is whose child is looked at."""
    with DecoderPool() as started:
        yield started


def children(pid: int | None) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def await_the_end_of(pid: int) -> None:
    """Returns when the process has ended; nobody has to look again and again."""
    watched = os.pidfd_open(pid)
    try:
        assert select.select([watched], [], [], 20)[0], "it lives on"
    finally:
        os.close(watched)


def long_file() -> Memory:
    return Memory(recording("flac", "flac", speech(120), rate=RATE))


def newest(pool: DecoderPool, before: list[int]) -> int:
    (pid,) = set(children(pool.pid)) - set(before)
    return pid


def test_a_decoder_knows_no_credential_and_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret.json")
    kept = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(kept, True)
    with DecoderPool() as pool, pool.open(long_file()) as decoding:
        next(iter(decoding))
        for pid in (pool.pid, *children(pool.pid)):
            environment = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
            assert {entry.partition(b"=")[0].decode() for entry in environment} == set(ENVIRONMENT)
        (child,) = children(pool.pid)
        # stdin, stdout, stderr, and its end of the socket.
        assert len(list(Path(f"/proc/{child}/fd").iterdir())) <= 5
    os.close(kept)


def test_a_decoder_never_imports_a_cloud() -> None:
    code = "import sys, subscriber.audio.child; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"google", "openai", "grpc", "numpy", "subprocess"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "decoder_crashed"),
        ("raise", "decoder_crashed"),
        ("hang", "decoder_hung"),
        ("spin", "decoder_out_of_time"),
        ("eat", "decoder_out_of_memory"),
    ],
)
def test_a_decoder_that_goes_wrong_condemns_its_file(fault: str, reason: str) -> None:
    limits = Limits(cpu_seconds=1, memory_bytes=64 * 2**20, silence_seconds=0.5 if fault == "hang" else 20)
    with DecoderPool(("--fault", fault)) as pool, pytest.raises(Permanent) as condemned:
        decoded(pool, recording("wav", "s24"), limits)
    assert condemned.value.reason == reason


def test_a_decoder_that_is_killed_from_outside_costs_an_attempt_and_condemns_nobody() -> None:
    with DecoderPool(("--fault", "killed")) as pool, pytest.raises(Transient) as failed:
        decoded(pool, recording("wav", "s24"))
    assert failed.value.reason == "decoder_killed"


def test_a_decoder_dies_alone(pool: DecoderPool) -> None:
    before = children(pool.pid)
    with pool.open(long_file()) as neighbour, pool.open(long_file()) as victim:
        pieces = iter(neighbour)
        heard = next(pieces)
        _, second = sorted(set(children(pool.pid)) - set(before))
        os.kill(second, signal.SIGSEGV)
        with pytest.raises(Permanent) as condemned:
            list(victim)
        assert condemned.value.reason == "decoder_crashed"
        assert "SIGSEGV" in str(condemned.value)
        assert len(heard + b"".join(pieces)) == 120 * 2 * RATE


def await_the_end_of_if_alive(pid: int) -> None:
    try:
        await_the_end_of(pid)
    except ProcessLookupError:
        return


def test_a_process_decodes_file_after_file(pool: DecoderPool) -> None:
    decoded(pool, recording("wav", "s24"))
    (kept,) = children(pool.pid)
    assert len(decoded(pool, recording("flac", "flac"))[0]) == 20 * 2 * RATE
    assert children(pool.pid) == [kept]


def test_a_process_that_met_anything_odd_is_given_no_other_file(pool: DecoderPool) -> None:
    decoded(pool, recording("wav", "s24"))
    watched = os.pidfd_open(children(pool.pid)[0])
    whole = recording("flac", "flac")
    _, facts = decoded(pool, whole[: len(whole) // 2])
    assert facts.warnings
    assert select.select([watched], [], [], 20)[0]
    os.close(watched)


def test_no_more_processes_are_kept_than_a_few(pool: DecoderPool) -> None:
    with ExitStack() as open_ones:
        for pieces in [iter(open_ones.enter_context(pool.open(long_file()))) for _ in range(KEPT + 1)]:
            list(pieces)
        until(lambda: len(children(pool.pid)) <= KEPT, "the one too many has ended")


def test_a_file_waits_while_decoders_get_free_and_has_one_forked_when_none_does(pool: DecoderPool) -> None:
    class Waited(threading.Condition):
        """Five times another file is done meanwhile, which another one takes the decoder of; then none."""

        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == PATIENCE_SECONDS
            self.waits += 1
            pool._done += self.waits <= 5
            return False

    with ExitStack() as open_ones:
        for _ in range(KEPT):
            open_ones.enter_context(pool.open(long_file()))
        pool._changed = waited = Waited()
        open_ones.enter_context(pool.open(long_file()))
        assert waited.waits == 6
        assert len(children(pool.pid)) == KEPT + 1


def test_the_end_of_a_file_lets_the_next_one_begin_also_where_its_process_ends(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriber.audio.pool.PATIENCE_SECONDS", 60.0)

    class Told(threading.Condition):
        waited_for = threading.Event()

        def wait(self, timeout: float | None = None) -> bool:
            self.waited_for.set()
            return super().wait(timeout)

    pool._changed = told = Told()
    with ExitStack() as open_ones, ThreadPoolExecutor() as other:
        first, *_ = [open_ones.enter_context(pool.open(long_file())) for _ in range(KEPT)]
        begun = other.submit(pool.open, long_file())
        assert told.waited_for.wait(20)
        first.close()
        begun.result(20).close()


class Clock:
    """Seconds that a test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_process_that_nobody_needed_for_a_while_is_ended_and_all_that_it_held_here() -> None:
    clock = Clock()
    with DecoderPool(clock=clock) as pool:
        before = descriptors()
        decoded(pool, recording("wav", "s24"))
        (kept,) = children(pool.pid)
        clock.now += KEPT_SECONDS - 0.1
        pool.end_idle()
        decoded(pool, recording("wav", "s24"))
        assert children(pool.pid) == [kept]
        clock.now += KEPT_SECONDS
        pool.end_idle()
        until(lambda: children(pool.pid) == [], "it has ended")
        assert descriptors() == before
        assert len(decoded(pool, recording("wav", "s24"))[0]) == 20 * 2 * RATE


def test_the_process_that_has_waited_least_is_given_the_next_file_and_the_others_grow_old() -> None:
    clock = Clock()
    with DecoderPool(clock=clock) as pool:
        with pool.open(long_file()) as one:
            (surplus,) = children(pool.pid)
            with pool.open(long_file()) as other:
                list(one)
                needed = newest(pool, [surplus])
                clock.now += 1
                list(other)
        for _ in range(round(KEPT_SECONDS)):
            clock.now += 1
            decoded(pool, recording("wav", "s24"))
            pool.end_idle()
        until(lambda: surplus not in children(pool.pid), "the one that is one too many has ended")
        assert children(pool.pid) == [needed]


def test_a_process_at_work_is_never_ended_for_having_waited_before() -> None:
    clock = Clock()
    with DecoderPool(clock=clock) as pool:
        decoded(pool, recording("wav", "s24"))
        (kept,) = children(pool.pid)
        with pool.open(long_file()) as decoding:
            pieces = iter(decoding)
            heard = len(next(pieces))
            clock.now += 2 * KEPT_SECONDS
            pool.end_idle()
            assert heard + sum(map(len, pieces)) == 120 * 2 * RATE
        assert children(pool.pid) == [kept]


def test_the_death_of_a_process_that_has_decoded_before_is_not_laid_on_its_next_file(pool: DecoderPool) -> None:
    decoded(pool, recording("wav", "s24"))
    (kept,) = children(pool.pid)
    os.kill(kept, signal.SIGSEGV)
    await_the_end_of_if_alive(kept)
    assert len(decoded(pool, recording("wav", "s24"))[0]) == 20 * 2 * RATE


def test_in_the_middle_of_a_file_a_fresh_process_goes_on_where_the_other_one_died(pool: DecoderPool) -> None:
    whole, _ = decoded(pool, long_file().data)
    (kept,) = children(pool.pid)
    with pool.open(long_file()) as decoding:
        pieces = iter(decoding)
        heard = next(pieces)
        os.kill(kept, signal.SIGSEGV)
        assert heard + b"".join(pieces) == whole


def test_a_file_that_kills_every_decoder_is_condemned_also_behind_a_good_one() -> None:
    with DecoderPool(("--fault", "crash")) as bad, DecoderPool() as pool:
        decoded(pool, recording("wav", "s24"))
        bad._kept.extend(pool._kept)
        os.kill(children(pool.pid)[0], signal.SIGSEGV)
        pool._kept.clear()
        with pytest.raises(Permanent) as condemned:
            decoded(bad, recording("wav", "s24"))
    assert condemned.value.reason == "decoder_crashed"


def test_leaving_a_decoding_ends_its_process(pool: DecoderPool) -> None:
    before = children(pool.pid)
    with pool.open(long_file()) as decoding:
        next(iter(decoding))
        watched = os.pidfd_open(newest(pool, before))
    assert select.select([watched], [], [], 20)[0]
    os.close(watched)


def test_a_hanging_process_is_killed_when_nobody_wants_it_any_more() -> None:
    with DecoderPool(("--fault", "hang")) as pool, pool.open(long_file()) as decoding:
        watched = os.pidfd_open(children(pool.pid)[0])
        decoding.close()
        assert select.select([watched], [], [], 20)[0]
        os.close(watched)


def test_no_process_outlives_the_pool_and_closing_twice_is_fine() -> None:
    pool = DecoderPool(("--fault", "hang"))
    with pool, pool.open(long_file()):
        watched = [os.pidfd_open(pid) for pid in (pool.pid or 0, *children(pool.pid))]
        pool.close()
        for one in watched:
            assert select.select([one], [], [], 20)[0]
            os.close(one)
    assert pool.pid is None


def test_a_killed_nursery_is_replaced_and_its_decoders_finish() -> None:
    with DecoderPool() as pool, pool.open(long_file()) as running:
        pieces = iter(running)
        heard = len(next(pieces))
        assert pool.pid
        watched = os.pidfd_open(pool.pid)
        os.kill(pool.pid, signal.SIGKILL)
        assert select.select([watched], [], [], 20)[0]
        os.close(watched)
        assert len(decoded(pool, recording("wav", "s24"))[0]) == 20 * 2 * RATE
        assert heard + sum(map(len, pieces)) == 120 * 2 * RATE


def test_recordings_that_wait_for_their_consumers_hold_up_nobody(pool: DecoderPool) -> None:
    with ExitStack() as waiting:
        started: list[Decoding] = [waiting.enter_context(pool.open(long_file())) for _ in range(24)]
        firsts = [next(iter(one)) for one in started]
        assert len(decoded(pool, recording("wav", "s24"))[0]) == 20 * 2 * RATE
        assert len(set(firsts)) == 1


def test_a_decoder_is_never_more_than_ten_seconds_ahead_of_its_consumer(pool: DecoderPool) -> None:
    class Watched(Memory):
        furthest = 0

        def read(self, offset: int, size: int) -> bytes:
            Watched.furthest = max(Watched.furthest, offset)
            return super().read(offset, size)

    source = Watched(recording("wav", "s24", speech(120), rate=RATE))
    heard = 0
    with pool.open(source) as decoding:
        for piece in decoding:
            heard += len(piece) // 2
            # Beside the socket's buffer there is what was read ahead in one go: 256 KiB are 5.5 s here.
            assert Watched.furthest / 3 - heard < 16 * RATE


def test_a_job_has_the_limits_that_it_was_given(pool: DecoderPool) -> None:
    before = children(pool.pid)
    with pool.open(long_file(), Limits(cpu_seconds=77)) as decoding:
        next(iter(decoding))
        pid = newest(pool, before)
        assert resource.prlimit(pid, resource.RLIMIT_CPU) == (77, 82)
        assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_AS)[0] < 700 * 2**20


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1", '"long"', "[]"])
def test_a_decoder_cannot_tell_lengths_that_cannot_be(seconds: str) -> None:
    told = f'{{"container": "x", "codec": "x", "declared_seconds": {seconds}}}'
    with pytest.raises(ValueError, match=r".+"):
        facts_of(told.encode())


@pytest.mark.parametrize("words", [b"", b"[]", b"{}", b'{"reason": "unanswered", "message": ""}', b"\xff"])
def test_a_decoder_cannot_condemn_a_file_with_words_of_its_own(words: bytes) -> None:
    assert permanent_of(words).reason == "decoder_crashed"
