"""Where recordings are cut, and what is called silent."""

from __future__ import annotations

import functools
import itertools
import random
from array import array
from collections.abc import Callable
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscriber.audio.cut import CUTTER_VERSION, FRAME_SAMPLES, STRIDE, Chunk, _powers, cut
from subscriber.audio.pool import DecoderPool
from tests.audio.making import RATE, decoded, level, recording, scaled, speech

SECOND = 2 * RATE


def noise(seconds: float, loudness: float, seed: int = 0) -> bytes:
    """Uniform noise of this amplitude, in units of a 16-bit sample."""
    size = round(seconds * RATE) * 2
    return (a_second_of_noise(loudness, seed) * (int(seconds) + 1))[:size]


@functools.cache
def a_second_of_noise(loudness: float, seed: int) -> bytes:
    chance = random.Random(seed)  # noqa: S311 - no secret
    return array("h", [round(chance.uniform(-loudness, loudness)) for _ in range(RATE)]).tobytes()


def babble(seconds: float, loudness: float = 9000) -> bytes:
    """Like speech: louder and softer several times a second, so that no stretch of it is even."""
    syllable = noise(0.1, loudness) + noise(0.3, loudness / 6)
    size = round(seconds * RATE) * 2
    return (syllable * (int(seconds / 0.4) + 1))[:size]


def mixed(one: bytes, other: bytes) -> bytes:
    return array("h", map(add, array("h", one), array("h", other))).tobytes()


def whole(*parts: bytes) -> list[Chunk]:
    return list(cut([b"".join(parts)]))


def spans(chunks: list[Chunk], *, silent: bool) -> list[tuple[float, float]]:
    """Where the chunks of one sort lie, neighbours joined."""
    groups = itertools.groupby(chunks, key=lambda chunk: chunk.silent)
    joined = [(kind, list(group)) for kind, group in groups]
    return [(group[0].start, group[-1].start + group[-1].seconds) for kind, group in joined if kind == silent]


