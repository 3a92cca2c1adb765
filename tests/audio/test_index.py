"""What an index will take is known before anything is decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.audio.index import index_bytes
from tests.audio.making import Memory, recording, speech

FRAME_BYTES = 36
"""FFmpeg's index of a frame of AAC."""


@pytest.mark.parametrize("first", [False, True], ids=["at the end", "at the start"])
def test_the_index_of_an_m4a_is_not_taken_for_smaller_than_it_is(first: bool) -> None:
    seconds = 40
    data = recording("ipod", "aac", speech(seconds), rate=48_000)
    at = data.rindex(b"moov") - 4
    if first:
        data = data[at:] + data[:at]
    assert FRAME_BYTES * seconds * 48_000 / 1024 <= index_bytes(Memory(data)) < 200_000


@pytest.mark.parametrize(("container", "codec"), [("wav", "s24"), ("mp3", "mp3"), ("ogg", "opus")])
def test_other_containers_have_none(container: str, codec: str) -> None:
    assert index_bytes(Memory(recording(container, codec, speech(5), rate=48_000))) == 0


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer_no_larger_than_they_justify(data: bytes) -> None:
    assert 0 <= index_bytes(Memory(data)) <= 9 * len(data)
    assert 0 <= index_bytes(Memory(b"\0\0\0\x08ftyp" + data)) <= 9 * len(data)
