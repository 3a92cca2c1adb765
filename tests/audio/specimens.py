"""Recordings and what only looks like one, by name: each decoder's test and the whole daemon's take them from here."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from tests.audio.making import film, recording, speech, wav_of

__all__ = ["HOPELESS", "PLAYLISTS", "WHOLE"]

WHOLE: dict[str, Callable[[], bytes]] = {
    "mp3": lambda: recording("mp3", "mp3", rate=44_100, layout="stereo"),
    "m4a": lambda: recording("ipod", "aac"),
    "aac without a container": lambda: recording("adts", "aac"),
    "ogg": lambda: recording("ogg", "opus"),
    "webm": lambda: recording("webm", "opus"),
    "flac": lambda: recording("flac", "flac"),
    "8 kHz mu-law": lambda: recording("wav", "mulaw", rate=8000),
    "24-bit": lambda: recording("wav", "s24"),
    "float": lambda: recording("wav", "float"),
    "64-bit float": lambda: recording("wav", "double"),
    "5.1": lambda: recording("flac", "flac", layout="5.1"),
    "three channels": lambda: recording("wav", "s24", layout="3.0"),
    "a film": lambda: film(sound=(speech(),)),
}


def png() -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(bytes(9) * 8)) + part(b"IEND", b"")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("speech.wav", recording("wav", "s24"))
    return file.getvalue()


HOPELESS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("empty", lambda: b""),
    "header only": ("no_audio", lambda: wav_of(b"")),
    "half a header": ("undecodable", lambda: wav_of(b"")[:20]),
    "text": ("undecodable", lambda: b"Dear Sir or Madam, please find the recording attached.\n" * 200),
    "HTML": ("undecodable", lambda: b"<!doctype html><html><body><h1>503</h1></body></html>" * 50),
    "JSON": ("undecodable", lambda: b'[{"file": "speech.wav"}]'),
    "zip": ("undecodable", zipped),
    "PNG": ("undecodable", png),
    "gzip": ("undecodable", lambda: gzip.compress(recording("wav", "s24"), mtime=0)),
    "m4a without its index": ("undecodable", lambda: WHOLE["m4a"]()[:100_000]),
    "a film without sound": ("no_audio_stream", lambda: film(sound=())),
}

PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\n{}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
}
"""Texts that name another file, to be filled in, or a host."""
