"""Peers of the local network: what they say, and that they find each other."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.peers import local
from client.peers.addresses import Address, Zone, zone_of
from client.peers.local import (
    MAX_PREFIXES,
    Neighbour,
    Neighbourhood,
    own_hosts,
    parse_neighbour,
    properties_of,
)
from tests.client.peers.conftest import until
from workunits.errors import MalformedError

PEER = b"-OS0100-" + b"p" * 12
HASHES = [bytes([at]) * 20 for at in range(60)]


def said(hashes: list[bytes]) -> dict[bytes, bytes | None]:
    return {bytes(key): value for key, value in properties_of(PEER, hashes).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 25, 26, 40, 60])
def test_what_one_says_the_other_reads(count: int) -> None:
    properties = said(HASHES[:count])
    assert all(len(key) + 1 + len(value or b"") <= 255 for key, value in properties.items())
    neighbour = parse_neighbour(properties, ["192.168.1.2", "fe80::1", "junk"], 5000)
    assert neighbour.name == PEER and neighbour.addresses == (Address("192.168.1.2", 5000),)
    shared = [each for each in HASHES if neighbour.shares(each)]
    assert shared == HASHES[: min(count, MAX_PREFIXES)]
    assert not neighbour.shares(None) and not neighbour.shares()


@pytest.mark.parametrize(
    ("changes", "port"),
    [({b"id": b"short"}, 5000), ({b"id": None}, 5000), ({b"h0": b"123"}, 5000), ({}, 0)],
)
def test_records_of_something_else_are_refused(
    changes: dict[bytes, bytes | None], port: int
) -> None:
    with pytest.raises(MalformedError):
        parse_neighbour(said(HASHES[:1]) | changes, ["192.168.1.2"], port)


@given(
    st.dictionaries(st.sampled_from([b"id", b"h0", b"h1"]), st.none() | st.binary(max_size=64)),
    st.lists(st.text(max_size=40), max_size=10),
    st.integers(-1, 70000),
)
def test_records_parse_or_are_refused(
    properties: dict[bytes, bytes | None], hosts: list[str], port: int
) -> None:
    with suppress(MalformedError):
        parse_neighbour(properties, hosts, port)


def test_only_addresses_of_local_networks_are_told() -> None:
    assert all(zone_of(host) is Zone.LAN for host in own_hosts())


class Street:
    """One participant, and what it saw."""

    def __init__(self, name: bytes, port: int) -> None:
        self.came: list[Neighbour] = []
        self.went: list[Neighbour] = []
        self.self = Neighbourhood(
            *(name * 20, port), came=self.came.append, went=self.went.append, hosts=["127.0.0.1"]
        )


async def test_neighbours_come_change_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CHANGE_PAUSE", 0.1)
    one, two = Street(b"1", 5001), Street(b"2", 5002)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.self.run()) for each in (one, two)]
        one.self.share(HASHES[:1])
        two.self.share(HASHES[1:2])
        await until(lambda: one.came and two.came)
        assert one.came[0].name == b"2" * 20 and one.came[0].shares(HASHES[1])
        assert two.came[0].addresses == (Address("127.0.0.1", 5001),)
        two.self.share(HASHES[2:3])
        await until(lambda: one.came[-1].shares(HASHES[2]))
        assert one.went and one.self.found == (one.came[-1],)
        tasks[1].cancel()
        await until(lambda: one.self.found == ())
        tasks[0].cancel()


async def test_a_network_that_does_not_let_us_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no multicast here")

    monkeypatch.setattr(local, "AsyncZeroconf", refuse)
    street = Street(b"1", 5001)
    street.self.share(HASHES)
    await street.self.run()
