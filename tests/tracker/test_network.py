"""Which network a peer comes from: one customer is one, and no address is ever shown."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.network import SIZE, network_of
from workunits.ids import HASH_SIZE
from workunits.ledger.roster import NETWORK

SECRET = b"s" * 32
ipv4 = st.ip_addresses(v=4).filter(lambda ip: ip.is_global)
ipv6 = st.ip_addresses(v=6).filter(lambda ip: ip.is_global and not IPv6Address(ip).ipv4_mapped)


def of(address: str | None) -> bytes:
    return network_of(address, SECRET)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("8.8.8.8", "8.8.8.8", True),
        ("8.8.8.0", "8.8.8.255", True),
        ("8.8.8.255", "8.8.9.0", False),
        ("8.8.8.8", "::ffff:8.8.8.9", True),
        ("8.8.8.8", "::ffff:808:809", True),
        ("2600:1:2::1", "2600:1:2:ffff:ffff::", True),
        ("2600:1:2::1", "2600:1:3::1", False),
        ("2600:1:2::1", "2600:0001:0002:0:0:0:0:1", True),
        ("2600:1:2::1%eth0", "2600:1:2::1", True),
        ("2600:1:2::A", "2600:1:2::a", True),
        ("8.8.8.8", "2600:1:2::1", False),
    ],
)
def test_one_network_is_an_ipv4_24_or_an_ipv6_48(one: str, other: str, same: bool) -> None:
    assert of(one)
    assert of(other)
    assert (of(one) == of(other)) is same


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "192.0.2.1",
        "2001:db8::1",
        "unix",
        "example.org",
        "8.8.8",
        "8.8.8.8:80",
        "8.8.8.8/24",
        " 8.8.8.8",
        "08.8.8.8",
        "[2600::1]",
        "%",
    ],
)
def test_what_is_no_public_address_says_nothing(address: str | None) -> None:
    assert of(address) == b""


@given(ipv4, st.integers(0, 255))
def test_all_of_an_ipv4_24_are_one_network(ip: IPv4Address, last: int) -> None:
    other = IPv4Address((int(ip) & ~0xFF) | last)
    if other.is_global:
        assert of(str(ip)) == of(str(other)) != b""
        assert of(f"::ffff:{ip}") == of(str(ip))


@given(ipv6, st.integers(0, 2**80 - 1))
def test_all_of_an_ipv6_48_are_one_network(ip: IPv6Address, rest: int) -> None:
    other = IPv6Address((int(ip) >> 80 << 80) | rest)
    if other.is_global and not other.ipv4_mapped:
        assert of(str(ip)) == of(str(other)) == of(ip.exploded) != b""


@given(st.one_of(st.text(max_size=40), st.ip_addresses().map(str)))
def test_any_text_gives_a_network_of_one_size_or_none(address: str) -> None:
    assert len(of(address)) in (0, SIZE)


@given(ipv4, st.binary(max_size=40).filter(SECRET.__ne__))
def test_who_does_not_know_the_secret_cannot_tell_the_network(
    ip: IPv4Address, secret: bytes
) -> None:
    assert network_of(str(ip), secret) != of(str(ip))


def test_a_network_fills_up_the_owner_of_a_peer() -> None:
    assert len(NETWORK) + SIZE == HASH_SIZE
