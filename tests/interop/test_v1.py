"""Torrents of v1, which other clients made, travel through ``swarm seed`` and ``swarm fetch``.

With the aria2 and the transmission of this Debian, however old they are.
"""

import asyncio
from pathlib import Path

import pytest

from tests.client.peers.conftest import until
from tests.interop import programs, v1
from tests.interop.browser import browser
from tests.interop.clients import aria2, running, transmission
from tests.interop.members import announce_url
from tests.interop.network import LAN, lan
from tests.interop.processes import fetch, seeding
from tests.interop.processes import tracker as tracker_process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the torrent's content is."""
    made = tmp_path / "given"
    made.mkdir()
    return made


async def test_aria2_fetches_what_swarm_seed_serves(
    tracker: str, place: Path, tmp_path: Path
) -> None:
    programs.need("aria2c")
    torrent, _ = v1.make(place, announce_url(tracker, "udp"))
    (tmp_path / "v1.torrent").write_bytes(torrent)
    with seeding(tracker, tmp_path / "v1.torrent", place / v1.NAME):
        command = aria2(["aria2c"], str(tmp_path / "v1.torrent"), tmp_path / "theirs")
        with running(command, tmp_path / "log") as client:
            await until(lambda: client.poll() is not None)
            assert v1.same(place, tmp_path / "theirs")


async def test_swarm_fetch_takes_a_magnet_link_to_what_aria2_seeds(
    tracker: str, place: Path, tmp_path: Path
) -> None:
    programs.need("aria2c")
    torrent, magnet = v1.make(place, announce_url(tracker, "http"))
    (tmp_path / "v1.torrent").write_bytes(torrent)
    command = aria2(
        *(["aria2c"], str(tmp_path / "v1.torrent"), place),
        *("--check-integrity=true", "--seed-ratio=0"),
    )
    with running(command, tmp_path / "log"):
        await asyncio.to_thread(fetch, tracker, magnet, tmp_path / "ours")
        assert v1.same(place, tmp_path / "ours")


@pytest.mark.parametrize("who", ["ours", "theirs"])
async def test_transmission_exchanges_with_swarm_seed_and_swarm_fetch(
    place: Path, tmp_path: Path, who: str
) -> None:
    programs.need("transmission-cli")
    url = f"http://{LAN[0]}:8400"
    torrent, magnet = v1.make(place, announce_url(url, "udp"))
    file = tmp_path / "v1.torrent"
    file.write_bytes(torrent)
    there = tmp_path / "there"
    with (
        lan() as (ours, other),
        tracker_process(
            *(tmp_path / "tracker", "--mode", "open", "--lan"),
            listen=f"{LAN[0]}:8400",
            inside=ours.inside,
        ),
    ):
        command = transmission(["transmission-cli"], str(file), there, 51413)
        if who == "theirs":
            place.rename(there)
        with running([*other.inside, *command], tmp_path / "log"):
            if who == "ours":
                with seeding(url, file, place / v1.NAME, inside=ours.inside):
                    await until(lambda: v1.same(place, there))
            else:
                fetched = tmp_path / "fetched"
                await asyncio.to_thread(fetch, url, magnet, fetched, inside=ours.inside)
                assert v1.same(there, fetched)


async def test_swarm_fetch_takes_a_magnet_link_to_what_a_browser_made_and_seeds(
    tracker: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "content").write_bytes(content)
    async with browser(tmp_path) as page:
        made = await page.do("make", content="content", announce=announce_url(tracker))
        await asyncio.to_thread(fetch, tracker, made["magnet"], tmp_path / "ours")
        assert (tmp_path / "ours" / "content").read_bytes() == content
