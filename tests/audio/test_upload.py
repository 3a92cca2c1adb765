"""What a provider is sent of a chunk's sound."""

from __future__ import annotations

import pytest

from subscriber.audio.pool import DecoderPool
from subscriber.audio.upload import wav_or_flac
from tests.audio.making import decoded, speech


@pytest.mark.parametrize(("samples", "ending"), [(1, "wav"), (16_000, "wav"), (127_999, "wav"), (128_000, "flac")])
def test_short_sound_is_sent_as_it_is_and_longer_sound_compressed(pool: DecoderPool, samples: int, ending: str) -> None:
    pcm = speech(8)[: 2 * samples]
    upload = wav_or_flac(pcm)
    assert upload.ending == ending
    assert decoded(pool, upload.data)[0] == pcm
    assert wav_or_flac(pcm) == upload
