"""WebSocket frames, taken apart and put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce.frames import (
    Close,
    FrameError,
    FrameReader,
    Kind,
    encode_close,
    encode_frame,
    parse_close,
    unmask_slowly,
)

LIMIT = 70_000


def masked(first: int, payload: bytes, mask: bytes = b"\x01\x80\xff\x00") -> bytes:
    """A frame as a client sends it; the first byte is given."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + length + mask + hidden


def read(raw: bytes, *cuts: int, limit: int = LIMIT) -> list[tuple[Kind, bytes]]:
    reader, found, before = FrameReader(limit), [], 0
    for cut in (*sorted(cuts), len(raw)):
        reader.push(raw[before:cut])
        while (message := reader.pull()) is not None:
            found.append(message)
        before = max(before, cut)
    return found


def fails(raw: bytes, close: Close, limit: int = LIMIT) -> None:
    with pytest.raises(FrameError) as caught:
        read(raw, limit=limit)
    assert caught.value.close is close


payloads = st.binary(max_size=300) | st.sampled_from([bytes(125), bytes(126), bytes(65536)])


@given(
    st.lists(st.tuples(st.sampled_from([Kind.TEXT, Kind.BINARY]), payloads), max_size=5),
    st.lists(st.integers(0, 1000), max_size=6),
    st.binary(min_size=4, max_size=4),
)
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[tuple[Kind, bytes]], cuts: list[int], mask: bytes
) -> None:
    raw = b"".join(masked(0x80 | kind, payload, mask) for kind, payload in messages)
    assert read(raw, *(cut for cut in cuts if cut <= len(raw))) == messages


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_the_mask_comes_off_without_help_from_c(payload: bytes, mask: bytes) -> None:
    hidden = masked(0x82, payload, mask)[-len(payload) :] if payload else b""
    assert unmask_slowly(mask, hidden) == payload


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_parts_are_joined_and_control_frames_may_stand_between_them(parts: list[bytes]) -> None:
    raw = b""
    for at, part in enumerate(parts):
        kind = Kind.TEXT if at == 0 else Kind.CONTINUATION
        raw += masked(kind | (0x80 if at == len(parts) - 1 else 0), part)
        raw += masked(0x80 | Kind.PING, b"p") if at < len(parts) - 1 else b""
    assert read(raw) == [(Kind.PING, b"p")] * (len(parts) - 1) + [(Kind.TEXT, b"".join(parts))]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x81\x01x", id="not masked"),
        pytest.param(masked(0xC1, b"x"), id="a reserved bit"),
        pytest.param(masked(0x83, b"x"), id="an unknown kind"),
        pytest.param(masked(0x8B, b""), id="an unknown control frame"),
        pytest.param(masked(0x09, b""), id="a control frame in parts"),
        pytest.param(masked(0x89, bytes(126)), id="a long control frame"),
        pytest.param(masked(0x80, b"x"), id="a continuation of nothing"),
        pytest.param(masked(0x01, b"x") + masked(0x81, b"x"), id="a message within a message"),
        pytest.param(b"\x81\xfe\x00\x05" + bytes(9), id="a length that is too long, 2"),
        pytest.param(b"\x81\xff" + bytes(7) + b"\x7e" + bytes(130), id="too long, 8"),
    ],
)
def test_what_breaks_the_protocol_is_refused(raw: bytes) -> None:
    fails(raw, Close.PROTOCOL)


def test_a_message_over_the_limit_is_refused_before_it_is_there() -> None:
    fails(b"\x81\xff" + (2**62).to_bytes(8, "big"), Close.TOO_BIG)
    fails(masked(0x01, bytes(60)) + masked(0x80, bytes(60)), Close.TOO_BIG, limit=100)
    assert read(masked(0x81, bytes(100)), limit=100) == [(Kind.TEXT, bytes(100))]


def test_a_message_of_endless_empty_parts_is_refused() -> None:
    fails(masked(0x01, b"") + masked(0x00, b"") * 20, Close.TOO_BIG, limit=10)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        read(raw)
    except FrameError as error:
        assert error.close in (Close.PROTOCOL, Close.TOO_BIG)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_to_a_client_has_the_shortest_length_and_no_mask(size: int) -> None:
    raw = encode_frame(Kind.TEXT, bytes(size))
    head = len(raw) - size
    assert raw[0] == 0x81
    assert head == 2 + (size > 125) * 2 + (size > 65535) * 6
    assert raw[1] == (size if size < 126 else 126 if size < 65536 else 127)


def test_a_close_says_why() -> None:
    assert encode_close(Close.TOO_BIG, "no") == b"\x88\x04\x03\xf1no"
    assert len(encode_close(Close.TOO_BIG, "x" * 500)) == 127
    assert parse_close(b"") == 1000
    assert parse_close(b"\x03\xe9bye") == 1001
    assert parse_close((4000).to_bytes(2, "big")) == 4000


@pytest.mark.parametrize("payload", [b"\x03", b"\x00\x00", b"\x03\xed", b"\x13\x88"])
def test_a_close_without_a_valid_code_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        parse_close(payload)


def test_a_close_whose_reason_is_not_text_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        parse_close(b"\x03\xe8\xff")
    assert caught.value.close is Close.NOT_TEXT
