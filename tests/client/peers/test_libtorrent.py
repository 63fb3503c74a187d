"""A client that other people wrote, libtorrent, takes part in our swarms: over WebRTC and TCP."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import libtorrent
import pytest

from client.peers.network import Network
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.metainfo import Torrent, encode_torrent, hash_stream

DATA = os.urandom(1_000_000)
SETTINGS: Any = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "webtorrent_stun_server": "",
    "ssrf_mitigation": False,
    "validate_https_trackers": False,
    "alert_mask": 0,
}


@pytest.fixture
def session() -> Iterator[libtorrent.session]:
    made = libtorrent.session(SETTINGS)
    yield made
    made.pause()


def join(
    session: libtorrent.session, tracker: Tracker, folder: Path, scheme: str = "ws"
) -> libtorrent.torrent_handle:
    hashed = hash_stream(BytesIO(DATA), len(DATA))
    announce = f"{scheme}://127.0.0.1:{tracker.port}/announce"
    torrent = encode_torrent(Torrent(hashed.info, hashed.layer, announce))
    params = libtorrent.load_torrent_buffer(torrent)
    params.save_path = str(folder)
    return session.add_torrent(params)


async def test_libtorrent_fetches_from_us(
    peers: Peers, tracker: Tracker, session: libtorrent.session, tmp_path: Path
) -> None:
    async with peers:
        seeder, store = await peers.add()
        ref = store.add(DATA)
        seeder.seed(ref)
        info = store.info_of(ref)
        assert info is not None
        handle = join(session, tracker, tmp_path)
        await until(lambda: handle.status().is_seeding)
        assert (tmp_path / info.root.hex()).read_bytes() == DATA
        assert seeder.stats.sent >= len(DATA)


async def test_libtorrent_seeds_to_us(
    peers: Peers, tracker: Tracker, session: libtorrent.session, tmp_path: Path
) -> None:
    info = hash_stream(BytesIO(DATA), len(DATA)).info
    (tmp_path / info.root.hex()).write_bytes(DATA)
    async with peers:
        handle = join(session, tracker, tmp_path)
        await until(lambda: handle.status().is_seeding)
        leecher, _ = await peers.add()
        path = await leecher.fetch(info.ref)
        assert path.read_bytes() == DATA
        assert leecher.stats.from_peers == len(DATA)


async def test_libtorrent_fetches_from_us_over_tcp(
    peers: Peers, tracker: Tracker, session: libtorrent.session, tmp_path: Path
) -> None:
    async with peers:
        seeder, store = await peers.add(network=Network())
        ref = store.add(DATA)
        seeder.seed(ref)
        await until(lambda: tracker.announced)
        handle = join(session, tracker, tmp_path, "http")
        await until(lambda: handle.status().is_seeding)
        info = store.info_of(ref)
        assert info is not None
        assert (tmp_path / info.root.hex()).read_bytes() == DATA
        assert seeder.stats.sent >= len(DATA)


async def test_libtorrent_seeds_to_us_over_tcp(
    peers: Peers, tracker: Tracker, session: libtorrent.session, tmp_path: Path
) -> None:
    info = hash_stream(BytesIO(DATA), len(DATA)).info
    (tmp_path / info.root.hex()).write_bytes(DATA)
    async with peers:
        handle = join(session, tracker, tmp_path, "http")
        await until(lambda: handle.status().is_seeding and tracker.announced)
        leecher, _ = await peers.add(network=Network())
        path = await leecher.fetch(info.ref)
        assert path.read_bytes() == DATA
        assert leecher.stats.from_peers == len(DATA)
