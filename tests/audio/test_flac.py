from __future__ import annotations

import hashlib

import pytest

from subscriber.audio.flac import encode_flac
from subscriber.audio.pool import DecoderPool
from tests.audio.making import decoded, speech


@pytest.mark.parametrize("samples", [1, 15, 1600, 4096, 4097, 480_000])
def test_a_chunk_comes_back_to_the_bit(pool: DecoderPool, samples: int) -> None:
    pcm = speech(30)[: samples * 2]
    assert decoded(pool, encode_flac(pcm))[0] == pcm


def test_the_same_pcm_gives_the_same_bytes_with_its_md5_and_without_a_writers_name() -> None:
    pcm = speech(30)
    flac = encode_flac(pcm)
    assert flac == encode_flac(pcm)
    assert hashlib.md5(pcm, usedforsecurity=False).digest() in flac[:64]
    assert b"Lavf" not in flac[:500]


def test_speech_needs_about_half_the_bytes() -> None:
    assert len(encode_flac(speech(30))) < 0.65 * len(speech(30))
