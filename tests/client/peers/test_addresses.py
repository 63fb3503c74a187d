"""Which addresses may be used, and whom to dial next."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.peers import addresses
from client.peers.addresses import (
    MAX_FAILURES,
    MAX_FROM_ONE,
    MAX_KNOWN,
    MAX_PER_HOST,
    Address,
    AddressBook,
    Reachable,
    Source,
    Zone,
    zone_of,
)
from workunits.errors import MalformedError

ZONES = {
    Zone.HOST: ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"),
    Zone.LAN: (
        *("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1"),
        *("fd00::2", "fc00::1", "fe80::1", "fe80::1%eth0", "::ffff:192.168.0.1"),
    ),
    Zone.SHARED: ("100.64.0.1", "100.127.255.255", "::ffff:100.64.0.1"),
    Zone.GLOBAL: (
        *("8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860:4860::8888"),
        *("64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"),
    ),
    Zone.NOWHERE: (
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1", "0.1.2.3"),
        # Addresses inside of addresses, which a gateway would unpack.
        *("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:c0a8:101::1"),
        *("::127.0.0.1", "64:ff9b:1::a00:1", "2001:0:102:304:0:0:80ff:fffe"),
        *("100::1", "5f00::1", "", "localhost", "example.org", "1.2.3", "1.2.3.4.5", "1.2.3.4/8"),
    ),
}


@pytest.mark.parametrize(
    ("host", "zone"), [(host, zone) for zone, hosts in ZONES.items() for host in hosts]
)
def test_the_zone_of_an_address_is_how_far_it_reaches(host: str, zone: Zone) -> None:
    assert zone_of(host) is zone


@given(st.text())
def test_no_text_is_an_address_by_accident(host: str) -> None:
    assert isinstance(zone_of(host), Zone)


@given(st.ip_addresses(), st.integers(1024, 65535))
def test_nobody_can_aim_a_swarm_of_the_internet_at_a_private_address(ip: object, port: int) -> None:
    address = Address.of(str(ip), port)
    for source in (Source.TRACKER, Source.PEER):
        if Reachable(Zone.GLOBAL, always=True).dials(address, source):
            assert zone_of(address.host) is Zone.GLOBAL
        assert not Reachable(Zone.GLOBAL).dials(address, source)


def test_addresses_are_spelled_in_one_way() -> None:
    assert Address.of("::FFFF:1.2.3.4", 5000) == Address.of("1.2.3.4", 5000)
    assert Address.of("2001:DB8:0:0::1", 5000).host == "2001:db8::1"
    assert str(Address.of("2001:db8::1", 5000)) == "[2001:db8::1]:5000"
    with pytest.raises(MalformedError):
        Address.of("tracker.example", 5000)


def test_who_may_be_dialled_depends_on_where_the_tracker_is() -> None:
    here, near, carrier, far = (
        Address(host, 5000) for host in ("127.0.0.1", "192.168.1.2", "100.64.0.1", "8.8.8.8")
    )
    mine, lan, told, internet, open_ = (
        Reachable(Zone.HOST),
        Reachable(Zone.LAN),
        Reachable(Zone.GLOBAL, lan=True),
        Reachable(Zone.GLOBAL),
        Reachable(Zone.GLOBAL, always=True),
    )
    dials = {
        reach: [each.dials(a, Source.TRACKER) for a in (here, near, carrier, far)]
        for reach, each in enumerate((mine, lan, told, internet, open_))
    }
    assert dials == {
        0: [True, True, False, False],
        1: [False, True, False, False],
        2: [False, True, False, False],
        3: [False, False, False, False],
        4: [False, False, False, True],
    }
    assert internet.dials(near, Source.LOCAL) and not internet.dials(here, Source.LOCAL)
    assert not lan.dials(Address(near.host, 22), Source.LOCAL)


def test_connections_without_encryption_stay_inside_unless_allowed() -> None:
    lan = Reachable(Zone.LAN)
    assert lan.carries("192.168.1.2", "192.168.1.3") and lan.carries("127.0.0.1", "127.0.0.1")
    assert not lan.carries("192.168.1.2", "8.8.8.8") and not lan.carries("8.8.8.8", "192.168.1.2")
    assert not lan.carries("100.64.0.1", "100.64.0.2")
    assert Reachable(Zone.GLOBAL, always=True).carries("192.168.1.2", "8.8.8.8")


def far(at: int) -> Address:
    return Address(f"8.8.{at >> 8}.{at & 255}", 5000)


def test_local_peers_are_dialled_first_and_beyond_the_count() -> None:
    book = AddressBook(Random(1))
    book.add([far(1), far(2)], Source.TRACKER)
    near = [Address(f"192.168.1.{at}", 5000) for at in (1, 2)]
    book.add(near[:1], Source.TRACKER)
    book.add([near[1], far(3)], Source.LOCAL)
    assert set(book.next(0.0, 2)) < {*near, far(3)}
    assert len(book.next(0.0, 0, local=5)) == 1
    assert book.next(0.0, 0, local=5) == []
    assert len(book.next(0.0, 5)) == 2


def test_an_address_that_does_not_answer_is_tried_ever_less_and_then_forgotten() -> None:
    book = AddressBook(Random(1))
    book.add([far(1)], Source.TRACKER)
    now, waits = 0.0, []
    assert book.next(now, 1) == [far(1)] and book.next(now, 1) == []
    for _ in range(MAX_FAILURES - 1):
        book.failed(far(1), now)
        begun = now
        while not book.next(now, 1):
            now += 1.0
        waits.append(now - begun)
    assert waits == sorted(waits) and waits[0] >= 5.0
    book.failed(far(1), now)
    assert far(1) not in book and len(book) == 0


def test_a_peer_that_was_of_use_is_dialled_again_soon_unless_it_is_connected() -> None:
    book = AddressBook(Random(1))
    book.add([far(1)], Source.TRACKER)
    book.next(0.0, 1)
    book.ended(far(1), 0.0, b"name")
    assert book.next(1.0, 1) == []
    assert book.next(20.0, 1, met={b"name"}) == []
    assert book.next(20.0, 1, met={b"other"}) == [far(1)]


def test_a_banned_address_does_not_come_back() -> None:
    book = AddressBook(Random(1))
    book.add([far(1)], Source.TRACKER)
    book.ban(far(1))
    book.add([far(1)], Source.LOCAL)
    assert len(book) == 0
    for at in range(addresses.MAX_BANNED + 1):
        book.ban(far(at + 2))
    book.add([far(1)], Source.LOCAL)
    assert len(book) == 1


def test_one_peer_cannot_fill_the_book() -> None:
    book = AddressBook(Random(1))
    book.add(map(far, range(1000)), Source.PEER, "liar")
    assert len(book) == MAX_FROM_ONE
    book.add(map(far, range(1000)), Source.TRACKER)
    assert len(book) == MAX_KNOWN
    book.add([Address("192.168.1.1", 5000)], Source.LOCAL)
    assert len(book) == MAX_KNOWN and Address("192.168.1.1", 5000) in book
    book.add([far(2000)], Source.PEER, "another")
    assert far(2000) not in book


def test_not_all_ports_of_one_host_of_the_internet_are_tried() -> None:
    for host, most in (("8.8.8.8", MAX_PER_HOST), ("192.168.0.1", 20)):
        book = AddressBook(Random(1))
        book.add([Address(host, 2000 + at) for at in range(20)], Source.TRACKER)
        assert len(book) == most


def test_only_who_told_of_an_address_takes_it_back() -> None:
    book = AddressBook(Random(1))
    book.add([far(1)], Source.PEER, "one")
    book.remove([far(1)], Source.PEER, "two")
    book.remove([far(1), far(2)], Source.LOCAL)
    assert far(1) in book
    book.remove([far(1)], Source.PEER, "one")
    assert far(1) not in book
