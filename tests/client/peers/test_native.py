"""What is peculiar to the libtorrent engine: settings, its tracker in between, folders."""

import asyncio
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import libtorrent
import pytest

from client.blobs import BlobStore
from client.peers.engine import LIBTORRENT
from client.peers.network import Network, TcpPolicy
from client.peers.reach import Reach, Turn
from client.peers.session import digests_of, ice_of, local_only, settings_of
from client.peers.throttle import Rates
from tests.client.peers.conftest import Peers, Tracker, until
from workunits.errors import UnavailableError
from workunits.links import Target
from workunits.metainfo import hash_stream
from workunits.torrents import parse_torrent_info

NOWHERE = Network(tcp=TcpPolicy.NEVER)


# -- settings -----------------------------------------------------------------------------------


def test_nothing_of_the_public_network_is_used_unasked() -> None:
    for network in (NOWHERE, Network(), Network(tcp=TcpPolicy.ALWAYS, local=True)):
        settings = settings_of(network, Rates())
        assert not any(settings[f"enable_{name}"] for name in ("dht", "upnp", "natpmp"))
        assert settings["webtorrent_stun_server"] == ""
    quiet = settings_of(NOWHERE, Rates())
    assert quiet["listen_interfaces"] == "127.0.0.1:0"
    assert not any(quiet[f"enable_{way}"] for way in ("incoming_tcp", "outgoing_utp", "lsd"))
    known = libtorrent.default_settings()
    assert set(quiet) <= set(known)


def test_limits_hold_for_peers_in_the_local_network_too() -> None:
    settings = settings_of(NOWHERE, Rates(up=1000, down=2000))
    assert settings["upload_rate_limit"] == settings["local_upload_rate_limit"] == 1000
    assert settings["download_rate_limit"] == settings["local_download_rate_limit"] == 2000


@pytest.mark.parametrize(
    ("host", "blocked"),
    [("192.168.1.2", 0), ("127.0.0.1", 0), ("fe80::1", 0), ("8.8.8.8", 1), ("2001:4860::1", 1)],
)
def test_tcp_stays_inside_of_the_local_network(host: str, blocked: int) -> None:
    assert local_only().access(str(ip_address(host))) == blocked


def test_one_server_is_named_and_it_is_the_relay() -> None:
    assert ice_of(Reach()) == ""
    assert ice_of(Reach(stun=("stun:a:3478", "stun:b:3478"))) == "stun:a:3478"
    turn = Turn(("turn:relay:3478?transport=udp",), "17:me", "s/cret=", 60)
    assert ice_of(Reach(turn=turn)) == "turn:17%3Ame:s%2Fcret%3D@relay:3478?transport=udp"


# -- hashes that nobody computes twice ----------------------------------------------------------


def mask_of(bits: list[bool]) -> bytes:
    text = "".join("01"[bit] for bit in bits)
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


