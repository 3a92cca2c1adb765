"""From an object's bytes to a transcript: decoded, cut, asked for and assembled in one pass."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from subscriber.audio.facts import Limits
from subscriber.audio.pool import DecoderPool
from subscriber.audio.wire import SAMPLE_RATE
from subscriber.drain import Drain
from subscriber.errors import NeighbourDown, Permanent
from subscriber.transcribe.asking import Options
from subscriber.transcribe.speech import Speech
from subscriber.transcribe.turns import Turns
from subscriber.transcript import Hints
from tests.transcribe.scene import OPTIONS, Process, Provider, claim, sentence, silence, speech


class Recording:
    """`audio.source.Bytes` in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def wav(pcm: bytes, channels: int = 1) -> Recording:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm)
    return Recording(file.getvalue())


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool() as pool:
        yield pool


def made(process: Process, decoders: DecoderPool, limits: Limits | None = None) -> Speech:
    return Speech(
        decoders=decoders,
        limits=limits or Limits(),
        turns=Turns(Drain(10)),
        pool=process.pool,
        asker=process.asker,
        transcriber=process.provider,
        outages=process.outages,
        metrics=process.metrics,
    )


def test_a_recording_becomes_a_transcript(tmp_path: Path, decoders: DecoderPool) -> None:
    provider = Provider()
    transcript = made(Process(tmp_path, provider), decoders).transcribe(claim(), wav(speech(25)))
    by_name = sorted(provider.requests, key=lambda request: request.filename)
    assert transcript.text == " ".join(sentence(request) for request in by_name)
    assert (transcript.duration, transcript.language, transcript.timing) == (25.0, "en", "model")
    assert (transcript.model, transcript.audio["codec"]) == ("whisper-1", "pcm_s16le")
    assert transcript.cost_usd == pytest.approx(25 / 60 * 0.006, rel=0.15), "billed by started seconds"


def test_the_same_bytes_again_cost_nothing(tmp_path: Path, decoders: DecoderPool) -> None:
    provider = Provider()
    first = made(Process(tmp_path, provider), decoders).transcribe(claim(), wav(speech(25)))
    asked = len(provider.requests)
    again = made(Process(tmp_path, provider), decoders).transcribe(claim(), wav(speech(25)))
    assert len(provider.requests) == asked
    assert (again.text, again.segments, again.fingerprint) == (first.text, first.segments, first.fingerprint)
    assert (again.billed_seconds, again.cost_usd) == (0.0, 0.0)


def test_silence_is_an_empty_transcript_and_costs_nothing(tmp_path: Path, decoders: DecoderPool) -> None:
    provider = Provider()
    transcript = made(Process(tmp_path, provider), decoders).transcribe(claim(), wav(silence(15)))
    assert (transcript.text, transcript.duration, transcript.cost_usd, provider.requests) == ("", 15.0, 0.0, [])


def test_what_the_decoder_noticed_is_told_with_its_time(tmp_path: Path, decoders: DecoderPool) -> None:
    """Right is left upside down: mixed down, nothing would be heard."""
    left = array("h", speech(20))
    stereo = array("h", [sample for one in left for sample in (one, -one)])
    transcript = made(Process(tmp_path, Provider()), decoders).transcribe(claim(), wav(stereo.tobytes(), channels=2))
    (warning,) = transcript.warnings
    assert warning.kind == "channels_cancel"
    assert 0.0 <= warning.start < 1.0
    assert warning.end > warning.start
    assert transcript.text
    assert "warnings" not in transcript.audio


def test_a_recording_that_is_too_long_ends_dead(tmp_path: Path, decoders: DecoderPool) -> None:
    short = made(Process(tmp_path, Provider()), decoders, Limits(max_audio_seconds=12.0))
    with pytest.raises(Permanent) as verdict:
        short.transcribe(claim(), wav(speech(25)))
    assert verdict.value.reason == "too_long"


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (replace(OPTIONS, usd_per_minute=1.0), True),
        (replace(OPTIONS, models=("gpt-transcribe",)), False),
        (replace(OPTIONS, hints=Hints("de")), False),
        (replace(OPTIONS, hints=Hints(prompt="Ada")), False),
        (replace(OPTIONS, hints=Hints(keywords=("Ada",))), False),
        (replace(OPTIONS, chunk_seconds=15.0), False),
    ],
)
def test_a_fingerprint_tells_who_was_asked_alike(
    tmp_path: Path, decoders: DecoderPool, options: Options, same: bool
) -> None:
    one, other = (
        made(Process(tmp_path, Provider(), how), decoders).transcribe(claim(), wav(silence(1)))
        for how in (OPTIONS, options)
    )
    assert (one.fingerprint == other.fingerprint) is same


def test_the_probe_asks_what_any_chunk_is_asked(tmp_path: Path, decoders: DecoderPool) -> None:
    seen: list[tuple[str, Mapping[str, str | list[str]]]] = []

    class Down(Provider):
        def probe(self, model: str, fields: Mapping[str, str | list[str]]) -> None:
            seen.append((model, fields))
            raise NeighbourDown("whisper", "unavailable", "503")

    provider = Down()
    process = Process(tmp_path, provider, replace(OPTIONS, hints=Hints("de", "Ada")))
    with pytest.raises(NeighbourDown):
        made(process, decoders).probe()
    made(process, decoders).transcribe(claim(), wav(speech(5)))
    assert seen == [(request.model, request.fields) for request in provider.requests]
