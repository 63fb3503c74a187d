"""Connections that know who is at their other end, and which of several to one peer is kept."""

import pytest

from client.peers.addresses import Address
from client.peers.links import OVERLAP, Link, surplus
from client.peers.protocol import PROTOCOL, RESERVED
from client.peers.throttle import Rates, Throttle
from client.peers.transport import MemoryChannel

OURS, SMALL, LARGE = (b"-OS0100-" + letter * 12 for letter in (b"m", b"a", b"z"))
FOREIGN = b"-qB4650-" + b"z" * 12


def link(name: bytes = b"", *, tcp: bool = False, moved: int = 0) -> Link:
    address = Address("127.0.0.1", 5000) if tcp else None
    made = Link(MemoryChannel(), Throttle(Rates(), clock=lambda: 0.0), b"key", address=address)
    made.name, made.moved = name, moved
    return made


async def test_a_link_reads_the_peer_s_name_from_its_handshake() -> None:
    one, two = MemoryChannel.pair()
    ours = Link(one, Throttle(Rates()), b"key")
    handshake = PROTOCOL + RESERVED + bytes(20) + LARGE
    for part in (handshake[:5], handshake[5:50], handshake[50:] + b"more"):
        assert ours.name == b""
        await two.send(part)
        assert await ours.receive() == part
    assert ours.name == LARGE and ours.moved == len(handshake) + 4
    await ours.send(b"12345")
    assert ours.moved == len(handshake) + 9
    await ours.close()
    assert await ours.receive() == b""


async def test_a_link_keeps_to_the_limits() -> None:
    waits: list[float] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waits.append(seconds)

    throttle = Throttle(Rates(up=1000, down=1000), clock=lambda: now, sleep=sleep)
    one, two = MemoryChannel.pair()
    ours = Link(one, throttle, b"key")
    await ours.send(bytes(50_000))
    assert 30.0 < now <= 51.0
    await two.send(bytes(100_000))
    await ours.receive()
    assert now > 100.0


def test_of_two_connections_to_one_peer_the_better_stays() -> None:
    slow, fast = link(SMALL), link(SMALL, tcp=True)
    assert surplus([slow, fast], OURS, 0.0) == []
    fast.moved += 10
    assert surplus([slow, fast], OURS, OVERLAP / 2) == []
    assert surplus([slow, fast], OURS, OVERLAP) == [slow]


def test_what_went_before_the_second_connection_does_not_count() -> None:
    old, new = link(SMALL, moved=10**9), link(SMALL)
    surplus([old, new], OURS, 0.0)
    new.moved += 10
    assert surplus([old, new], OURS, OVERLAP) == [old]


def test_tcp_is_kept_where_nothing_moves() -> None:
    links = [link(SMALL), link(SMALL, tcp=True)]
    surplus(links, OURS, 0.0)
    assert surplus(links, OURS, OVERLAP) == [links[0]]


@pytest.mark.parametrize(("name", "ends"), [(SMALL, 1), (LARGE, 0), (FOREIGN, 1)])
def test_one_side_of_two_of_our_kind_decides(name: bytes, ends: int) -> None:
    links = [link(name), link(name)]
    surplus(links, OURS, 0.0)
    assert len(surplus(links, OURS, OVERLAP)) == ends


def test_whoever_says_nothing_yet_is_nobody_s_twin() -> None:
    links = [link(), link()]
    surplus(links, OURS, 0.0)
    assert surplus(links, OURS, OVERLAP) == []


def test_a_connection_to_ourselves_ends_at_once() -> None:
    ours = link(OURS, tcp=True)
    assert surplus([ours, link(SMALL)], OURS, 0.0) == [ours]


def test_a_twin_that_is_gone_is_forgotten() -> None:
    one, two = link(SMALL), link(SMALL)
    surplus([one, two], OURS, 0.0)
    assert surplus([one], OURS, OVERLAP) == []
    assert surplus([one, two], OURS, 2 * OVERLAP) == []
