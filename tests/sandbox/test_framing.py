"""Frames arrive as they were sent, however the stream is cut; none is larger than it may be."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.framing import Framing, frame
from workunits.errors import LimitError, MalformedError, RemoteError

Frame = tuple[bytes, bytes]
LIMITS = {b"A": 0, b"B": 5}


def read(stream: bytes, step: int, framing: Framing | None = None) -> list[Frame]:
    framing = framing or Framing("test", LIMITS.get)
    pieces = (stream[at : at + step] for at in range(0, len(stream), step))
    return [each for piece in pieces for each in framing.feed(piece)]


whole = st.one_of(
    st.tuples(st.just(b"A"), st.just(b"")), st.tuples(st.just(b"B"), st.binary(max_size=5))
)


@given(st.lists(whole, max_size=8), st.integers(1, 20))
def test_frames_are_read_in_any_slices(frames: list[Frame], step: int) -> None:
    assert read(b"".join(frame(*each) for each in frames), step) == frames


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (struct.pack(">cI", b"B", 6), LimitError),
        (struct.pack(">cI", b"B", 2**32 - 1), LimitError),
        (struct.pack(">cI", b"C", 0), MalformedError),
    ],
)
def test_a_header_is_enough_to_refuse_a_frame(header: bytes, error: type[Exception]) -> None:
    assert read(header[:-1], 1) == []
    with pytest.raises(error, match="the test "):
        read(header, 1)


def test_what_one_frame_allows_the_next_one_is_measured_by() -> None:
    allowed = {b"A": 3}
    framing = Framing("test", allowed.get)
    frames = framing.feed(frame(b"A", b"abc") * 2)
    assert next(frames) == (b"A", b"abc")
    allowed[b"A"] = 2
    with pytest.raises(LimitError):
        next(frames)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_noise_never_does_more_than_raise(noise: bytes, step: int) -> None:
    with suppress(RemoteError):
        assert all(len(payload) <= LIMITS[kind] for kind, payload in read(noise, step))
