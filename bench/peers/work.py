"""What every peer does with one object: download, ask, upload. No claim, no fence, no decoding, no cache."""

from __future__ import annotations

import os

from google.cloud import storage
from openai import OpenAI

__all__ = ["transcribe"]

_storage = storage.Client()
_openai = OpenAI()


def transcribe(bucket: str, name: str) -> None:
    """Write the text of the object below the same name in OUTPUT_BUCKET. Raises what the SDKs raise."""
    sound = _storage.bucket(bucket).blob(name).download_as_bytes()
    said = _openai.audio.transcriptions.create(model="whisper-1", file=(name, sound))
    blob = _storage.bucket(os.environ["OUTPUT_BUCKET"]).blob(f"{name}.txt")
    blob.upload_from_string(said.text, content_type="text/plain")
