"""The UDP tracker: who is answered, with how much, and over real sockets."""

import asyncio
import struct
import time
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.announce.conftest import Clock
from tests.tracker.announce.test_datagrams import EVENTS, HASH, PEER, option
from tracker.announce.admission import Admission, Mode
from tracker.announce.datagrams import KEY_SIZE, MAX_SCRAPE, PROTOCOL
from tracker.announce.handlers import AnnounceService
from tracker.announce.http import MAX_PEERS
from tracker.announce.udp import UdpService, serve_udp
from workunits.passes import SignedPass
from workunits.signing import Identity
from workunits.wire.signalling import Event

HERE, THERE = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 1])
SIX = bytes.fromhex("20010db8" + "00" * 11 + "01")
CONNECT = PROTOCOL + bytes(4) + b"tran"
SECRET = bytes(KEY_SIZE)


class Tracker:
    """A UDP service without a socket, on a clock that stands still."""

    def __init__(self, admission: Admission | None = None) -> None:
        self.clock = Clock()
        self.service = AnnounceService(admission=admission, clock=self.clock, rng=Random(1))
        self.udp = UdpService(self.service, SECRET)

    def connect(self, source: bytes = HERE) -> bytes:
        reply = self.udp.answer(CONNECT, source)
        assert reply is not None and reply[:8] == b"\0\0\0\0tran"
        return reply[8:]

    def announce(self, source: bytes = HERE, *, connection: bytes = b"", **more: Any) -> bytes:
        raw = request(connection or self.connect(source), **more)
        reply = self.udp.answer(raw, source)
        assert reply is not None
        return reply


def request(
    connection: bytes,
    *,
    info_hash: bytes = HASH,
    peer_id: bytes = PEER,
    left: int = 1,
    event: Event = Event.NONE,
    numwant: int = -1,
    port: int = 6881,
) -> bytes:
    return b"".join(
        (
            connection + b"\0\0\0\1tran" + info_hash + peer_id,
            struct.pack(">QQQI", 0, left, 0, EVENTS.index(event)),
            bytes(8) + struct.pack(">iH", numwant, port),
        )
    )


def counts(reply: bytes) -> tuple[int, int, bytes]:
    """Leechers, seeders and peers in an announce reply."""
    assert reply[:8] == b"\0\0\0\1tran", reply
    _, leechers, seeders = struct.unpack_from(">III", reply, 8)
    return leechers, seeders, reply[20:]


def test_peers_find_each_other_and_are_counted() -> None:
    tracker = Tracker()
    assert counts(tracker.announce(left=0)) == (0, 1, b"")
    assert counts(tracker.announce(THERE, peer_id=b"q" * 20)) == (1, 1, HERE + b"\x1a\xe1")
    scrape = tracker.connect() + b"\0\0\0\2tran" + HASH + bytes(20)
    assert tracker.udp.answer(scrape, HERE) == (
        b"\0\0\0\2tran" + struct.pack(">IIIIII", 1, 0, 1, 0, 0, 0)
    )
    assert counts(tracker.announce(event=Event.STOPPED)) == (1, 0, b"")


def test_udp_and_http_peers_are_of_one_swarm() -> None:
    tracker = Tracker()
    tracker.announce(left=0)
    query = f"info_hash={'h' * 20}&peer_id={'q' * 20}&port=1"
    assert HERE + b"\x1a\xe1" in tracker.service.answer("/announce?" + query, "198.51.100.1")


def test_each_family_gets_peers_of_its_own() -> None:
    tracker = Tracker()
    tracker.announce(SIX, peer_id=b"6" * 20)
    tracker.announce(peer_id=b"4" * 20)
    assert counts(tracker.announce(THERE, peer_id=b"a" * 20))[2] == HERE + b"\x1a\xe1"
    other = SIX[:-1] + b"\2"
    assert counts(tracker.announce(other, peer_id=b"b" * 20))[2] == SIX + b"\x1a\xe1"


