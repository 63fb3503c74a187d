"""BEP 15 and 41 on bytes alone."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce.datagrams import (
    ANNOUNCE_SIZE,
    KEY_SIZE,
    MAX_DATAGRAM,
    MAX_SCRAPE,
    MAX_URL,
    PROTOCOL,
    WINDOW,
    Announce,
    ConnectionIds,
    encode_announced,
    encode_connected,
    encode_failure,
    encode_scraped,
    parse_announce,
    parse_head,
    parse_scrape,
)
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.wire.signalling import Event

HASH, PEER = b"h" * 20, b"p" * 20
SECRET = bytes(KEY_SIZE)
EVENTS = (Event.NONE, Event.COMPLETED, Event.STARTED, Event.STOPPED, Event.PAUSED)


def announce(
    *,
    event: int = 0,
    left: int = 1,
    port: int = 6881,
    numwant: int = -1,
    key: bytes = b"key!",
    ip: bytes = bytes(4),
    options: bytes = b"",
) -> bytes:
    head = b"connecti" + struct.pack(">I", 1) + b"tran"
    numbers = struct.pack(">QQQI", 2, left, 3, event)
    tail = ip + key + struct.pack(">iH", numwant, port)
    return head + HASH + PEER + numbers + tail + options


def option(data: bytes) -> bytes:
    return b"\x02" + bytes([len(data)]) + data


def test_a_head_has_its_three_fields() -> None:
    head = parse_head(PROTOCOL + bytes(4) + b"tran")
    assert head is not None and head.connecting and head.transaction == b"tran"
    head = parse_head(b"connecti" + bytes([0, 0, 0, 2]) + b"tran" + HASH)
    assert head is not None and not head.connecting
    assert (head.connection, head.action) == (b"connecti", 2)
    head = parse_head(b"connecti" + bytes(4) + b"tran")
    assert head is not None and not head.connecting


@pytest.mark.parametrize("size", [0, 1, 15, MAX_DATAGRAM + 1])
def test_what_is_too_short_or_too_long_has_no_head(size: int) -> None:
    assert parse_head(bytes(size)) is None


@given(
    st.sampled_from(range(5)),
    st.integers(0, 2**64 - 1),
    st.integers(1, 65535),
    st.integers(-(2**31), 2**31 - 1),
    st.binary(min_size=4, max_size=4),
)
def test_every_field_of_an_announce_is_read(
    event: int, left: int, port: int, numwant: int, key: bytes
) -> None:
    raw = announce(event=event, left=left, port=port, numwant=numwant, key=key)
    assert len(raw) == ANNOUNCE_SIZE
    assert parse_announce(raw) == Announce(
        HASH,
        PEER,
        port,
        left,
        EVENTS[event],
        numwant if numwant >= 0 else None,
        key if any(key) else b"",
        3,
        2,
    )


def test_the_ip_field_changes_nothing() -> None:
    assert parse_announce(announce(ip=bytes([198, 51, 100, 9]))) == parse_announce(announce())


@pytest.mark.parametrize(
    "raw", [announce()[:-1], announce(event=5), announce(event=2**32 - 1), announce(port=0)]
)
def test_a_malformed_announce_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_announce(raw)
    assert caught.value.hint


@given(st.text(alphabet=[chr(n) for n in range(32, 127)], max_size=700), st.integers(1, 255))
def test_url_data_is_joined_from_all_its_pieces(url: str, size: int) -> None:
    raw = url.encode()
    pieces = b"".join(option(raw[at : at + size]) for at in range(0, len(raw), size))
    for end in (b"", b"\x00", b"\x00\xff\xff ignored"):
        assert parse_announce(announce(options=pieces + end)).url == url


def test_other_options_are_passed_over() -> None:
    options = b"\x01\x01" + b"\x7f\x03abc" + option(b"/announce") + b"\x01" + option(b"?a=1")
    assert parse_announce(announce(options=options)).url == "/announce?a=1"
    # Old clients end an announce with two bytes of zeros.
    assert parse_announce(announce(options=b"\0\0")).url == ""


@pytest.mark.parametrize("options", [b"\x02", b"\x02\x05abc", b"\x09\x01", option(b"\xff")])
def test_options_that_do_not_end_or_are_not_text_are_refused(options: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_announce(announce(options=options))


def test_endless_url_data_is_refused() -> None:
    with pytest.raises(LimitError):
        parse_announce(announce(options=option(b"x" * 255) * (MAX_URL // 255 + 1)))


@given(st.integers(1, MAX_SCRAPE))
def test_a_scrape_names_its_torrents_in_order(count: int) -> None:
    hashes = tuple(bytes([number]) * 20 for number in range(count))
    assert parse_scrape(bytes(16) + b"".join(hashes)) == hashes


@pytest.mark.parametrize("raw", [bytes(16), bytes(17), bytes(35), bytes(37)])
def test_a_scrape_of_nothing_or_of_parts_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_scrape(raw)


def test_a_scrape_of_too_many_is_refused() -> None:
    with pytest.raises(LimitError):
        parse_scrape(bytes(16 + 20 * (MAX_SCRAPE + 1)))


@given(st.binary(max_size=MAX_DATAGRAM))
def test_any_bytes_are_read_or_are_the_remotes_fault(raw: bytes) -> None:
    head = parse_head(raw)
    assert (head is None) == (len(raw) < 16)
    for parse in (parse_announce, parse_scrape):
        try:
            parse(raw)
        except RemoteError as error:
            assert encode_failure(b"tran", error).startswith(b"\0\0\0\x03tran")


@given(
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.floats(0, 1e9),
    st.floats(0, 200),
)
def test_a_connection_id_is_good_for_one_minute_and_no_longer_than_two(
    source: bytes, now: float, later: float
) -> None:
    ids = ConnectionIds(SECRET)
    connection = ids.issue(source, now)
    good = ids.valid(connection, source, now + later)
    if later <= WINDOW * 0.999:
        assert good
    if later > 2 * WINDOW:
        assert not good


def test_a_connection_id_is_of_one_address_and_one_process() -> None:
    ids = ConnectionIds(SECRET)
    connection = ids.issue(b"\x7f\0\0\1", 50.0)
    assert len(connection) == 8 and connection != PROTOCOL
    assert not ids.valid(connection, b"\x7f\0\0\2", 50.0)
    assert not ids.valid(connection, bytes(16), 50.0)
    assert not ids.valid(bytes(8), b"\x7f\0\0\1", 50.0)
    assert not ConnectionIds(b"x" * KEY_SIZE).valid(connection, b"\x7f\0\0\1", 50.0)
    with pytest.raises(ValueError, match="secret"):
        ConnectionIds(b"short")


def test_replies_are_laid_out_as_bep_15_says() -> None:
    assert encode_connected(b"tran", b"connecti") == b"\0\0\0\0tranconnecti"
    assert encode_announced(b"tran", 900, 2, 1, b"peers!") == (
        b"\0\0\0\1tran" + struct.pack(">III", 900, 2, 1) + b"peers!"
    )
    assert encode_scraped(b"tran", [(1, 2, 3), (4, 5, 6)]) == (
        b"\0\0\0\2tran" + struct.pack(">IIIIII", 1, 2, 3, 4, 5, 6)
    )
    failed = encode_failure(b"tran", MalformedError("it is wrong", hint="do it right"))
    assert failed == b"\0\0\0\3tranit is wrong; do it right"
