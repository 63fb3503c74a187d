"""Torrents that libtorrent made, of every version, come and go whole, from a magnet link only."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import libtorrent
import pytest

from client.peers.network import Network, TcpPolicy
from tests.client.peers.conftest import Peers, Tracker, until
from tests.client.peers.test_libtorrent import SETTINGS
from workunits.links import Target
from workunits.torrent_files import TorrentDocument, parse_torrent_file

PIECE = 32 * 1024
FILES = {
    "folder/long": 300_000,
    "folder/one piece": PIECE,
    "folder/short": 1000,
    "folder/deep/below/empty": 0,
    "folder/deep/below/two pieces": PIECE + 1,
}
NETWORKS = {"ws": Network(tcp=TcpPolicy.NEVER), "http": Network()}
KINDS = {
    "v1": libtorrent.create_torrent.v1_only,
    "v2": libtorrent.create_torrent.v2_only,
    "hybrid": 0,
}


@pytest.fixture
def session() -> Iterator[libtorrent.session]:
    made = libtorrent.session(SETTINGS)
    yield made
    made.pause()


def fill(place: Path) -> dict[str, bytes]:
    rng = Random(7)
    content = {name: rng.randbytes(size) for name, size in FILES.items()}
    for name, data in content.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return content


def make(place: Path, kind: str, announce: str) -> bytes:
    files = libtorrent.list_files(str(place / "folder"))
    made = libtorrent.create_torrent(files, PIECE, KINDS[kind])
    made.add_tracker(announce)
    libtorrent.set_piece_hashes(made, str(place))
    return bytes(libtorrent.bencode(made.generate()))


def join(session: libtorrent.session, torrent: bytes, place: Path) -> Any:
    params = libtorrent.load_torrent_buffer(torrent)
    params.save_path = str(place)
    return session.add_torrent(params)


def magnet(document: TorrentDocument) -> Target:
    return Target(document.info.v1, document.info.v2)


WAYS = [
    (scheme, kind)
    for scheme in ("ws", "http")
    for kind in KINDS
    # Over WebRTC libtorrent greets with a v1 hash, which such a torrent does not have.
    if (scheme, kind) != ("ws", "v2")
]


@pytest.mark.parametrize(("scheme", "kind"), WAYS)
async def test_a_folder_comes_from_libtorrent(
    *,
    peers: Peers,
    tracker: Tracker,
    session: libtorrent.session,
    tmp_path: Path,
    scheme: str,
    kind: str,
) -> None:
    announce = f"{scheme}://127.0.0.1:{tracker.port}/announce"
    content = fill(tmp_path)
    torrent = make(tmp_path, kind, announce)
    async with peers:
        handle = join(session, torrent, tmp_path)
        await until(lambda: handle.status().is_seeding)
        leecher, _ = await peers.add(network=NETWORKS[scheme])
        target = magnet(parse_torrent_file(torrent))
        info = await leecher.download(target, tmp_path / "got")
        assert info.raw in torrent
    for name, data in content.items():
        assert (tmp_path / "got" / name).read_bytes() == data


@pytest.mark.parametrize(("scheme", "kind"), WAYS)
async def test_a_folder_goes_to_libtorrent(
    *,
    peers: Peers,
    tracker: Tracker,
    session: libtorrent.session,
    tmp_path: Path,
    scheme: str,
    kind: str,
) -> None:
    announce = f"{scheme}://127.0.0.1:{tracker.port}/announce"
    content = fill(tmp_path)
    torrent = make(tmp_path, kind, announce)
    document = parse_torrent_file(torrent)
    async with peers:
        seeder, _ = await peers.add(network=NETWORKS[scheme])
        await seeder.share(document.info, tmp_path, layers=document.layers)
        await until(lambda: seeder.stats.tracker_online)
        link = libtorrent.make_magnet_uri(libtorrent.torrent_info(torrent))
        params = libtorrent.parse_magnet_uri(link)
        params.save_path = str(tmp_path / "got")
        handle = session.add_torrent(params)
        await until(lambda: handle.status().is_seeding)
    for name, data in content.items():
        assert (tmp_path / "got" / name).read_bytes() == data


@pytest.mark.parametrize("kind", KINDS)
async def test_a_folder_goes_from_one_of_ours_to_another(
    peers: Peers, tmp_path: Path, kind: str
) -> None:
    content = fill(tmp_path)
    document = parse_torrent_file(make(tmp_path, kind, "http://localhost/announce"))
    async with peers:
        seeder, _ = await peers.add()
        await seeder.share(document.info, tmp_path, layers=document.layers)
        leecher, _ = await peers.add()
        await leecher.download(magnet(document), tmp_path / "got")
    for name, data in content.items():
        assert (tmp_path / "got" / name).read_bytes() == data
