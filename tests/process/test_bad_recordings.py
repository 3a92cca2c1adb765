"""Whatever is uploaded as a recording: a transcript, with a warning where something is missing, or one clear reason."""

from __future__ import annotations

import gzip
import random
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.audio.making import film, gsm_wav, level, recording, scaled, speech, spoiled, stereo_wav, with_gap
from tests.audio.specimens import HOPELESS, PLAYLISTS, WHOLE
from tests.daemon import Daemon
from tests.process.endings import TEXTS, dies, is_done, lives
from tests.process.scenes import Scene
from tests.sound import said, wav

Make = Callable[[], bytes]

SHORT = speech(6)
"""A chunk that a stub's two words explain."""


@pytest.mark.parametrize("kind", HOPELESS)
def test_what_holds_no_sound_is_dead_with_its_reason_and_nothing_is_paid(
    common_scene: Scene, common_daemon: Daemon, kind: str
) -> None:
    reason, make = HOPELESS[kind]
    told = dies(common_scene, common_daemon, f"{kind}.mp3", make(), reason)
    assert 10 < len(told["message"]) < 120


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_are_dead_and_nothing_is_paid(common_scene: Scene, common_daemon: Daemon, seed: int) -> None:
    data = random.Random(seed).randbytes(100_000)  # noqa: S311 - no secret
    dies(common_scene, common_daemon, f"random {seed}.mp3", data, "undecodable", "no_audio")


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_named_like_a_recording_opens_no_other_file(
    common_scene: Scene, common_daemon: Daemon, tmp_path: Path, kind: str
) -> None:
    private = tmp_path / "private.wav"
    private.write_bytes(wav("private"))
    dies(common_scene, common_daemon, f"{kind}.mp3", PLAYLISTS[kind].format(private).encode(), "undecodable")


@pytest.mark.parametrize("data", [wav("talk"), gzip.compress(wav("talk"))], ids=["in name only", "in truth"])
def test_an_object_stored_as_gzip_is_read_as_it_lies_there(
    common_scene: Scene, common_daemon: Daemon, data: bytes
) -> None:
    """Cloud Storage would unpack it on the way, and then it ignores ranges."""
    if data[:4] == b"RIFF":
        lives(common_scene, common_daemon, "unpacked.wav", data, encoding="gzip")
    else:
        told = dies(common_scene, common_daemon, "packed.wav", data, "undecodable", encoding="gzip")
        assert "Content-Encoding" in told["message"]


