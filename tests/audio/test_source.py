from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from subscriber.audio.source import BlockCache, FileBytes
from tests.audio.making import Memory


class Counted(Memory):
    def read(self, offset: int, size: int) -> bytes:
        reads.append((offset, size))
        return super().read(offset, size)


reads: list[tuple[int, int]] = []


@given(st.binary(max_size=100), st.integers(0, 120), st.integers(0, 120), st.integers(1, 40))
def test_blocks_hold_what_the_source_holds(data: bytes, offset: int, size: int, block_bytes: int) -> None:
    blocks = BlockCache(kept=1, block_bytes=block_bytes).over(Memory(data))
    assert blocks.read(offset, size) == data[offset : offset + size]


def test_a_block_is_fetched_once_while_it_is_kept() -> None:
    reads.clear()
    blocks = BlockCache(kept=2, block_bytes=10).over(Counted(bytes(25)))
    for offset in (0, 5, 21, 3, 22, 7):
        blocks.read(offset, 3)
    assert reads == [(0, 10), (20, 5)]


def test_all_sources_share_one_room() -> None:
    cache = BlockCache(kept=3, block_bytes=10)
    views = [cache.over(Memory(bytes([number]) * 30)) for number in range(5)]
    for offset in (0, 10, 20):
        assert [view.read(offset, 2) for view in views] == [bytes([number]) * 2 for number in range(5)]
    assert len(cache._blocks) == 3


def test_a_source_that_is_done_with_leaves_its_room() -> None:
    cache = BlockCache(kept=3, block_bytes=10)
    blocks = cache.over(Memory(bytes(30)))
    blocks.read(0, 30)
    del blocks
    assert not cache._blocks


def test_a_file_is_read_by_ranges(tmp_path: Path) -> None:
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    source = FileBytes(path)
    assert (source.size, source.read(3, 4), source.read(8, 4)) == (10, b"3456", b"89")
