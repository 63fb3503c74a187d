"""Announces over HTTP: queries, replies, and when."""

from contextlib import suppress
from random import Random
from urllib.parse import parse_qs, unquote_to_bytes

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from client.peers.addresses import Address
from client.peers.announcing import (
    INTERVALS,
    MAX_PEERS,
    MAX_REPLY,
    RETRY,
    Announcer,
    Query,
    Reply,
    Turn,
    parse_reply,
    usable,
)
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, RefusedError, RemoteError
from workunits.wire.signalling import Event

HASH, PEER = bytes(range(20)), b"-OS0100-" + bytes(range(244, 256))
REPLY = Reply(60, 30, None, None, ())


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_hashes_survive_the_query(info_hash: bytes, peer_id: bytes) -> None:
    url = Query(info_hash, peer_id, 6881, 5, Event.STARTED).url("http://t/announce")
    pairs = dict(pair.split("=") for pair in url.partition("?")[2].split("&"))
    assert unquote_to_bytes(pairs["info_hash"]) == info_hash
    assert unquote_to_bytes(pairs["peer_id"]) == peer_id


def test_a_query_is_added_to_the_one_that_a_tracker_has() -> None:
    url = Query(HASH, PEER, 6881, 0, Event.STOPPED).url("http://t/announce?member=1")
    fields = parse_qs(url.partition("?")[2], encoding="latin-1")
    assert fields["member"] == ["1"] and fields["event"] == ["stopped"]
    assert fields["numwant"] == ["0"] and fields["compact"] == ["1"]
    assert "event" not in Query(HASH, PEER, 6881, 0).url("http://t/announce")


def test_compact_and_spelled_out_peers_are_read() -> None:
    compact = encode(
        {
            "complete": 1,
            "incomplete": 2,
            "interval": 900,
            "min interval": 60,
            "peers": bytes([127, 0, 0, 1, 0x1A, 0xE1, 1, 2, 3, 4, 0, 0]),
            "peers6": bytes(15) + b"\1\x1a\xe1",
        }
    )
    both = (Address("127.0.0.1", 6881), Address("::1", 6881))
    assert parse_reply(compact) == Reply(900, 60, 1, 2, both)
    peers = [
        {"ip": "127.0.0.1", "port": 6881, "peer id": PEER},
        {"ip": "::1", "port": 6881},
        {"ip": "tracker.example", "port": 6881},
        {"ip": "127.0.0.1", "port": 6881},
    ]
    assert parse_reply(encode({"interval": 900, "peers": peers})).peers == both


def test_a_refusal_says_why_without_control_characters() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_reply(encode({"failure reason": "go \x1b[2Jaway"}))
    assert "go [2Jaway" in caught.value.message and caught.value.hint


def test_intervals_are_bounded() -> None:
    assert parse_reply(encode({"interval": 0})).interval == INTERVALS[0]
    assert parse_reply(encode({"interval": 10**9})).interval == INTERVALS[1]
    assert parse_reply(encode({"interval": 60, "min interval": 10**9})).least == 60


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"interval": -1},
        {"interval": "x"},
        {"interval": 60, "peers": bytes(7)},
        {"interval": 60, "peers6": bytes(17)},
        {"interval": 60, "peers": 5},
        {"interval": 60, "peers": [5]},
        {"interval": 60, "peers": [{"port": 5}]},
        {"interval": 60, "peers": [{"ip": "1.2.3.4", "port": 65536}]},
        {"interval": 60, "complete": -1},
    ],
)
def test_a_reply_that_is_none_is_refused(reply: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_reply(encode(reply))


def test_a_reply_has_limits() -> None:
    with pytest.raises(LimitError):
        parse_reply(encode({"interval": 60, "x": bytes(MAX_REPLY)}))
    many = b"".join(bytes([8, 8, at >> 8, at & 255, 9, 9]) for at in range(2 * MAX_PEERS))
    assert len(parse_reply(encode({"interval": 60, "peers": many})).peers) == MAX_PEERS


@given(st.binary(max_size=200))
def test_bytes_parse_or_are_the_tracker_s_fault(raw: bytes) -> None:
    with suppress(RemoteError):
        parse_reply(raw)


@given(
    st.dictionaries(
        st.sampled_from(["interval", "min interval", "peers", "peers6", "complete"]),
        st.integers() | st.binary(max_size=40) | st.lists(st.binary(max_size=6), max_size=3),
    )
)
def test_dictionaries_parse_or_are_the_tracker_s_fault(fields: dict[str, object]) -> None:
    try:
        reply = parse_reply(encode(fields))
    except RemoteError:
        return
    assert INTERVALS[0] <= reply.least <= reply.interval <= INTERVALS[1]


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://tracker.example/announce", True),
        ("https://tracker.example:8400/announce?key=1", True),
        ("http://192.168.1.1/reboot?x=", False),
        ("http://127.0.0.1:2375/containers/create", False),
        ("udp://tracker.example:80/announce", False),
        ("http://user@tracker.example/announce", False),
        ("http://tracker.example/announce.php?passkey=1", True),
        ("http://192.168.1.1/announce/../reboot?x=", False),
        ("http://192.168.1.1/announce/%2e%2e/reboot?x=", False),
        ("http:///announce", False),
        ("http://tracker.example:99999/announce", False),
        ("http://tracker.example:x/announce", False),
        ("http://[::1/announce", False),
        ("http://tracker.example/announce" + "x" * 1024, False),
        ("", False),
    ],
)
def test_links_name_trackers_and_no_other_services(url: str, fine: bool) -> None:
    assert usable(url) is fine