DAMAGED: dict[str, tuple[set[str], Make]] = {
    "truncated mp3": ({"truncated"}, lambda: truncated(WHOLE["mp3"]())),
    "truncated flac": ({"truncated"}, lambda: truncated(WHOLE["flac"]())),
    "truncated ogg": ({"truncated"}, lambda: truncated(WHOLE["ogg"]())),
    "truncated wav": ({"truncated"}, lambda: truncated(WHOLE["24-bit"]())),
    "mp3 with a spoiled place": ({"bad_packets"}, lambda: spoiled(WHOLE["mp3"](), at=0.45)),
    "flac with a spoiled place": ({"gap_filled"}, lambda: spoiled(WHOLE["flac"](), at=0.45)),
    "ogg with a spoiled place": ({"gap_filled"}, lambda: spoiled(WHOLE["ogg"](), at=0.45)),
    "m4a with a spoiled place": ({"bad_packets"}, lambda: spoiled(WHOLE["m4a"](), at=0.45)),
    "two formats glued together": ({"format_changed"}, lambda: WHOLE["mp3"]() + recording("mp3", "mp3", rate=22_050)),
    "webm with a gap of 20 s": ({"gap_filled"}, lambda: with_gap(20)),
    "channels in antiphase": ({"channels_cancel"}, lambda: stereo_wav(SHORT, scaled(SHORT, -1))),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_delivered_with_a_warning(common_scene: Scene, common_daemon: Daemon, kind: str) -> None:
    warnings, make = DAMAGED[kind]
    document = lives(common_scene, common_daemon, f"{kind}.audio", make(), content_type="audio/x-odd")
    assert warnings <= kinds(document)
    assert document["text"].startswith("speech ")


SOUND: dict[str, Make] = {
    "8 kHz GSM": lambda: gsm_wav(5),
    "8 kHz mu-law": lambda: recording("wav", "mulaw", SHORT, rate=8000),
    "24-bit": lambda: recording("wav", "s24", SHORT),
    "float": lambda: recording("wav", "float", SHORT),
    "5.1": lambda: recording("flac", "flac", SHORT, layout="5.1"),
    "a film": lambda: film(sound=(SHORT,)),
    "speech at -67 dBFS": lambda: recording("flac", "flac24", scaled(SHORT, 10 ** ((-67 - level(SHORT)) / 20))),
}


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_odd_but_sound_is_delivered_without_a_warning(
    common_scene: Scene, common_daemon: Daemon, kind: str
) -> None:
    document = lives(common_scene, common_daemon, f"{kind}.mkv", SOUND[kind]())
    assert kinds(document) == set()
    assert document["text"].startswith("speech ")
    assert [chunk["source"] for chunk in document["chunks"]] in (["paid"], ["cache"])


def test_a_tenth_of_a_second_is_a_recording(common_scene: Scene, common_daemon: Daemon) -> None:
    document = lives(common_scene, common_daemon, "click.wav", recording("wav", "s24", speech(0.1)))
    assert document["duration"] == 0.1
    assert kinds(document) == {"too_much_text"}, "a stub says two words to everything"


def test_silence_is_an_empty_transcript_and_nothing_is_paid(common_scene: Scene, common_daemon: Daemon) -> None:
    asked = common_scene.requests()
    document = lives(common_scene, common_daemon, "silence.flac", recording("flac", "flac", bytes(2 * 16_000 * 60)))
    assert (document["text"], document["segments"], document["duration"]) == ("", [], 60.0)
    assert {chunk["source"] for chunk in document["chunks"]} == {"silent"}
    assert document["usage"] == {"billed_seconds": 0.0, "estimated_cost_usd": 0.0}
    assert common_scene.outputs(f"{TEXTS}/silence.flac")["txt"].data == b"\n"
    assert common_scene.requests() == asked


@pytest.mark.usefixtures("no_fault_is_left")
def test_music_without_words_is_delivered_with_a_warning_after_it_was_asked_again_in_halves(
    common_scene: Scene, common_daemon: Daemon
) -> None:
    asked = common_scene.requests()
    common_scene.control.mode("empty_text")
    document = lives(common_scene, common_daemon, "music.wav", wav("music", 9))
    assert (document["text"], kinds(document)) == ("", {"no_text"})
    assert common_scene.requests() - asked == 3


def test_a_recording_that_is_replaced_while_it_is_read_makes_room_for_the_new_one(scene: Scene) -> None:
    """One slot is held, so that the decoder stands still before it has asked for the second block of 4 MiB."""
    daemon = scene.start(whisper_concurrency=1, chunk_seconds=10, language="en", output=f"{scene.world.output}/{TEXTS}")
    daemon.ready()
    scene.control.hold()
    long = scene.world.upload("talk.wav", repeated(wav("old", 10), 40))
    scene.control.wait_for_requests(1)
    new = scene.world.upload("talk.wav", wav("new"))
    scene.control.release()
    assert daemon.says("attempt", generation=str(long))["outcome"] == "gone"
    assert daemon.says("attempt", generation=str(new))["outcome"] == "transcribed"
    assert scene.record("talk.wav", long)["state"] == "gone"
    assert is_done(scene, "talk.wav", new)["text"] == said(wav("new"))


def test_a_decoder_that_goes_wrong_condemns_its_file_and_nothing_else(scene: Scene) -> None:
    faults = {
        "crash": "decoder_crashed",
        "eat": "decoder_out_of_memory",
        "spin": "decoder_out_of_time",
        "hang": "decoder_hung",
    }
    daemon = scene.start("tests.process.faulty", *faults, output=f"{scene.world.output}/{TEXTS}")
    daemon.ready()
    for fault, reason in faults.items():
        dies(scene, daemon, f"{fault}.wav", wav(fault), reason)
    lives(scene, daemon, "healthy.wav", wav("healthy"))
    assert daemon.ready() == {"ok": True, "state": "pulling"}


def kinds(document: dict[str, list[dict[str, str]]]) -> set[str]:
    """Of the warnings in NAME.json."""
    return {warning["kind"] for warning in document["warnings"]}


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


def repeated(data: bytes, times: int) -> bytes:
    """A WAV, over and over."""
    file = BytesIO()
    with wave.open(BytesIO(data)) as one, wave.open(file, "wb") as all_of_it:
        all_of_it.setparams(one.getparams())
        all_of_it.writeframes(one.readframes(one.getnframes()) * times)
    return file.getvalue()
