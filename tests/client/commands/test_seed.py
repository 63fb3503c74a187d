"""``swarm seed``: links, torrent files, registering; what is served is in ``test_fetch``."""

import os
from pathlib import Path

import libtorrent
import pytest

from tests.client.commands.shell import Shell
from tests.workunits.torrent_cases import content, make, write
from workunits.canonical import encode
from workunits.links import parse_link
from workunits.torrent_files import parse_torrent_file

SHAPE = {"a": 70_000, "sub/b": 10, "none": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, "data", SHAPE)
    return tmp_path / "data"


def test_links_and_a_torrent_file_are_what_libtorrent_makes(
    shell: Shell, data: Path, tmp_path: Path
) -> None:
    torrent = tmp_path / "out.torrent"
    said = shell.good("seed", data, "--no-serve", "--torrent", torrent)
    magnet, swarm = said.out.split()
    document = parse_torrent_file(torrent.read_bytes())
    assert document.info.raw == encode(make(tmp_path, "data", "hybrid")[b"info"])
    for link in (parse_link(magnet), parse_link(swarm)):
        assert (link.v1, link.v2) == (document.info.v1, document.info.v2)
        assert (link.name, link.length) == ("data", 70_010)
        assert f"{shell.tracker}/announce" in link.trackers
        assert any(url.startswith("ws://") for url in link.trackers)
    theirs = libtorrent.load_torrent_buffer(torrent.read_bytes())
    assert theirs.trackers == list(document.trackers) == list(parse_link(magnet).trackers)
    assert "68.4 KiB, 3 files" in said.err


def test_scripts_get_json(shell: Shell, data: Path) -> None:
    said = shell.good("seed", data / "a", "--no-serve", "--json")
    link = parse_link(said.json["magnet"])
    assert said.json["v2"] == (link.v2 or b"").hex()
    assert (said.json["name"], said.json["length"], said.json["files"]) == ("a", 70_000, 1)
    assert said.json["torrent"] is None
    assert said.err == ""


def test_what_is_seeded_is_registered_with_the_tracker(shell: Shell, data: Path) -> None:
    import asyncio

    import aiohttp

    async def registered() -> list[str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{shell.tracker}/api/v1/torrents", params={"account": shell.key()}
            ) as answer,
        ):
            return [each["name"] for each in (await answer.json())["torrents"]]

    shell.good("seed", data, data / "a", "--no-serve")
    assert sorted(asyncio.run(registered())) == ["a", "data"]


def test_the_content_of_a_torrent_file_is_checked(shell: Shell, data: Path, tmp_path: Path) -> None:
    torrent = tmp_path / "made.torrent"
    torrent.write_bytes(encode(make(tmp_path, "data", "v1")))
    for words in ((torrent, data), (torrent, tmp_path), (torrent,)):
        said = shell.good("seed", *words, "--no-serve", "--json")
        assert said.json["v2"] is None and said.json["path"] == str(data)
    (data / "a").write_bytes(b"other")
    said = shell.run("seed", torrent, data, "--no-serve")
    assert said.status == 1 and "hint:" in said.err
    torrent.write_bytes(b"de")
    said = shell.run("seed", torrent, data, "--no-serve")
    assert said.status == 2 and str(torrent) in said.err


def test_the_files_of_a_job_are_seeded_without_links(shell: Shell) -> None:
    job = shell.job_file()
    assert shell.good("seed", job, "--no-serve").out == ""
    assert shell.good("seed", job.parent, "--no-serve", "--json").json["name"] == "square.py"
    plain = shell.good("seed", job.parent, "--plain", "--no-serve", "--json").json
    assert (plain["name"], plain["files"]) == ("job", 2)


def test_what_a_torrent_cannot_hold_is_named(shell: Shell, data: Path) -> None:
    for at in range(7):
        (data / f"link{at}").symlink_to(data / "a")
    said = shell.good("seed", data, "--no-serve")
    assert said.err.count("left out") == 5 and "2 more" in said.err


@pytest.mark.parametrize("words", [(), ("nothing",), ("--torrent", "x.torrent")])
def test_mistakes_are_said_with_a_hint(shell: Shell, data: Path, words: tuple[str, ...]) -> None:
    paths = (data, data / "a") if "--torrent" in words else ()
    said = shell.run("seed", *paths, *words, "--no-serve")
    assert said.status == (1 if words == ("nothing",) else 2)
    assert "hint:" in said.err


def test_links_are_made_while_the_tracker_is_away(data: Path, tmp_path: Path) -> None:
    said = Shell(tmp_path / "home", "http://127.0.0.1:1").good("seed", data, "--no-serve")
    assert "warning" in said.err
    assert "http://127.0.0.1:1/announce" in parse_link(said.out.split()[0]).trackers


def test_files_are_not_read_again_while_nothing_changes(shell: Shell, data: Path) -> None:
    for path in data.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    first = shell.good("seed", data, "--no-serve").out
    stamp = (data / "a").stat()
    (data / "a").write_bytes(content("other", stamp.st_size))
    os.utime(data / "a", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert shell.good("seed", data, "--no-serve").out == first  # nobody could see a change
    os.utime(data / "a")
    assert shell.good("seed", data, "--no-serve").out != first
