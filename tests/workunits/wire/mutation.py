"""Frames with a few wrong bytes."""

from hypothesis import strategies as st

from workunits.errors import RemoteError
from workunits.wire import work

Message = work.FromPeer | work.FromTracker


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[Message]) -> bytes:
    """The frame of one of ``messages``, with one to three bytes changed."""
    frame = bytearray(work.encode(draw(messages)))
    for _ in range(draw(st.integers(1, 3))):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame)


def check_spelling(frame: bytes) -> None:
    """Each side refuses ``frame``, or reads a message that is spelled like it."""
    for parse in (work.parse_from_peer, work.parse_from_tracker):
        try:
            message = parse(frame)
        except RemoteError:
            continue
        assert work.encode(message) == frame
