"""Headless Chromium with WebTorrent: somebody's browser takes part in our swarms over WebRTC."""

from pathlib import Path

from tests.interop.browser import browser
from tests.interop.members import announce_url, magnet_of, member, torrent_of


async def test_a_browser_fetches_what_our_peer_seeds(
    tracker: str, content: bytes, tmp_path: Path
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker))
    (tmp_path / "given.torrent").write_bytes(file)
    async with (
        member(tracker, tmp_path / "store") as (swarm, store),
        browser(tmp_path) as page,
    ):
        swarm.seed(store.add(content))
        fetched = await page.do("fetch", torrent="given.torrent", into="fetched")
        assert bytes.fromhex(fetched["hash"]) == torrent.info.ref.v1
        assert (tmp_path / "fetched").read_bytes() == content
        assert swarm.stats.sent >= len(content)


async def test_a_browser_joins_from_a_magnet_link_alone(
    tracker: str, content: bytes, tmp_path: Path
) -> None:
    torrent, _ = torrent_of(content, announce_url(tracker))
    async with (
        member(tracker, tmp_path / "store") as (swarm, store),
        browser(tmp_path) as page,
    ):
        swarm.seed(store.add(content))
        fetched = await page.do("fetch", magnet=magnet_of(torrent, v2=False), into="fetched")
        assert fetched["downloaded"] >= len(content)
        assert (tmp_path / "fetched").read_bytes() == content


async def test_our_peer_fetches_what_a_browser_seeds_knowing_only_its_hashes(
    tracker: str, content: bytes, tmp_path: Path
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker))
    (tmp_path / "given.torrent").write_bytes(file)
    (tmp_path / "given").write_bytes(content)
    async with (
        member(tracker, tmp_path / "store") as (swarm, _),
        browser(tmp_path) as page,
    ):
        await page.do("seed", torrent="given.torrent", content="given")
        path = await swarm.fetch(torrent.info.ref)
        assert path.read_bytes() == content
        assert swarm.stats.from_peers == len(content)
