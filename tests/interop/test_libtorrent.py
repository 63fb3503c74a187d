"""libtorrent, in the engine of qBittorrent and Deluge, takes part in our swarms."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libtorrent
import pytest

from tests.client.peers.conftest import until
from tests.interop.members import announce_url, magnet_of, member, torrent_of

QUIET: Any = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "webtorrent_stun_server": "",
    "ssrf_mitigation": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": 0,
}
SCHEMES = {"webrtc": "ws", "tcp": "http", "utp": "http"}
"""What scheme of announcing leads to which way for content."""

WAYS = [("aiortc", "webrtc"), ("aiortc", "tcp"), ("libtorrent", "webrtc"), ("libtorrent", "utp")]
"""Our engine, and the only way that the other libtorrent takes."""


def settings(way: str) -> Any:
    """So that nothing else than ``way`` can carry a byte."""
    return QUIET | {
        "enable_incoming_tcp": way == "tcp",
        "enable_outgoing_tcp": way == "tcp",
        "enable_incoming_utp": way == "utp",
        "enable_outgoing_utp": way == "utp",
    }


@contextmanager
def theirs(way: str) -> Iterator[libtorrent.session]:
    session = libtorrent.session(settings(way))
    try:
        yield session
    finally:
        session.pause()


def add(session: libtorrent.session, added: bytes | str, folder: Path) -> libtorrent.torrent_handle:
    """Join the swarm of a torrent's file, or of a magnet link."""
    if isinstance(added, str):
        params = libtorrent.parse_magnet_uri(added)
    else:
        params = libtorrent.load_torrent_buffer(added)
    folder.mkdir(exist_ok=True)
    params.save_path = str(folder)
    return session.add_torrent(params)


@pytest.mark.parametrize(("engine", "way"), WAYS)
@pytest.mark.parametrize("by", ["torrent", "magnet"])
async def test_libtorrent_fetches_from_us(
    tracker: str, content: bytes, tmp_path: Path, engine: str, way: str, by: str
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker, SCHEMES[way]))
    given = file if by == "torrent" else magnet_of(torrent)
    async with member(tracker, tmp_path / "store", engine=engine) as (swarm, store):
        swarm.seed(store.add(content))
        with theirs(way) as session:
            handle = add(session, given, tmp_path / "theirs")
            await until(lambda: handle.status().is_seeding)
            fetched = tmp_path / "theirs" / torrent.info.root.hex()
            assert fetched.read_bytes() == content
        assert swarm.stats.sent >= len(content)


@pytest.mark.parametrize(("engine", "way"), WAYS)
async def test_libtorrent_seeds_to_us(
    tracker: str, content: bytes, tmp_path: Path, engine: str, way: str
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker, SCHEMES[way]))
    (tmp_path / torrent.info.root.hex()).write_bytes(content)
    with theirs(way) as session:
        handle = add(session, file, tmp_path)
        await until(lambda: handle.status().is_seeding)
        async with member(tracker, tmp_path / "store", engine=engine) as (swarm, _):
            path = await swarm.fetch(torrent.info.ref)
            assert path.read_bytes() == content
            assert swarm.stats.from_peers == len(content)
