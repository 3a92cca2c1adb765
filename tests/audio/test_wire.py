"""What the daemon and a decoder say to each other: how frames travel, and how few a short file takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriber.audio import jobs
from subscriber.audio.facts import Limits
from subscriber.audio.pool import DecoderPool
from subscriber.audio.wire import DONE, LONGEST_FRAME_BYTES, OPENED, PCM, READ, READ_AHEAD_BYTES, Link, ProtocolError
from tests.audio.making import RATE, Memory, recording, speech
from tests.sound import wav

FRAMES = st.lists(st.tuples(st.sampled_from([OPENED, PCM, READ, DONE]), st.binary(max_size=200), st.booleans()))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Counted(Memory):
    """Bytes that know how often they were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return super().read(offset, size)


@given(FRAMES)
def test_frames_arrive_whole_and_in_order_whichever_travel_together(frames: list[tuple[bytes, bytes, bool]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender, receiver = Link(ours), Link(theirs)
        for kind, payload, more in frames:
            sender.send(kind, payload, more=more)
        sender.send(DONE)
        assert [receiver.receive() for _ in frames] == [(kind, payload) for kind, payload, _ in frames]
        assert receiver.receive() == (DONE, b"")


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=5))
def test_frames_are_told_apart_wherever_the_socket_cuts_them(payload: bytes, cuts: list[int]) -> None:
    class Pieces(list[bytes]):
        def sendall(self, data: bytes) -> None:
            self.append(data)

        def recv(self, _size: int) -> bytes:
            return self.pop(0) if self else b""

    pieces = Pieces()
    link = Link(pieces)  # type: ignore[arg-type]
    link.send(PCM, payload, more=True)
    link.send(DONE, payload)
    (data,) = pieces
    places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    pieces[:] = [data[a:b] for a, b in pairwise(places)]
    assert [link.receive(), link.receive()] == [(PCM, payload), (DONE, payload)]
    with pytest.raises(EOFError):
        link.receive()


def test_a_small_frame_goes_out_with_the_next_one(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.setblocking(False)
    link = Link(ours)
    link.send(OPENED, b"facts", more=True)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    link.send(DONE)
    assert theirs.recv(1000).endswith(b"facts" + b"E" + bytes(4))


def test_a_decoder_holds_little_of_a_short_file_with_much_sound(ends: tuple[socket.socket, socket.socket]) -> None:
    """An hour of silence is a short FLAC: what is kept for the next frame must not grow with it."""
    ours, theirs = ends
    heard = bytearray()

    def listen() -> None:
        while data := theirs.recv(2**20):
            heard.extend(data)

    listener = threading.Thread(target=listen)
    listener.start()
    link = Link(ours)
    for _ in range(101):
        link.send(PCM, bytes(60_000), more=True)
    ours.close()
    listener.join()
    assert len(heard) >= 100 * 60_000


def test_a_frame_that_is_too_long_is_no_frame(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.sendall(PCM + (LONGEST_FRAME_BYTES + 1).to_bytes(4, "little"))
    with pytest.raises(ProtocolError):
        Link(theirs).receive()


def test_a_short_file_is_handed_over_at_once_and_never_asked_for() -> None:
    source = Counted(wav(seconds=5))
    assert source.size <= READ_AHEAD_BYTES
    with DecoderPool() as pool, pool.open(source) as decoding:
        assert sum(map(len, decoding)) == 5 * 2 * RATE
    assert source.reads == [(0, READ_AHEAD_BYTES)]


class Tape:
    """A socket that keeps what is sent and hands it out again, and counts both."""

    def __init__(self) -> None:
        self.data = b""
        self.sent = self.looks = 0

    def sendall(self, data: bytes) -> None:
        self.data += data
        self.sent += 1

    def recv(self, size: int) -> bytes:
        self.looks += 1
        data, self.data = self.data[:size], self.data[size:]
        return data


def test_what_a_short_file_has_to_say_is_sent_at_once_and_heard_at_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_limit", lambda *_: None)  # this process is to go on without
    tape, data = Tape(), wav()
    link = Link(tape)  # type: ignore[arg-type]
    link.send_json(*jobs._verdict(link, {"size": len(data), **asdict(Limits())}, data, None))
    assert [link.receive()[0] for _ in range(3)] == [OPENED, PCM, DONE]
    assert (tape.sent, tape.looks) == (1, 1)


def test_a_long_file_tells_of_itself_before_its_sound_is_awaited() -> None:
    data = recording("flac", "flac", speech(120), rate=RATE)
    assert len(data) > READ_AHEAD_BYTES
    with DecoderPool(("--fault", "hang")) as pool, pool.open(Memory(data)) as decoding:
        assert decoding.facts.declared_seconds == pytest.approx(120, abs=0.1)
