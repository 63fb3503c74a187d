"""Heads of HTTP requests: what is ours to answer, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce.requests import RequestParser, accept, may_be_ours
from workunits.errors import MalformedError

PLAIN = b"GET /announce?a=1 HTTP/1.1\r\nHost: tracker\r\nUser-Agent: x"
OPENING = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}


def parse(head: bytes) -> object:
    return RequestParser().parse(head)


def test_a_plain_request_has_a_target_and_fields() -> None:
    found = RequestParser().parse(PLAIN + b"\r\nX-Real:  a b \xe9 \t")
    assert found is not None
    target, fields = found
    assert target == "/announce?a=1"
    assert fields.named == {"host": "tracker", "user-agent": "x", "x-real": "a b \xe9"}
    assert (fields.upgrading, fields.last) == (False, False)


def test_fields_that_were_seen_before_are_read_the_same() -> None:
    parser = RequestParser()
    first, second = parser.parse(PLAIN), parser.parse(PLAIN.replace(b"a=1", b"b=2"))
    assert first is not None and second is not None
    assert second[0] == "/announce?b=2"
    assert first[1] is second[1]
    for number in range(3000):
        assert parser.parse(PLAIN + b"\r\nN: %d" % number) is not None
    assert parser.parse(PLAIN + b"\r\nbad") is None
    assert parser.parse(PLAIN + b"\r\nbad") is None


@pytest.mark.parametrize(
    "target", ["/announce", "/scrape?info_hash=x", "/announce/0123abcd?x", "/scrape/k"]
)
def test_announces_and_scrapes_are_ours(target: str) -> None:
    found = RequestParser().parse(f"GET {target} HTTP/1.1\r\nHost: t".encode())
    assert found is not None and found[0] == target


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: t",
        b"GET /announcements HTTP/1.1\r\nHost: t",
        b"POST /announce HTTP/1.1\r\nHost: t",
        b"HEAD /announce HTTP/1.1\r\nHost: t",
        b"GET /announce HTTP/1.0\r\nHost: t",
        b"GET /announce  HTTP/1.1\r\nHost: t",
        b"GET /announce?a b HTTP/1.1\r\nHost: t",
        b"GET /announce?\xff HTTP/1.1\r\nHost: t",
        b"GET /announce?\x00 HTTP/1.1\r\nHost: t",
        b"GET http://t/announce HTTP/1.1\r\nHost: t",
        b"GET /announce HTTP/1.1",
        b"GET /announce HTTP/1.1\r\nUser-Agent: x",
        PLAIN + b"\r\nHost: other",
        PLAIN + b"\r\nContent-Length: 0",
        PLAIN + b"\r\ntransfer-encoding: chunked",
        PLAIN + b"\r\nExpect: 100-continue",
        PLAIN + b"\r\nUpgrade: h2c",
        PLAIN + b"\r\n folded",
        PLAIN + b"\r\nno colon",
        PLAIN + b"\r\nspace : x",
        PLAIN + b"\r\n: x",
        PLAIN + b"\r\na: \x00",
        PLAIN + b"\r\na: x\ny: z",
        PLAIN + b"\r\na: x\ry: z",
    ],
)
def test_anything_else_is_not_ours(head: bytes) -> None:
    assert parse(head) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_ours_or_not(raw: bytes) -> None:
    for head in (raw, b"GET /announce HTTP/1.1\r\n" + raw, PLAIN + raw, PLAIN + b"\r\n" + raw):
        parse(head)
        may_be_ours(head)


@pytest.mark.parametrize(
    ("fields", "upgrading", "last"),
    [
        (b"Connection: close", False, True),
        (b"connection: Keep-Alive, CLOSE", False, True),
        (b"Connection: keep-alive", False, False),
        (b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade", True, False),
        (b"Upgrade: websocket", False, False),
    ],
)
def test_a_connection_is_closed_or_upgraded_when_asked(
    fields: bytes, upgrading: bool, last: bool
) -> None:
    found = RequestParser().parse(PLAIN + b"\r\n" + fields)
    assert found is not None
    assert (found[1].upgrading, found[1].last) == (upgrading, last)


def test_a_start_may_become_a_request_for_us() -> None:
    for whole in (b"GET /announce?x", b"GET /scrape?x"):
        assert all(may_be_ours(whole[:size]) for size in range(len(whole) + 1))
    assert not any(map(may_be_ours, (b"POST", b"GET /a/", b"GET /api", b"\x16\x03", b"get /s")))


def test_a_websocket_is_accepted_as_the_rfc_shows() -> None:
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accept(OPENING)


@pytest.mark.parametrize(
    "change",
    [
        {"sec-websocket-version": "8"},
        {"sec-websocket-key": ""},
        {"sec-websocket-key": "c2hvcnQ="},
        {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ"},
        {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==\xe9"},
    ],
)
def test_a_websocket_of_another_kind_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(MalformedError):
        accept(OPENING | change)