PARTS = st.lists(
    st.tuples(
        st.sampled_from([noise, babble]),
        st.sampled_from([0, 1, 3, 40, 900, 9000]),
        st.floats(0.01, 40).map(lambda seconds: round(seconds, 2)),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=20, deadline=None)
@given(PARTS, st.integers(0, 2 * 159), st.randoms(use_true_random=False))
def test_chunks_are_the_pcm_to_the_sample_however_it_arrives(
    parts: list[tuple[Callable[[float, float], bytes], int, float]], odd: int, chance: random.Random
) -> None:
    pcm = b"".join(make(seconds, loudness) for make, loudness, seconds in parts) + noise(1, 50)[: odd // 2 * 2]
    chunks = list(cut([pcm]))
    assert b"".join(chunk.pcm for chunk in chunks) == pcm
    borders = sorted({0, len(pcm), *(chance.randrange(len(pcm)) for _ in range(40))})
    assert list(cut(pcm[a:b] for a, b in itertools.pairwise(borders))) == chunks
    for number, chunk in enumerate(chunks):
        assert chunk.index == number
        assert chunk.start_sample == sum(len(before.pcm) for before in chunks[:number]) // 2
        assert chunk.seconds <= 30.01
        assert chunk.seconds >= 3 or len(chunks) == 1
        assert all(0 <= start < end <= chunk.seconds + 0.01 for start, end in chunk.loud)
        assert not (chunk.silent and chunk.loud)


def test_the_cut_is_in_the_middle_of_the_quietest_300_ms_of_the_last_half() -> None:
    pause = noise(0.3, 300)
    chunks = whole(babble(10), pause, babble(8), pause, babble(4), noise(0.3, 200), babble(30))
    assert chunks[0].seconds == pytest.approx(10 + 0.3 + 8 + 0.3 + 4 + 0.15, abs=0.02)


def test_of_equally_quiet_pauses_the_last_is_taken() -> None:
    pause = bytes(SECOND)
    chunks = whole(babble(16), pause, babble(9), pause, babble(30))
    assert chunks[0].seconds == pytest.approx(26.85, abs=0.02)


@pytest.mark.parametrize("seconds", [30, 30.004, 31, 32.99, 33, 33.01, 36, 61.5])
@pytest.mark.parametrize("make", [noise, babble])
def test_no_chunk_is_longer_than_asked_for_and_no_tail_shorter_than_three_seconds(
    make: Callable[[float, float], bytes], seconds: float
) -> None:
    lengths = [chunk.seconds for chunk in whole(make(seconds, 5000))]
    assert sum(lengths) == pytest.approx(seconds, abs=0.001)
    assert max(lengths) <= 30.01
    assert min(lengths) >= 3


def test_a_chunk_leaves_before_more_than_a_chunk_and_a_tail_was_heard() -> None:
    heard = []

    def pieces() -> itertools.chain[bytes]:
        second = noise(1, 5000)
        return itertools.chain.from_iterable([second] for _ in range(100) if heard.append(1) is None)  # type: ignore[func-returns-value]

    next(cut(pieces()))
    assert len(heard) == 33


def test_nothing_has_no_chunks_and_a_few_samples_are_one() -> None:
    assert whole(b"") == []
    assert [len(chunk.pcm) for chunk in whole(noise(1, 900)[:6])] == [6]


@pytest.mark.parametrize("seconds", [0.01, 5, 29, 100])
def test_digital_silence_is_silent_at_any_length(seconds: float) -> None:
    assert all(chunk.silent for chunk in whole(bytes(round(seconds * RATE) * 2)))


def test_rounding_noise_and_a_constant_offset_are_silence() -> None:
    assert all(chunk.silent for chunk in whole(noise(40, 1)))
    assert all(chunk.silent for chunk in whole(array("h", [700] * 40 * RATE).tobytes()))


def test_the_silence_of_a_room_is_found_and_words_keep_their_edges() -> None:
    talk = scaled(speech(20), 0.5)
    heard = talk + bytes(60 * SECOND) + talk + bytes(8 * SECOND) + talk
    (silence,) = spans(whole(mixed(heard, noise(128, 100))), silent=True)
    assert silence == pytest.approx((20.5, 79.5), abs=0.3)


def test_a_pause_of_less_than_ten_seconds_is_paid_for() -> None:
    talk = speech(12)
    assert not any(chunk.silent for chunk in whole(talk, noise(9, 50), talk, noise(9, 50), talk))


def test_a_quiet_voice_in_a_quiet_room_is_never_silent() -> None:
    """-67 dBFS: any absolute threshold that finds a room's silence would lose this speaker."""
    quiet = scaled(speech(62), 10 ** ((-67 - level(speech(62))) / 20))
    chunks = whole(noise(30, 3), quiet)
    assert spans(chunks, silent=False)[0][0] <= 30
    assert spans(chunks, silent=True)[0][1] <= 30
    assert sum(end - start for chunk in chunks for start, end in chunk.loud) > 35


def test_a_quiet_voice_after_a_loud_hum_is_not_taken_for_the_floor() -> None:
    chunks = whole(noise(60, 12_000), scaled(speech(20), 0.05))
    assert spans(chunks, silent=False)[-1][0] <= 60


def test_loud_spans_follow_the_speech_and_join_over_short_pauses() -> None:
    talk, room = noise(2, 4000), noise(1.5, 30)
    (chunk,) = whole(room, talk, noise(0.2, 30), talk, room, talk, room)
    assert chunk.loud == ((1.5, 5.7), (7.2, 9.2))


def test_an_encoded_silence_is_silent_again(pool: DecoderPool) -> None:
    pcm, _ = decoded(pool, recording("mp3", "mp3", bytes(45 * SECOND), rate=44_100))
    assert all(chunk.silent for chunk in whole(pcm))


def test_chunks_too_short_to_find_silence_in_are_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        next(cut([b""], chunk_seconds=5))


def test_the_cutter_changes_its_version_when_it_cuts_otherwise() -> None:
    """These are part of every stored chunk's key. Other numbers here: a higher CUTTER_VERSION there."""
    pause = noise(0.4, 90)
    chunks = whole(babble(20), pause, babble(17), pause, noise(20, 100), babble(3), bytes(15 * SECOND), babble(33))
    assert CUTTER_VERSION == 1
    assert [(chunk.start, chunk.silent, chunk.loud[:1]) for chunk in chunks] == [
        (0.0, False, ((0.0, 20.0),)),
        (20.15, False, ((0.25, 17.25),)),
        (37.9, True, ()),
        (57.3, False, ((0.5, 3.5),)),
        (61.3, True, ()),
        (75.3, False, ((0.5, 29.95),)),
        (105.25, False, ((0.0, 3.55),)),
    ]


@given(
    st.lists(st.integers(-(2**15), 2**15 - 1), min_size=FRAME_SAMPLES, max_size=FRAME_SAMPLES),
    st.sampled_from([0, 1, 181, 2**15 - 1]),
)
def test_powers_are_exact_integers_whatever_they_are_reckoned_with(samples: list[int], loudest: int) -> None:
    """They decide where is cut, and so what is stored under which key: a last bit may not differ between machines."""
    for frame in (samples, [max(-loudest, min(loudest, sample)) for sample in samples], [loudest] * FRAME_SAMPLES):
        heard = frame[::STRIDE]
        exact = len(heard) * sum(sample * sample for sample in heard) - sum(heard) ** 2
        assert _powers(array("h", frame).tobytes()) == [exact]
