"""Paid chunks, kept in the output bucket: what makes a crash cheap, a redelivery and a copy under another name free.

The law of this file: an answer is stored before it is used, and only where there is none; a doubted one makes way for
the final verdict, which stays. Whoever comes second takes what is stored, so that all transcripts of one recording are
made of the same answers. Errors are never stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from subscriber.errors import Gone, PreconditionFailed, Transient
from subscriber.ports import Objects
from subscriber.transcribe.verdicts import from_json, to_json
from subscriber.transcript import ChunkText

__all__ = ["ChunkCache", "chunk_key", "chunk_name", "key_in"]

ROUNDS = 3
"""A stored answer may be deleted (lifecycle, `forget`) or replaced meanwhile, but hardly thrice."""


def chunk_key(pcm: bytes, asked: Mapping[str, Any]) -> str:
    """Name of a chunk's verdict: hex SHA-256 of its PCM and of whom was asked what."""
    told = json.dumps(asked, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(hashlib.sha256(pcm).digest() + told.encode()).hexdigest()


def chunk_name(prefix: str, key: str) -> str:
    """Name of the object that keeps it. Folders of 256: a listing, and a local directory, stay handy."""
    return f"{prefix}{key[:2]}/{key}.json"


def key_in(name: str) -> str:
    """The key of the chunk that an object is kept for: of its verdict, or of an answer that led to it."""
    return name.rpartition("/")[2].partition(".")[0]


class ChunkCache:
    """JSON objects below `prefix` in `bucket`, one a key; on a folder the same. A lifecycle rule may delete them."""

    def __init__(self, objects: Objects, bucket: str, prefix: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._prefix = prefix

    def get(self, key: str) -> ChunkText | None:
        """What was stored, or None: also where what is there cannot be read. Raises Transient, Interrupted."""
        return self._look(key)[1]

    def put(self, key: str, text: ChunkText, source_id: str = "") -> ChunkText:
        """Store a verdict; what is stored from now on, which another process may have brought. Raises as `get` does.

        `source_id` tells for which object it was paid: a job that never came to its transcript can be forgotten too.
        """
        data = to_json(text)
        live = 0
        for _ in range(ROUNDS):
            with suppress(PreconditionFailed):
                self._objects.write(
                    self._bucket,
                    self._name(key),
                    data,
                    content_type="application/json",
                    metadata={"source-id": source_id} if source_id else {},
                    if_generation=live,
                )
                return text
            live, stored = self._look(key)
            if stored and (text.doubted or not stored.doubted):
                return stored
        raise Transient("storage_error", f"the stored answer {key} changed {ROUNDS} times")

    def _look(self, key: str) -> tuple[int, ChunkText | None]:
        """The generation that is stored, 0 where none is, and what can be read of it."""
        found = self._objects.stat(self._bucket, self._name(key))
        if found is None:
            return 0, None
        try:
            return found.generation, from_json(self._objects.read(found))
        except (Gone, ValueError):
            return found.generation, None

    def _name(self, key: str) -> str:
        return chunk_name(self._prefix, key)
