"""transmission meets our peers over TCP, in a local network, knowing nothing but our tracker.

Not on one machine: it takes no peers at 127.0.0.1 from a tracker.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.peers.conftest import until
from tests.interop import programs
from tests.interop.clients import running, transmission
from tests.interop.members import announce_url, magnet_of, torrent_of
from tests.interop.network import LAN, Space, lan
from tests.interop.peer import spell
from tests.interop.processes import peer, tracker

URL = f"http://{LAN[0]}:8400"
ATTEMPTS = 3
"""transmission pauses a magnet link when its metadata is there, and goes on at once; if its command
line looks just then, which is rare, it takes the pause for the end."""


@pytest.fixture
def program() -> list[str]:
    """A transmission that knows hybrid torrents."""
    return programs.of_debian_13("transmission-cli")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Space, Space]]:
    """Two machines; a tracker runs on the first."""
    with (
        lan() as (ours, other),
        tracker(
            *(tmp_path / "tracker", "--mode", "open", "--lan"),
            listen=f"{LAN[0]}:8400",
            inside=ours.inside,
        ),
    ):
        yield ours, other


@pytest.mark.parametrize(("scheme", "by"), [("udp", "magnet")])
async def test_transmission_fetches_from_us(
    machines: tuple[Space, Space],
    content: bytes,
    program: list[str],
    tmp_path: Path,
    scheme: str,
    by: str,
) -> None:
    ours, other = machines
    torrent, file = torrent_of(content, announce_url(URL, scheme))
    (tmp_path / "given.torrent").write_bytes(file)
    given = str(tmp_path / "given.torrent") if by == "torrent" else magnet_of(torrent)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "content").write_bytes(content)
    with peer(URL, str(tmp_path / "ours"), inside=ours.inside) as seeder:
        seeder.hear()
        for attempt in range(ATTEMPTS):
            theirs = tmp_path / f"theirs-{attempt}"
            command = [*other.inside, *transmission(program, given, theirs, 51413)]
            brought = theirs / torrent.info.root.hex()
            if await is_brought(brought, command, tmp_path / f"log-{attempt}"):
                break
        assert brought.read_bytes() == content


async def is_brought(file: Path, command: list[str], log: Path) -> bool:
    """Whether a client brings ``file`` before it ends."""
    with running(command, log) as process:
        await until(lambda: file.exists() or process.poll() is not None)
    return file.exists()


@pytest.mark.parametrize("scheme", ["http"])
async def test_transmission_seeds_to_us(
    machines: tuple[Space, Space], content: bytes, program: list[str], tmp_path: Path, scheme: str
) -> None:
    ours, other = machines
    torrent, file = torrent_of(content, announce_url(URL, scheme))
    (tmp_path / "given.torrent").write_bytes(file)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / torrent.info.root.hex()).write_bytes(content)
    command = [
        *other.inside,
        *transmission(program, str(tmp_path / "given.torrent"), theirs, 51413),
    ]
    with running(command, tmp_path / "log"):
        arguments = (URL, str(tmp_path / "ours"), spell(torrent.info.ref))
        with peer(*arguments, inside=ours.inside) as leecher:
            assert leecher.hear()["from_peers"] == len(content)
            assert (tmp_path / "ours" / "content").read_bytes() == content
