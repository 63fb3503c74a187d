"""Pieces and blocks tile the blob."""

from hypothesis import given
from hypothesis import strategies as st

from client.peers.layout import Block, Layout


@given(st.integers(0, 3_000_000))
def test_blocks_tile_the_blob(length: int) -> None:
    layout = Layout.of(length)
    at = 0
    for piece in range(layout.count):
        for block in layout.blocks_of(piece):
            assert layout.offset_of(block) == at and layout.holds(block)
            at += block.length
    assert at == length


def test_what_is_outside_is_not_held() -> None:
    layout = Layout.of(20_000)
    for block in [
        Block(2, 0, 1),
        Block(-1, 0, 1),
        Block(0, -1, 1),
        Block(0, 0, 0),
        Block(1, 0, 3617),
    ]:
        assert not layout.holds(block)
    assert layout.holds(Block(1, 0, 3616))