# -- when ---------------------------------------------------------------------------------------


def due(turn: Turn, now: float, *, seeding: bool = False, hungry: bool = False) -> Event | None:
    return turn.due(now, seeding=seeding, hungry=hungry)


def test_an_announce_starts_and_is_repeated_when_the_tracker_says() -> None:
    turn = Turn(Random(1))
    assert due(turn, 0.0) is Event.STARTED and due(turn, 0.1) is None
    turn.replied(Reply(900, 60, 1, 1, ()), 1.0)
    assert due(turn, 800.0) is None
    assert due(turn, 902.0) is Event.NONE


def test_a_lack_of_peers_asks_as_often_as_the_tracker_allows() -> None:
    turn = Turn(Random(1))
    due(turn, 0.0)
    turn.replied(Reply(900, 60, 1, 1, ()), 0.0)
    assert due(turn, 59.0, hungry=True) is None
    assert due(turn, 67.0, hungry=True) is Event.NONE


def test_the_end_of_a_download_is_told_at_once_and_once() -> None:
    turn = Turn(Random(1))
    due(turn, 0.0)
    turn.replied(REPLY, 0.0)
    assert due(turn, 1.0, seeding=True) is Event.COMPLETED
    turn.replied(REPLY, 1.0)
    assert due(turn, 2.0, seeding=True) is None
    seed = Turn(Random(1))
    assert due(seed, 0.0, seeding=True) is Event.STARTED
    seed.replied(REPLY, 0.0)
    assert due(seed, 1000.0, seeding=True) is Event.NONE


def test_a_tracker_that_fails_is_asked_ever_less_and_told_the_start_again() -> None:
    turn = Turn(Random(1))
    now, waits = 0.0, []
    for _ in range(8):
        assert due(turn, now) is Event.STARTED
        turn.failed(now)
        begun = now
        while turn.next > now:
            now += 1.0
        waits.append(now - begun)
    assert waits[0] < 2 * RETRY[0] and max(waits) <= 1.3 * RETRY[1] and waits[5] > waits[0]


# -- over HTTP ----------------------------------------------------------------------------------


async def ask(status: int, body: bytes, headers: dict[str, str] | None = None) -> Reply:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/announce", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/announce"
            return await Announcer(session).ask(url, Query(HASH, PEER, 6881, 0))
    finally:
        await runner.cleanup()


async def test_a_reply_comes_over_http() -> None:
    assert (await ask(200, encode({"interval": 100}))).interval == 100


async def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(RefusedError):
        await ask(302, b"", {"Location": "http://127.0.0.1:1/"})


async def test_an_endless_reply_is_cut_off() -> None:
    with pytest.raises(LimitError):
        await ask(200, bytes(2 * MAX_REPLY))


def test_what_was_refused_is_asked_for_at_once_when_it_may_be_wanted_now() -> None:
    turn = Turn(Random(0))
    turn.failed(0.0)
    assert turn.due(1.0, seeding=True, hungry=False) is None
    turn.again()
    assert turn.due(1.0, seeding=True, hungry=False) is Event.STARTED
    turn.again()
    assert turn.due(1.0, seeding=True, hungry=False) is None
