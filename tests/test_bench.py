"""What the measurements stand on: recordings of which no chunk comes twice, and a Whisper that is never asked again."""

from __future__ import annotations

import pytest

from bench.recordings import M4A, MP3, OPUS, Encoding, long_recording
from bench.table import Row, spread, table
from bench.whisper import FixedDelay
from subscriber.audio.cut import cut
from subscriber.audio.flac import encode_flac
from subscriber.audio.pool import DecoderPool
from subscriber.transcribe.guards import judge
from subscriber.transcribe.profiles import profile_of
from subscriber.transcript import Answer, ChunkSpan, Segment
from tests.audio.making import decoded


@pytest.mark.parametrize("encoding", [MP3, M4A, OPUS], ids=lambda encoding: encoding.name)
def test_no_chunk_of_a_long_recording_comes_twice(encoding: Encoding) -> None:
    with DecoderPool() as pool:
        heard = [decoded(pool, long_recording(encoding, 300, seed)) for seed in (0, 1)]
    chunks = [chunk for pcm, _ in heard for chunk in cut([pcm])]
    assert len({chunk.pcm for chunk in chunks}) == len(chunks) >= 20
    for _, facts in heard:
        assert facts.decoded_seconds == pytest.approx(300, abs=1)
        assert not facts.warnings


def test_its_whisper_says_enough_to_be_asked_once() -> None:
    (chunk,) = cut([decoded_minute()[: 25 * 32_000]])
    said = FixedDelay().transcribe(encode_flac(chunk.pcm), "chunk.flac")
    segments = tuple(Segment(one["start"], one["end"], one["text"]) for one in said["segments"])
    answer = Answer(said["text"], "en", said["duration"], segments, (), "whisper-1", None, None)
    span = ChunkSpan(0, 0.0, chunk.seconds, silent=False, loud=chunk.loud)
    text = judge(answer, span, prompt=None, profile=profile_of("whisper-1"))
    assert not text.doubted
    assert not text.warnings


def decoded_minute() -> bytes:
    with DecoderPool() as pool:
        return decoded(pool, long_recording(OPUS, 60))[0]


def test_the_table_says_what_was_missed() -> None:
    printed = table([Row("speed", spread([3.0, 1.0, 2.0]), ">= 4", met=False), Row("beside it", "5")])
    assert printed.splitlines() == [
        "| what      | reached          | goal |        |",
        "| --------- | ---------------- | ---- | ------ |",
        "| speed     | 2.0 (1.0 to 3.0) | >= 4 | MISSED |",
        "| beside it | 5                |      |        |",
    ]