@pytest.mark.parametrize("lost", [None, 0, 3])
def test_the_digests_of_pieces_come_from_those_of_blocks(lost: int | None, tmp_path: Path) -> None:
    from hashlib import sha256

    data = os.urandom(17_000_000)  # pieces of two blocks
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("rb") as stream:
        hashed = hash_stream(stream, len(data))
    blocks = [data[at : at + 16_384] for at in range(0, len(data), 16_384)]
    leaves = {at: sha256(block).digest() for at, block in enumerate(blocks) if at != lost}
    first = (1 << (len(blocks) - 1).bit_length()) - 1
    bits = [False] * first + [at in leaves for at in range(first + 1)]
    resume = {b"trees": [{b"hashes": b"".join(leaves.values()), b"mask": mask_of(bits)}]}
    found = digests_of(resume, hashed.info)
    assert hashed.info.piece_length == 32_768
    expected = {piece: hashed.layer[32 * piece :][:32] for piece in range(hashed.info.count)}
    if lost is not None:
        del expected[lost // 2]
    assert found == expected
    assert digests_of({}, hashed.info) == {}


# -- the tracker --------------------------------------------------------------------------------


async def test_a_hybrid_torrent_is_announced_once(peers: Peers, tracker: Tracker) -> None:
    async with peers:
        seeder, store = await peers.add(engine=LIBTORRENT)
        seeder.seed(store.add(os.urandom(100_000)))
        service = tracker.service
        assert service is not None
        await until(lambda: service.counters().peers == 1)
        await until(lambda: service.counters().socket_messages >= 1)
        assert service.counters().swarms == 1
    await until(lambda: service.counters().peers == 0)


async def test_more_peers_than_offers_are_answered_find_a_seed(
    peers: Peers, tracker: Tracker
) -> None:
    data = os.urandom(50_000)
    async with peers:
        seeder, store = await peers.add(engine=LIBTORRENT)
        ref = store.add(data)
        seeder.seed(ref)
        for _ in range(9):
            fetcher, _ = await peers.add(engine=LIBTORRENT)
            assert (await fetcher.fetch(ref)).read_bytes() == data
            fetcher.unseed(ref)


# -- folders ------------------------------------------------------------------------------------


def content(folder: Path) -> Path:
    made = folder / "data"
    (made / "below").mkdir(parents=True)
    (made / "a").write_bytes(os.urandom(300_000))
    (made / "below" / "b").write_bytes(os.urandom(70_000))
    (made / "empty").touch()
    return made


def torrent_of(path: Path, kind: str) -> tuple[bytes, dict[bytes, bytes]]:
    """The info dictionary and piece layers that libtorrent makes of ``path``."""
    flags = {"v1": 64, "v2": 32, "hybrid": 0}[kind]
    made = libtorrent.create_torrent(libtorrent.list_files(str(path)), 16_384, flags)
    libtorrent.set_piece_hashes(made, str(path.parent))
    torrent: Any = made.generate()
    return libtorrent.bencode(torrent[b"info"]), dict(torrent.get(b"piece layers", {}))


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
async def test_torrents_of_others_are_shared_and_fetched(
    peers: Peers, tmp_path: Path, kind: str
) -> None:
    source = content(tmp_path / "from")
    raw, layers = torrent_of(source, kind)
    info = parse_torrent_info(raw)
    target = Target(info.v1, info.v2, name="data")
    # libtorrent 2.1.1 does not recognise torrents of v2 alone over WebRTC.
    network = Network(tcp=TcpPolicy.LAN if kind == "v2" else TcpPolicy.NEVER)
    async with peers:
        first, _ = await peers.add(engine=LIBTORRENT, network=network)
        await first.share(info, source.parent, layers=layers)
        second, _ = await peers.add(engine=LIBTORRENT, network=network)
        seen: list[int] = []
        found = await second.download(
            target, tmp_path / "to", progress=lambda at: seen.append(at.done)
        )
        assert found == info
        assert files_in(tmp_path / "to") == files_in(tmp_path / "from")
        assert await second.download(target, tmp_path / "to") == info
        third, _ = await peers.add(engine=LIBTORRENT, network=network)
        assert await third.download(target, tmp_path / "to") == info  # it was all there


async def test_what_is_something_else_is_not_overwritten(peers: Peers, tmp_path: Path) -> None:
    source = content(tmp_path / "from")
    info = parse_torrent_info(torrent_of(source, "hybrid")[0])
    (tmp_path / "to" / "data").mkdir(parents=True)
    precious = tmp_path / "to" / "data" / "a"
    precious.write_bytes(b"mine" * 100_000)
    async with peers:
        first, _ = await peers.add(engine=LIBTORRENT)
        await first.share(info, source.parent)
        second, _ = await peers.add(engine=LIBTORRENT)
        with pytest.raises(Exception, match="a"):
            await second.download(Target(info.v1, info.v2), tmp_path / "to")
        assert precious.read_bytes() == b"mine" * 100_000


async def test_a_download_into_a_folder_goes_on(peers: Peers, tmp_path: Path) -> None:
    path = tmp_path / "from" / "big"
    path.parent.mkdir()
    path.write_bytes(os.urandom(2_000_000))
    info = parse_torrent_info(torrent_of(path, "hybrid")[0])
    target = Target(info.v1, info.v2)
    async with peers:
        first, _ = await peers.add(engine=LIBTORRENT)
        await first.share(info, path.parent)
        first.limits = Rates(up=1_000_000)
        seen: list[int] = []
        async with peers.apart() as before:
            second, _ = await before.add(engine=LIBTORRENT)
            fetching = asyncio.get_running_loop().create_task(
                second.download(target, tmp_path / "to", progress=lambda at: seen.append(at.done))
            )
            await until(lambda: seen and seen[-1] > 500_000)
        with pytest.raises(UnavailableError):
            await fetching
        first.limits = Rates()
        third, _ = await peers.add(engine=LIBTORRENT)
        await third.download(target, tmp_path / "to", sequential=True)
        assert third.stats.from_peers < 1_600_000
        assert (tmp_path / "to" / "big").read_bytes() == path.read_bytes()
        assert [each.name for each in (tmp_path / "to").iterdir()] == ["big"]


async def test_files_that_are_gone_are_not_shared(peers: Peers, tmp_path: Path) -> None:
    source = content(tmp_path / "from")
    info = parse_torrent_info(torrent_of(source, "hybrid")[0])
    (source / "a").unlink()
    async with peers:
        first, _ = await peers.add(engine=LIBTORRENT)
        with pytest.raises(UnavailableError):
            await first.share(info, source.parent)
        assert first.stats.blobs == ()


def test_the_store_says_where_a_download_goes(tmp_path: Path) -> None:
    with BlobStore(tmp_path, quota=100_000) as store:
        ref = store.add(b"x")
        assert store.part_folder(ref).parent == tmp_path / "incoming"
