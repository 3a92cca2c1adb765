"""How fast recordings become FLAC chunks, and how much memory that takes: `python -m bench.decode`.

The recordings are made on the spot: a minute of our own speech, repeated. CPU time counts all processes, so that other
work on the machine does not show. The daemon's libraries are loaded: the memory is that of a daemon at work.
"""

from __future__ import annotations

import importlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from subscriber.audio.cut import cut
from subscriber.audio.flac import encode_flac
from subscriber.audio.pool import DecoderPool
from subscriber.audio.source import BlockCache, FileBytes
from subscriber.audio.wire import SAMPLE_BYTES, SAMPLE_RATE
from subscriber.recordings import recordings

MINUTE = 60 * SAMPLE_RATE * SAMPLE_BYTES
FORMATS = {
    "MP3, 128 kbit/s stereo": ("mp3", "libmp3lame", "fltp", 44_100, "stereo"),
    "M4A (AAC), mono": ("ipod", "aac", "fltp", 44_100, "mono"),
    "Ogg Opus, mono": ("ogg", "libopus", "s16", 48_000, "mono"),
    "FLAC, stereo": ("flac", "flac", "s16", 48_000, "stereo"),
}


def main() -> None:
    """Print the three tables."""
    with tempfile.TemporaryDirectory() as folder:
        hour = Path(folder) / "recording"
        print("one hour                 decode    cut   FLAC    all   (times realtime, CPU of all processes)   wall")
        for name, (container, codec, sample_format, rate, layout) in FORMATS.items():
            hour.write_bytes(repeated(container, codec, sample_format, rate, layout, minutes=60))
            print(f"{name:24}{speed(hour)}")
        print("\nPSS of the daemon, the nursery and its decoders, in MB")
        for name, hours in (("MP3, 128 kbit/s stereo", 1), ("MP3, 128 kbit/s stereo", 3), ("M4A (AAC), mono", 3)):
            long = Path(folder) / "long"
            container, codec, sample_format, rate, layout = FORMATS[name]
            long.write_bytes(repeated(container, codec, sample_format, rate, layout, minutes=60 * hours))
            print(f"{hours} h of {name:24}{measured('highest_pss', long)}")
            print(f"  and 16 more that wait       {measured('waiting', long)}")


def repeated(container: str, codec: str, sample_format: str, rate: int, layout: str, *, minutes: int) -> bytes:
    """One minute encoded, and its packets muxed that often."""
    file = io.BytesIO()
    minute = encoded_minute(codec, sample_format, rate, layout)
    with av.open(io.BytesIO(minute), "r") as source, av.open(file, "w", format=container) as output:
        original = source.streams.audio[0]
        stream = output.add_stream_from_template(original)
        packets = [packet for packet in source.demux(original) if packet.size]
        length = max((packet.pts or 0) + (packet.duration or 0) for packet in packets) - (packets[0].pts or 0)
        for number in range(minutes):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base = stream, packet.time_base
                copy.pts = copy.dts = (packet.pts or 0) + number * length
                copy.duration = packet.duration
                output.mux(copy)
    return file.getvalue()


def encoded_minute(codec: str, sample_format: str, rate: int, layout: str) -> bytes:
    """A minute of our own speech as one Matroska file."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = cast("AudioStream", output.add_stream(codec, rate=rate, layout=layout, format=sample_format))
        resampler = AudioResampler(format=sample_format, layout=layout, rate=rate)
        for frame in speech():
            encode(output, stream, resampler.resample(frame))
        encode(output, stream, resampler.resample(None))
        output.mux(stream.encode(None))
    return file.getvalue()


def encode(output: OutputContainer, stream: AudioStream, frames: list[AudioFrame]) -> None:
    """Encode and mux."""
    for frame in frames:
        output.mux(stream.encode(frame))


def speech() -> Iterator[AudioFrame]:
    """A minute of the bundled recordings, by our own decoder."""
    pcm = b""
    with DecoderPool() as pool:
        for recording in recordings():
            with pool.open(FileBytes(recording.path)) as decoding:
                pcm += b"".join(decoding)
    for start in range(0, MINUTE, 2 * SAMPLE_RATE):
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLE_RATE)
        frame.sample_rate, frame.pts = SAMPLE_RATE, start // 2
        frame.planes[0].update(pcm[start : start + 2 * SAMPLE_RATE])
        yield frame


def cpu_seconds() -> float:
    """Of this process and of all its descendants that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def speed(path: Path) -> str:
    """One row: each step for itself, then all of it as the daemon does it."""
    begun = cpu_seconds()
    with DecoderPool() as pool, pool.open(BlockCache().over(FileBytes(path))) as decoding:
        pieces = list(decoding)
    decoded = cpu_seconds()
    chunks = list(cut(pieces))
    were_cut = cpu_seconds()
    for chunk in chunks:
        encode_flac(chunk.pcm)
    encoded = cpu_seconds()
    del pieces, chunks
    begun_at, begun_all = time.perf_counter(), cpu_seconds()
    with DecoderPool() as pool, pool.open(BlockCache().over(FileBytes(path))) as decoding:
        for chunk in cut(decoding):
            encode_flac(chunk.pcm)
    seconds = decoding.facts.decoded_seconds
    steps = (decoded - begun, were_cut - decoded, encoded - were_cut, cpu_seconds() - begun_all)
    row = "".join(f"{seconds / step:7.0f}" for step in steps)
    return f"{row}{'':45}{seconds / (time.perf_counter() - begun_at):7.0f}"


def measured(what: str, path: Path) -> str:
    """Call a function below in a process that has made no recordings before."""
    command = [sys.executable, "-m", "bench.decode", what, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ourselves


def pss(pids: list[int]) -> float:
    """Proportional set size of these processes together, in MB: what is shared counts once."""
    found = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            found += int(line.split()[1]) if line.startswith("Pss:") else 0
    return found / 1024


def family(pool: DecoderPool) -> list[int]:
    """This process, the nursery and its decoders."""
    children = Path(f"/proc/{pool.pid}/task/{pool.pid}/children").read_text(encoding="ascii").split()
    return [os.getpid(), pool.pid or 0, *map(int, children)]


def highest_pss(path: Path) -> str:
    """The most that all processes held while the file was decoded, cut and encoded."""
    most = 0.0
    with DecoderPool() as pool, pool.open(BlockCache().over(FileBytes(path))) as decoding:
        for chunk in cut(decoding):
            encode_flac(chunk.pcm)
            most = max(most, pss(family(pool)))
    return f"{most:5.0f}"


def waiting(path: Path) -> str:
    """What a decoder costs that waits for its consumer, and how long one takes to begin."""
    with DecoderPool() as pool, ExitStack() as stack:
        cache = BlockCache()
        before = begun = 0.0
        for number in range(17):
            if number == 1:
                before = pss(family(pool))
                begun = time.perf_counter()
            decoding = stack.enter_context(pool.open(cache.over(FileBytes(path))))
            next(iter(cut(decoding)))
        first_chunk = (time.perf_counter() - begun) / 16
        together = pss(family(pool))
        each = (together - before) / 16
        return f"{together:5.0f}   ({each:.1f} each; a first chunk takes {first_chunk * 1000:.0f} ms)"


if __name__ == "__main__":
    if sys.argv[1:]:
        for name in ("firestore", "gcs", "openai_api", "pubsub"):
            importlib.import_module(f"subscriber.adapters.{name}")
        print({"highest_pss": highest_pss, "waiting": waiting}[sys.argv[1]](Path(sys.argv[2])))
    else:
        main()
