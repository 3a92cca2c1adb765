"""How many words are wrong, by the way a recording is cut: the daemon's own, and four others beside it.

Ours is the real thing, `subscriber local` on a folder: decoded, cut, judged, asked again where words are missing,
joined. The others get the same decoded sound and the same model, each with its own cuts, and no guards. The recording
is all English samples, one behind the other without a pause, in the order of their manifest. Wrong are substituted,
deleted and inserted words (jiwer) of the spoken text's; before that both texts lose case, punctuation and hyphens,
nothing else: `20` for `twenty` counts as wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jiwer

from bench.samples import Sample, base_model, samples
from bench.table import Row
from subscriber.adapters.local_whisper import LocalWhisper
from subscriber.audio.cut import cut
from subscriber.audio.flac import encode_flac
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import FileBytes
from subscriber.audio.wav import encode_wav
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.whisper_server import Server

__all__ = ["rows"]

GOAL = 0.05
BELOW_WHOLE = 0.03
SECOND = SAMPLE_RATE * SAMPLE_BYTES
CHUNK_SECONDS, OVERLAP_SECONDS = 30, 4


def rows() -> Iterator[Row]:
    """English by five ways of cutting with tiny.en; other languages file by file with base, where it is installed."""
    english = samples("en")
    if not english[0].shared:
        yield Row("recordings of speech", "the shared samples are not here: the package's own are used")
    yield from _english(english)
    yield from _others()


def _english(recordings: list[Sample]) -> Iterator[Row]:
    pcm = b"".join(map(_decoded, recordings))
    said = " ".join(sample.text for sample in recordings)
    with LocalWhisper() as model:
        ours = _wrong(said, _ours(model, pcm))
        others = {
            "the same cuts, without our guards": _joined(model, [chunk.pcm for chunk in cut([pcm])]),
            "whole file in one call": _joined(model, [pcm]),
            "hard cuts at 30 s": _joined(model, _pieces(pcm, CHUNK_SECONDS)),
            "30 s with 4 s overlap, joined": _joined(model, _pieces(pcm, CHUNK_SECONDS - OVERLAP_SECONDS)),
            "30 s with 4 s overlap, stitched by word times": _stitched(model, pcm),
        }
    wrong = {name: _wrong(said, text) for name, text in others.items()}
    whole = wrong["whole file in one call"]
    goal = f"<= {GOAL:.0%}, {BELOW_WHOLE * 100:.0f} points below whole file"
    head = f"wrong words, tiny.en, {len(pcm) / SECOND / 60:.1f} min of English"
    yield Row(f"{head}: ours", f"{ours:.2%}", goal, ours <= GOAL and ours <= whole - BELOW_WHOLE)
    for name, share in wrong.items():
        yield Row(f"{head}: {name}", f"{share:.2%}")


def _others() -> Iterator[Row]:
    """No goal: the base model is what limits them, and none is longer than a chunk."""
    languages = [sample for code in ("de", "es", "fr", "pt") for sample in samples(code)]
    with base_model() as folder:
        if not folder or not languages:
            yield Row("wrong words, base, other languages", "not measured: no samples, or the model is not installed")
            return
        with LocalWhisper(folder) as model:
            for sample in languages:
                pcm = _decoded(sample)
                yield Row(f"wrong words, base: {sample.path.name}", f"{_wrong(sample.text, _ours(model, pcm)):.0%}")


def _ours(model: LocalWhisper, pcm: bytes) -> str:
    """What `subscriber local` writes of it, with a Whisper server in front of the model."""
    with tempfile.TemporaryDirectory() as folder, Server(model) as server:
        inbox, outbox = Path(folder, "in"), Path(folder, "out")
        inbox.mkdir()
        (inbox / "recording.wav").write_bytes(encode_wav(pcm))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SUBSCRIBER_")}
        provider = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-of-no-account"}
        command = [sys.executable, "-m", "subscriber", "local", str(inbox), str(outbox)]
        subprocess.run(command, check=True, capture_output=True, env={**environ, **provider})  # noqa: S603 - ourselves
        return (outbox / "recording.wav.txt").read_text(encoding="utf-8")


def _joined(model: LocalWhisper, pieces: list[bytes]) -> str:
    return " ".join(model.transcribe(encode_flac(piece), "piece.flac")["text"] for piece in pieces)


def _pieces(pcm: bytes, every_seconds: int) -> list[bytes]:
    """30 s from every so many seconds on."""
    return [pcm[at : at + CHUNK_SECONDS * SECOND] for at in range(0, len(pcm), every_seconds * SECOND)]


def _stitched(model: LocalWhisper, pcm: bytes) -> str:
    """Each word from the piece in which it lies further from the edge: before or behind the middle of the overlap."""
    words, step = [], CHUNK_SECONDS - OVERLAP_SECONDS
    pieces = _pieces(pcm, step)
    for number, piece in enumerate(pieces):
        first = OVERLAP_SECONDS / 2 if number else 0.0
        last = step + OVERLAP_SECONDS / 2 if number + 1 < len(pieces) else float("inf")
        answer = model.transcribe(encode_flac(piece), "piece.flac", word_timestamps=True)
        words += [one["word"] for one in answer["words"] if first <= (one["start"] + one["end"]) / 2 < last]
    return " ".join(words)


def _wrong(said: str, heard: str) -> float:
    return float(jiwer.wer(_normal(said), _normal(heard)))


def _normal(text: str) -> str:
    return " ".join(re.sub(r"[^\w']+", " ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).split())


def _decoded(sample: Sample) -> bytes:
    with DecoderPool() as pool, pool.open(FileBytes(sample.path)) as decoding:
        return b"".join(decoding)
