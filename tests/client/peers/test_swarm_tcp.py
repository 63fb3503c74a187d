"""Swarms meet over plain TCP: through the tracker's HTTP announce, and by mDNS."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from client.peers import links
from client.peers.addresses import Address, Source
from client.peers.links import Link
from client.peers.member import Member
from client.peers.network import Network, TcpPolicy
from client.peers.swarm import BlobSwarm
from client.peers.throttle import Rates
from client.peers.transport import Dial, MemoryConnector
from tests.client.peers.conftest import TRACKER, Peers, Tracker, until
from tracker.announce.admission import Admission, Mode, Nobody
from workunits.errors import UnavailableError
from workunits.ids import PeerKey
from workunits.links import Target
from workunits.passes import SignedPass
from workunits.signing import Identity

DATA = os.urandom(1_000_000)
LAN = Network()


class NoWebRtc:
    """A connector that never gets anywhere."""

    async def offer(self) -> Dial:
        raise ConnectionError("no WebRTC here")

    async def answer(self, sdp: str) -> Dial:
        raise ConnectionError("no WebRTC here")


async def add(peers: Peers, data: bytes = b"", network: Network = LAN) -> BlobSwarm:
    swarm, store = await peers.add(network=network, connector=NoWebRtc())
    if data:
        swarm.seed(store.add(data))
    return swarm


async def test_a_peer_fetches_from_one_that_the_tracker_names(peers: Peers) -> None:
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher = await add(peers)
        assert (await leecher.fetch(ref)).read_bytes() == DATA
        assert leecher.stats.from_peers == len(DATA) and seeder.stats.sent == len(DATA)


async def test_a_seed_that_comes_later_dials_who_waits(peers: Peers, tracker: Tracker) -> None:
    async with peers:
        leecher, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        store.remove(ref)
        async with asyncio.TaskGroup() as group:
            fetching = group.create_task(leecher.fetch(ref))
            await until(lambda: tracker.announced)
            await add(peers, DATA)
        assert fetching.result().read_bytes() == DATA


async def test_announces_say_what_a_tracker_wants_to_know(peers: Peers, tracker: Tracker) -> None:
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        seeder.seed(ref)
        await until(lambda: tracker.announced)
        assert f"port={seeder.port}&" in tracker.announced[0]
        assert "left=0&" in tracker.announced[0] and "event=started" in tracker.announced[0]
        leecher = await add(peers)
        await leecher.fetch(ref)
        await until(lambda: any("event=completed" in query for query in tracker.announced))
        leecher.unseed(ref)
        await until(lambda: any("event=stopped" in query for query in tracker.announced))
    service = tracker.service
    assert service is not None and service.counters().peers == 0


@pytest.mark.parametrize("network", [Network(tcp=TcpPolicy.NEVER), Network(relay_only=True)])
async def test_without_tcp_nothing_listens_and_nothing_is_announced_over_http(
    peers: Peers, tracker: Tracker, network: Network
) -> None:
    async with peers:
        hidden = await add(peers, DATA, network)
        assert hidden.port == 0
        await until(lambda: hidden.stats.tracker_online)
        seen, store = await peers.add(network=LAN, connector=NoWebRtc())
        seen.seed(store.add(DATA))
        await until(lambda: tracker.announced)
        assert all(f"port={seen.port}" in query for query in tracker.announced)


async def test_a_port_that_is_taken_is_said(peers: Peers) -> None:
    async with peers:
        first = await add(peers)
        with pytest.raises(UnavailableError) as caught:
            await add(peers, network=Network(port=first.port))
        assert "--port" in caught.value.hint


async def test_a_stranger_without_our_torrent_or_protocol_is_shown_the_door(peers: Peers) -> None:
    async with peers:
        seeder = await add(peers, DATA)
        for head in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x13BitTorrent protocol" + bytes(8) + b"unknown hash" + bytes(8),
            b"",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", seeder.port)
            writer.write(head)
            if not head:
                writer.write_eof()
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_mdns_finds_peers_that_the_tracker_does_not_name(
    peers: Peers, tracker: Tracker
) -> None:
    here = Network(local=True)
    async with peers:
        await tracker.stop()
        (seeder, store), (leecher, _) = [
            await peers.add(network=here, connector=NoWebRtc(), local_hosts=["127.0.0.1"])
            for _ in range(2)
        ]
        ref = store.add(DATA)
        seeder.seed(ref)
        assert (await leecher.fetch(ref)).read_bytes() == DATA


async def test_announces_are_signed_where_only_members_may(peers: Peers, tracker: Tracker) -> None:
    identity = Identity.from_seed(bytes(32))
    tracker.reach = {"mode": "members", "key": TRACKER.hex()}
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc(), identity=identity)
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher, _ = await peers.add(network=LAN, connector=NoWebRtc(), identity=identity)
        assert (await leecher.fetch(ref)).read_bytes() == DATA
        await until(lambda: tracker.sockets)
    for query in (*tracker.announced, *tracker.sockets):
        signed = SignedPass.parse(query, TRACKER)
        assert signed is not None and signed.member == identity.key


class Club(Nobody):
    """A tracker's members."""

    def __init__(self, *members: PeerKey) -> None:
        self.members = members

    def __contains__(self, key: PeerKey) -> bool:
        return key in self.members


