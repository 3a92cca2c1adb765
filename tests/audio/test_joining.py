"""What the demo makes of recordings is as long as they are, says what they say, and the film is one."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest

from subscriber.audio.cut import cut
from subscriber.audio.joining import PAUSE_SECONDS, joined
from subscriber.audio.pool import DecoderPool
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.demo.material import LONG_SECONDS, made
from subscriber.recordings import recordings
from tests.audio.making import alike, decoded
from tests.sound import sha256


def test_recordings_follow_each_other_with_a_pause(pool: DecoderPool) -> None:
    first, second = recordings()[:2]
    pcm, facts = decoded(pool, joined([first.path, second.path]))
    seconds = first.seconds + second.seconds + 2 * PAUSE_SECONDS
    assert facts.decoded_seconds == pytest.approx(seconds, abs=0.2)
    alone, _ = decoded(pool, second.path.read_bytes())
    start = round((first.seconds + PAUSE_SECONDS) * SAMPLE_RATE) * SAMPLE_BYTES
    assert alike(pcm[start : start + len(alone)], alone) > 0.8


def test_a_film_has_pictures_that_change_and_sound_of_the_same_length() -> None:
    (shortest, *_) = recordings()
    with av.open(io.BytesIO(joined([shortest.path], picture=True)), "r") as film:
        lengths = {stream.type: float((stream.duration or 0) * (stream.time_base or 0)) for stream in film.streams}
        brightness = [sum(bytes(frame.planes[0])) for frame in film.decode(video=0)]
    assert set(lengths) == {"audio", "video"}
    assert lengths["audio"] == pytest.approx(lengths["video"], abs=0.3)
    assert brightness[-1] > brightness[0]


def test_the_long_one_takes_minutes_and_no_two_of_its_chunks_are_alike(tmp_path: Path, pool: DecoderPool) -> None:
    film, programme = (one.written(tmp_path) for one in made())
    assert film.path.suffix == ".mp4"
    assert programme.seconds >= LONG_SECONDS
    pcm, facts = decoded(pool, programme.path.read_bytes())
    assert facts.decoded_seconds == pytest.approx(programme.seconds, abs=1)
    texts = [sha256(chunk.pcm) for chunk in cut([pcm])]
    assert len(texts) == len(set(texts)) >= 7
