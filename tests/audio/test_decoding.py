"""What becomes of every kind of recording, sound or broken."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from subscriber.audio.facts import Facts, Limits
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import BlockCache
from subscriber.errors import Permanent
from tests.audio.making import (
    RATE,
    Memory,
    alike,
    decoded,
    film,
    gsm_wav,
    level,
    recording,
    scaled,
    speech,
    spoiled,
    stereo_wav,
    wav_of,
    with_gap,
)
from tests.audio.specimens import HOPELESS, PLAYLISTS, WHOLE


def kinds(facts: Facts) -> set[str]:
    return {warning.kind for warning in facts.warnings}


def shifted(pcm: bytes, seconds: float) -> bytes:
    return pcm[round(seconds * RATE) * 2 :]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_sound_recording_comes_back_whole_and_without_a_warning(pool: DecoderPool, kind: str) -> None:
    pcm, facts = decoded(pool, WHOLE[kind]())
    assert facts.decoded_seconds == len(pcm) / 2 / RATE == pytest.approx(20, abs=0.05)
    assert facts.declared_seconds in (None, pytest.approx(20, abs=0.05))
    assert not facts.warnings
    delay = 1024 / 48_000 if kind.startswith("aac") else 0  # nothing tells how much of its start is padding
    assert alike(shifted(pcm, delay), speech()) > 0.98


def test_a_cover_of_three_megabytes_is_stepped_over(pool: DecoderPool) -> None:
    """FFmpeg reads it in one go: more than a decoder may ask for at once."""
    cover = b"\0image/png\0\3\0" + bytes(3_000_000)
    frame = b"APIC" + struct.pack(">IH", len(cover), 0) + cover
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    pcm, _ = decoded(pool, b"ID3\3\0\0" + size + frame + WHOLE["mp3"]())
    assert alike(pcm, speech()) > 0.98


def test_what_a_wav_calls_pcm_and_is_not_is_decoded_as_what_it_is(pool: DecoderPool) -> None:
    """As discs carry it. Taken for samples it would be noise, and paid for."""
    pcm, facts = decoded(pool, wav_of(recording("ac3", "ac3", layout="stereo"), channels=2, rate=48_000))
    assert facts.codec == "ac3"
    assert alike(pcm, speech()) > 0.98


def test_pcm_as_we_want_it_is_taken_as_it_is(pool: DecoderPool) -> None:
    assert decoded(pool, wav_of(speech()))[0] == speech()


def test_gsm_is_decoded(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, gsm_wav(5))
    assert facts.codec == "gsm_ms"
    assert len(pcm) / 2 / RATE == pytest.approx(5, abs=0.05)


def test_what_the_container_declares_is_known_before_the_first_sound(pool: DecoderPool) -> None:
    with pool.open(Memory(recording("flac", "flac"))) as decoding:
        assert (decoding.facts.container, decoding.facts.declared_seconds) == ("flac", 20)


def test_a_length_guessed_from_a_bit_rate_is_not_taken_for_declared(pool: DecoderPool) -> None:
    assert decoded(pool, recording("adts", "aac"))[1].declared_seconds is None


@pytest.mark.parametrize("kind", ["mp3", "ogg", "5.1", "webm"])
def test_the_same_bytes_always_give_the_same_sound(pool: DecoderPool, kind: str) -> None:
    """However they arrive, however slowly they are taken, and whatever else is decoded meanwhile."""
    data = WHOLE[kind]()
    first, _ = decoded(pool, data)
    small = BlockCache(kept=1, block_bytes=999).over(Memory(data))
    with pool.open(small) as one, pool.open(Memory(data)) as other:
        pieces = list(zip(one, other, strict=True))
    assert b"".join(piece for piece, _ in pieces) == b"".join(piece for _, piece in pieces) == first


def test_a_tenth_of_a_second_is_a_recording(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, recording("wav", "s24", speech(0.1), rate=RATE))
    assert (len(pcm), facts.warnings) == (3200, ())


def test_a_speaker_at_minus_67_dbfs_is_heard(pool: DecoderPool) -> None:
    quiet = scaled(speech(), 10 ** ((-67 - level(speech())) / 20))
    pcm, _ = decoded(pool, recording("flac", "flac24", quiet))
    assert level(pcm) == pytest.approx(-67, abs=0.5)
    assert alike(pcm, speech()) > 0.97


def test_opposite_channels_do_not_cancel_each_other_out(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, stereo_wav(speech(), scaled(speech(), -1)))
    assert kinds(facts) == {"channels_cancel"}
    assert pcm == speech()


def test_a_file_may_turn_its_channels_over_on_its_way(pool: DecoderPool) -> None:
    second = 2 * RATE
    right = speech()[: 10 * second] + scaled(speech(), -1)[10 * second :]
    pcm, facts = decoded(pool, stereo_wav(speech(), right))
    assert "for 10 s" in facts.warnings[0].message
    assert pcm == speech()


def test_channels_with_nothing_in_common_are_mixed(pool: DecoderPool) -> None:
    ten = 20 * RATE
    caller, callee = speech()[:ten] + bytes(ten), bytes(ten) + speech()[ten:]
    pcm, facts = decoded(pool, stereo_wav(caller, callee))
    assert not facts.warnings
    assert alike(pcm, speech()) > 0.98


def test_of_several_sound_tracks_the_default_is_taken(pool: DecoderPool) -> None:
    pcm, _ = decoded(pool, film(sound=(bytes(len(speech())), speech()), default=1))
    assert alike(pcm, speech()) > 0.98


@pytest.mark.parametrize(("kind", "seconds"), [("mp3", 12), ("flac", 12), ("ogg", 11), ("24-bit", 12)])
def test_a_truncated_file_is_delivered_with_a_warning(pool: DecoderPool, kind: str, seconds: float) -> None:
    data = WHOLE[kind]()
    pcm, facts = decoded(pool, data[: len(data) * 6 // 10])
    assert len(pcm) / 2 / RATE == pytest.approx(seconds, abs=0.1)
    assert facts.warnings[-1].kind == "truncated"
    assert facts.warnings[-1].start == facts.decoded_seconds
    assert alike(pcm, speech()) > 0.98


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "m4a", "webm"])
def test_a_spoiled_place_costs_only_itself_and_is_told(pool: DecoderPool, kind: str) -> None:
    pcm, facts = decoded(pool, spoiled(WHOLE[kind](), at=0.45))
    assert facts.decoded_seconds == pytest.approx(20, abs=0.15)
    assert kinds(facts) & {"bad_packets", "gap_filled"}
    place = min(warning.start for warning in facts.warnings)
    assert alike(pcm[: round(place * RATE) * 2], speech()) > 0.98
    # An MP3 has no timestamps: what was lost of it (0.1 s) nobody can put back.
    lags = range(20 if kind == "mp3" else 1)
    assert max(alike(shifted(pcm, 12), shifted(speech(), 12 + lag / 100)) for lag in lags) > 0.98


def test_later_words_keep_their_time_across_a_gap(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, with_gap(20))
    assert facts.filled_seconds == pytest.approx(20, abs=0.01)
    (warning,) = facts.warnings
    assert warning.kind == "gap_filled"
    assert [warning.start, warning.end] == pytest.approx([5, 25], abs=0.05)
    assert not any(shifted(pcm, 5.1)[: 19 * 2 * RATE])
    assert alike(shifted(pcm, 25.1), shifted(speech(), 5.1)) > 0.98


def test_two_mp3s_glued_together_are_one_recording(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, WHOLE["mp3"]() + recording("mp3", "mp3", rate=22_050))
    assert "format_changed" in kinds(facts)
    assert facts.decoded_seconds == pytest.approx(40, abs=0.1)
    assert alike(pcm[: len(speech())], speech()) > 0.98
    assert alike(pcm[-len(speech()) :], speech()) > 0.9


@pytest.mark.parametrize("second", [{}, {"rate": 44_100, "layout": "stereo"}], ids=["same", "other format"])
def test_a_chained_ogg_is_one_recording(pool: DecoderPool, second: dict[str, str]) -> None:
    pcm, facts = decoded(pool, recording("ogg", "flac") + recording("ogg", "flac", **second))  # type: ignore[arg-type]
    assert facts.decoded_seconds == pytest.approx(40, abs=0.1)
    assert ("format_changed" in kinds(facts)) == bool(second)
    assert alike(shifted(pcm, 20), speech()) > 0.98


def test_a_chain_that_ffmpeg_cannot_follow_is_delivered_as_far_as_it_goes(pool: DecoderPool) -> None:
    pcm, facts = decoded(pool, recording("ogg", "opus") + recording("ogg", "opus", layout="stereo"))
    assert "truncated" in kinds(facts)
    assert alike(pcm, speech()) > 0.98


@pytest.mark.parametrize("kind", HOPELESS)
def test_what_holds_no_sound_is_refused_for_good_with_its_reason(pool: DecoderPool, kind: str) -> None:
    reason, make = HOPELESS[kind]
    with pytest.raises(Permanent) as refused:
        decoded(pool, make())
    assert refused.value.reason == reason
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_no_recording(pool: DecoderPool, seed: int) -> None:
    with pytest.raises(Permanent) as refused:
        decoded(pool, random.Random(seed).randbytes(50_000 * (1 + seed)))  # noqa: S311 - no secret
    assert refused.value.reason in {"undecodable", "no_audio"}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_named_like_a_recording_opens_no_other_file(pool: DecoderPool, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "private.wav"
    other.write_bytes(recording("wav", "s24"))
    with pytest.raises(Permanent) as refused:
        decoded(pool, PLAYLISTS[kind].format(other).encode())
    assert refused.value.reason == "undecodable"


def test_a_recording_longer_than_the_limit_is_refused_before_it_is_decoded(pool: DecoderPool) -> None:
    with pytest.raises(Permanent) as refused, pool.open(Memory(WHOLE["flac"]()), Limits(max_audio_seconds=19)):
        pass
    assert refused.value.reason == "too_long"


def test_a_few_bytes_that_claim_days_of_silence_are_refused(pool: DecoderPool) -> None:
    bomb = with_gap(400_000)
    assert len(bomb) < 300_000
    with pytest.raises(Permanent) as refused:
        decoded(pool, bomb)
    assert refused.value.reason == "too_long"


def test_a_bomb_that_hides_its_length_is_stopped_at_the_limit(pool: DecoderPool) -> None:
    bomb = recording("adts", "aac", bytes(300 * 2 * RATE), rate=8000)
    heard: list[bytes] = []
    with pytest.raises(Permanent) as refused, pool.open(Memory(bomb), Limits(max_audio_seconds=60)) as decoding:
        heard.extend(decoding)
    assert refused.value.reason == "too_long"
    assert 50 * 2 * RATE < sum(map(len, heard)) <= 60 * 2 * RATE


def test_channels_that_nobody_can_place_are_refused(pool: DecoderPool) -> None:
    with pytest.raises(Permanent) as refused:
        decoded(pool, wav_of(bytes(9 * 2 * RATE), channels=9))
    assert refused.value.reason == "no_audio"


def test_what_the_source_raises_passes_through(pool: DecoderPool) -> None:
    class Replaced(Memory):
        def read(self, offset: int, size: int) -> bytes:
            if offset:
                raise LookupError("another generation")
            return super().read(offset, size)

    with pytest.raises(LookupError, match="another generation"), pool.open(Replaced(WHOLE["24-bit"]())) as decoding:
        list(decoding)
