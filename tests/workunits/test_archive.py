"""The ledger file: whatever the slices, the same items; whatever the bytes, no surprise."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.archive import Items, frame
from workunits.errors import LimitError, MalformedError, SwarmError


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 50))
def test_items_come_back_in_any_slices(items: list[bytes], size: int) -> None:
    raw = b"".join(map(frame, items))
    parser = Items()
    found: list[bytes] = []
    for at in range(0, len(raw), size):
        found += parser.feed(raw[at : at + size])
    parser.end()
    assert found == items


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_noise_never_does_more_than_be_refused(pieces: list[bytes]) -> None:
    parser = Items(limit=100)
    with suppress(SwarmError):
        for piece in pieces:
            list(parser.feed(piece))
        parser.end()


@pytest.mark.parametrize("raw", [b"x:", b"01:a", b"-1:a", b"123456789", b":", b" 1:a"])
def test_what_is_no_length_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        list(Items().feed(raw))


def test_an_item_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitError):
        list(Items(limit=10).feed(b"11:"))


@pytest.mark.parametrize("raw", [b"5", b"5:", b"5:abcd"])
def test_a_file_that_is_cut_off_is_noticed(raw: bytes) -> None:
    parser = Items()
    assert list(parser.feed(raw)) == []
    with pytest.raises(MalformedError, match="cut off"):
        parser.end()