@pytest.mark.parametrize("network", [LAN, Network(tcp=TcpPolicy.NEVER)])
async def test_members_meet_at_a_tracker_that_lets_nobody_else_announce(
    peers: Peers, tracker: Tracker, network: Network
) -> None:
    identity = Identity.from_seed(bytes(32))
    await tracker.stop()
    tracker.reach = {"mode": "members", "key": TRACKER.hex()}
    tracker.admission = Admission(
        Mode.MEMBERS, members=Club(identity.key), tracker=TRACKER, wall=time.time
    )
    await tracker.start()
    memory = MemoryConnector()
    connector = NoWebRtc() if network.dials else memory
    async with peers:
        seeder, store = await peers.add(network=network, connector=connector, identity=identity)
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher, _ = await peers.add(network=network, connector=connector, identity=identity)
        stranger, _ = await peers.add(
            network=network, connector=connector, identity=Identity.from_seed(bytes([1] * 32))
        )
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(stranger.fetch(ref))
            assert (await leecher.fetch(ref)).read_bytes() == DATA
            assert stranger.stats.peers == 0
            waiting.cancel()


async def test_two_ways_to_one_peer_become_one(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "OVERLAP", 1.0)
    # Each way is taken without a look at the other.
    monkeypatch.setattr(Member, "met", lambda *_: False)
    monkeypatch.setattr(Link, "direct", False)
    memory = MemoryConnector()
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=memory)
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher, _ = await peers.add(network=Network(limits=Rates(down=20_000)), connector=memory)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(leecher.fetch(ref))
            await until(lambda: leecher.stats.peers == seeder.stats.peers == 2)
            await until(lambda: leecher.stats.peers == seeder.stats.peers == 1)
            waiting.cancel()


async def test_nothing_is_signed_where_everybody_may(peers: Peers, tracker: Tracker) -> None:
    tracker.reach = {"mode": "open"}
    async with peers:
        seeder, store = await peers.add(
            network=LAN, connector=NoWebRtc(), identity=Identity.from_seed(bytes(32))
        )
        seeder.seed(store.add(DATA))
        await until(lambda: tracker.announced and tracker.sockets)
    assert all("member" not in query for query in (*tracker.announced, *tracker.sockets))


async def test_peers_tell_each_other_of_peers(peers: Peers, tracker: Tracker) -> None:
    slow = Network(limits=Rates(down=50_000))
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        seeder.seed(ref)
        async with asyncio.TaskGroup() as group:
            between = await add(peers, network=slow)
            waiting = group.create_task(between.fetch(ref))
            await until(lambda: seeder.stats.peers == 1)
            await tracker.stop()
            leecher = await add(peers)
            fetching = group.create_task(leecher.fetch(ref))
            await until(lambda: leecher.stats.blobs)
            (member,) = leecher._members.values()
            member.book.add([Address("127.0.0.1", between.port)], Source.TRACKER)
            assert (await fetching).read_bytes() == DATA
            assert not waiting.done() and seeder.stats.sent > len(DATA)
            waiting.cancel()


async def test_a_link_names_peers_to_try(peers: Peers, tracker: Tracker, tmp_path: Path) -> None:
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        seeder.seed(ref)
        await tracker.stop()
        leecher = await add(peers)
        named = ("tracker.example:5000", "no port", f"127.0.0.1:{seeder.port}")
        target = Target(ref.v1, ref.v2, peers=named)
        info = await leecher.download(target, tmp_path)
        assert (tmp_path / info.name).read_bytes() == DATA


async def test_trackers_of_a_link_are_asked(peers: Peers, tracker: Tracker, tmp_path: Path) -> None:
    other = Tracker()
    await other.start()
    async with peers:
        seeder, store = await peers.add(network=LAN, connector=NoWebRtc())
        ref = store.add(DATA)
        seeder.seed(ref)
        await until(lambda: tracker.announced)
        leecher = BlobSwarm(store, other.url, network=LAN, connector=NoWebRtc())
        async with leecher:
            link = Target.of(ref, trackers=(f"{tracker.url}/announce", "http://127.0.0.1:9/x"))
            info = await leecher.download(link, tmp_path)
            assert (tmp_path / info.name).read_bytes() == DATA
    await other.stop()