def test_numwant_is_bounded() -> None:
    tracker = Tracker()
    for number in range(150):
        tracker.announce(bytes([192, 0, number, 1]), peer_id=b"%020d" % number)
    asked = {want: tracker.announce(THERE, numwant=want) for want in (-1, 0, 7, 10**6)}
    sizes = {want: len(counts(reply)[2]) // 6 for want, reply in asked.items()}
    assert sizes == {-1: 50, 0: 0, 7: 7, 10**6: MAX_PEERS}


@given(st.binary(max_size=2100), st.sampled_from([HERE, SIX]))
def test_no_stranger_gets_more_bytes_than_it_sent(raw: bytes, source: bytes) -> None:
    for datagram in (raw, PROTOCOL + raw, PROTOCOL + bytes(4) + raw, bytes(11) + b"\1" + raw):
        reply = Tracker().udp.answer(datagram, source)
        assert reply is None or len(reply) <= len(datagram)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_without_a_connection_id_only_a_connect_is_answered(
    connection: bytes, action: int, rest: bytes
) -> None:
    raw = connection + action.to_bytes(4, "big") + b"tran" + rest
    assert Tracker().udp.answer(raw, HERE) is None or (connection, action) == (PROTOCOL, 0)


def test_a_connection_id_is_of_no_use_to_another_address_or_after_two_minutes() -> None:
    tracker = Tracker()
    connection = tracker.connect()
    assert tracker.udp.answer(request(connection), THERE) is None
    assert tracker.udp.answer(request(connection), HERE) is not None
    tracker.clock.now += 120
    assert tracker.udp.answer(request(connection), HERE) is None
    assert tracker.service.counters().udp_dropped == 2
    assert tracker.service.counters().peers == 1


def test_errors_are_told_only_to_who_has_a_connection_id() -> None:
    tracker = Tracker(Admission(Mode.LISTED, listed=HASH.__eq__, wall=time.time))
    connection = tracker.connect()
    wrong = [
        request(connection, info_hash=b"o" * 20),
        request(connection, port=0),
        connection + b"\0\0\0\1tran",
        connection + b"\0\0\0\2tran",
        connection + b"\0\0\0\2tran" + bytes(20 * (MAX_SCRAPE + 1)),
        connection + b"\0\0\0\3tran",
        connection + bytes(4) + b"tran",
    ]
    for raw in wrong:
        reply = tracker.udp.answer(raw, HERE)
        assert reply is not None and reply[:8] == b"\0\0\0\3tran" and len(reply) < 300
        assert tracker.udp.answer(raw, THERE) is None
    assert tracker.service.counters().refused == len(wrong)


def test_members_show_their_pass_in_the_url_data() -> None:
    member, operator = (Identity.from_seed(seed * 32) for seed in (b"m", b"o"))
    tracker = Tracker(
        Admission(Mode.MEMBERS, members=Club(), tracker=operator.key, wall=lambda: 1000.0)
    )
    assert b"members only" in tracker.announce()
    url = "/announce?" + SignedPass.query(member, 2000, operator.key)
    raw = request(tracker.connect()) + option(url[:255].encode()) + option(url[255:].encode())
    reply = tracker.udp.answer(raw, HERE)
    assert reply is not None and counts(reply)[:2] == (1, 0)
    scrape = tracker.udp.answer(tracker.connect() + b"\0\0\0\2tran" + HASH, HERE)
    assert scrape is not None and scrape[3] == 3


class Club:
    """Everybody is a member, nobody has a passkey."""

    def __contains__(self, key: object) -> bool:
        return True

    def epoch(self, key: object) -> int:
        return 0

    def holder(self, passkey: bytes) -> None:
        return None


class Peer(asyncio.DatagramProtocol):
    """A client's socket."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.replies.put_nowait(data)

    async def ask(self, raw: bytes) -> bytes:
        self.transport.sendto(raw)
        return await asyncio.wait_for(self.replies.get(), 10)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_tracker_answers_over_both_families(host: str) -> None:
    service = AnnounceService()
    async with serve_udp(service, host, 0) as port:
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_datagram_endpoint(Peer, remote_addr=(host, port))
        try:
            for junk in (b"x", b"xy", bytes(16), bytes(3000), CONNECT[:-1]):
                transport.sendto(junk)
            connection = (await peer.ask(CONNECT))[8:]
            assert counts(await peer.ask(request(connection, left=0))) == (0, 1, b"")
            # What was answered first was the connect: the junk before it was not.
            assert peer.replies.empty()
        finally:
            transport.close()
    assert service.counters().udp_dropped == 5
    (found,) = service.swarms.members(HASH)
    assert found.peer_id == PEER


async def test_a_port_that_is_taken_is_an_error() -> None:
    service = AnnounceService()
    async with serve_udp(service, "127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serve_udp(service, "127.0.0.1", port):
                pass


async def test_a_client_that_is_gone_stops_nobody() -> None:
    service = AnnounceService()
    async with serve_udp(service, "127.0.0.1", 0) as port:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            gone, _ = await loop.create_datagram_endpoint(Peer, remote_addr=("127.0.0.1", port))
            gone.sendto(CONNECT)
            gone.abort()
        transport, peer = await loop.create_datagram_endpoint(Peer, remote_addr=("127.0.0.1", port))
        try:
            assert len(await peer.ask(CONNECT)) == 16
        finally:
            transport.close()
