"""Peers that must not show an address meet through a TURN server, or not at all."""

import asyncio
import gc
import os
import re

import pytest

from client.peers.addresses import Reachable, Zone
from client.peers.candidates import candidates
from client.peers.network import Network
from client.peers.reach import Turn
from client.peers.webrtc import Ice, WebRtcConnector
from tests.client.peers.conftest import Peers, Tracker
from tests.client.peers.turnserver import CREDENTIAL, USERNAME, TurnServer

DATA = os.urandom(200_000)
NOBODY = "turn:127.0.0.1:9?transport=tcp"


def connector(*urls: str, relay_only: bool = True) -> WebRtcConnector:
    turn = Turn(urls, USERNAME, CREDENTIAL, 3600) if urls else None

    async def ice() -> Ice:
        return Ice(turn=turn, relay_only=relay_only, near=Reachable(Zone.HOST))

    return WebRtcConnector(ice)


async def test_a_description_shows_the_relay_and_nothing_of_ours() -> None:
    async with TurnServer().serving() as server:
        dial = await connector(server.url).offer()
        (allocation,) = server.allocations.values()
        assert candidates(dial.sdp) == [("127.0.0.1", "relay")]
        for line in dial.sdp.splitlines():
            assert not line.startswith("a=candidate:") or "raddr 0.0.0.0 rport 9" in line
            assert not line.startswith("c=") or line == "c=IN IP4 127.0.0.1"
        # As a whole number: its digits may be within a priority, a time or a fingerprint.
        assert allocation.client[1] not in map(int, re.findall(r"\b[0-9]+\b", dial.sdp))
        open_ = await connector(server.url, relay_only=False).offer()
        assert {kind for _, kind in candidates(open_.sdp)} == {"host", "relay"}
        await dial.close()
        await open_.close()
    gc.collect()


async def test_without_a_relay_nothing_is_shown() -> None:
    with pytest.raises(ConnectionError):
        await connector().offer()
    with pytest.raises(ConnectionError):
        await connector(NOBODY).offer()
    gc.collect()


async def test_the_next_address_of_the_relay_is_tried_when_one_does_not_answer() -> None:
    async with TurnServer().serving() as server:
        peer = connector(NOBODY, server.url)
        with pytest.raises(ConnectionError):
            await peer.offer()
        dial = await peer.offer()
        assert candidates(dial.sdp) == [("127.0.0.1", "relay")]
        await dial.close()
    gc.collect()


async def test_two_hidden_peers_exchange_a_blob_through_the_relay(
    peers: Peers, tracker: Tracker
) -> None:
    hidden = Network(relay_only=True)
    async with TurnServer().serving() as server, peers:
        tracker.reach = server.reach()
        seeder, store = await peers.add(network=hidden)
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher, _ = await peers.add(network=hidden)
        assert (await leecher.fetch(ref)).read_bytes() == DATA
        assert server.relayed > len(DATA) and not tracker.announced
    gc.collect()


async def test_a_hidden_peer_without_a_relay_stays_hidden(peers: Peers) -> None:
    async with peers:
        seeder, store = await peers.add()
        ref = store.add(DATA)
        seeder.seed(ref)
        leecher, _ = await peers.add(network=Network(relay_only=True), patience=3.0)
        with pytest.raises(Exception, match="nobody delivered"):
            await leecher.fetch(ref)
        assert seeder.stats.sent == 0
    await asyncio.sleep(0)
