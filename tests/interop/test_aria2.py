"""aria2 meets our peers over TCP, knowing nothing but our tracker."""

from pathlib import Path

import pytest

from tests.client.peers.conftest import until
from tests.interop import programs
from tests.interop.clients import aria2, running
from tests.interop.members import announce_url, magnet_of, member, seen, torrent_of


@pytest.fixture
def program() -> list[str]:
    """An aria2 that knows hybrid torrents."""
    return programs.of_debian_13("aria2c")


@pytest.mark.parametrize(
    ("scheme", "by"), [("http", "torrent"), ("http", "magnet"), ("udp", "torrent")]
)
async def test_aria2_fetches_from_us(
    tracker: str, content: bytes, program: list[str], tmp_path: Path, scheme: str, by: str
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker, scheme))
    (tmp_path / "given.torrent").write_bytes(file)
    given = str(tmp_path / "given.torrent") if by == "torrent" else magnet_of(torrent, v2=False)
    async with member(tracker, tmp_path / "store") as (swarm, store):
        swarm.seed(store.add(content))
        await seen(tracker, torrent, seeders=2)
        with running(aria2(program, given, tmp_path / "theirs"), tmp_path / "log") as client:
            await until(lambda: client.poll() is not None)
            assert client.returncode == 0, (tmp_path / "log").read_text()
        assert (tmp_path / "theirs" / torrent.info.root.hex()).read_bytes() == content
        assert swarm.stats.sent >= len(content)


@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_aria2_seeds_to_us(
    tracker: str, content: bytes, program: list[str], tmp_path: Path, scheme: str
) -> None:
    torrent, file = torrent_of(content, announce_url(tracker, scheme))
    (tmp_path / "given.torrent").write_bytes(file)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / torrent.info.root.hex()).write_bytes(content)
    command = aria2(
        *(program, str(tmp_path / "given.torrent"), tmp_path / "theirs"),
        *("--check-integrity=true", "--seed-ratio=0"),
    )
    with running(command, tmp_path / "log"):
        await seen(tracker, torrent, seeders=1)
        async with member(tracker, tmp_path / "store") as (swarm, _):
            path = await swarm.fetch(torrent.info.ref)
            assert path.read_bytes() == content
            assert swarm.stats.from_peers == len(content)
