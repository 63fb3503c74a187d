"""Files and folders as torrents: hashed once, known again while nothing changes."""

import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from client import hashes as hashes_module
from client.folders import FolderShelf, places_of
from client.hashes import Hashes
from client.sharing import Shared, describe, match
from tests.workunits.torrent_cases import FOLDER, KINDS, content, make, write
from workunits.canonical import encode
from workunits.errors import LocalError, UnavailableError
from workunits.torrent_files import TorrentDocument, parse_torrent_file


class Watched:
    """Counts how often somebody reads."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose files have been at rest for an hour."""
    write(tmp_path, "D", FOLDER)
    for path in (tmp_path / "D").rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return tmp_path / "D"


@pytest.fixture
def hashes(tmp_path: Path) -> Hashes:
    return Hashes(tmp_path / "cache")


def served(shared: Shared) -> bytes:
    """What a peer would be given."""
    info = shared.document.info
    shelf = FolderShelf(
        shared.folder, info, name=shared.name, layers=shared.document.layers, complete=True
    )
    reader = shelf.open()
    data = reader.read(0, info.length)
    reader.close()
    return data


def test_a_folder_becomes_the_torrent_that_libtorrent_makes(source: Path) -> None:
    watched = Watched()
    shared = describe(source, watch=watched)
    assert shared.document == parse_torrent_file(encode(make(source.parent, "D", "hybrid")))
    assert (shared.folder, shared.name) == (source.parent, "D")
    total = sum(FOLDER.values())
    assert watched.seen[-1] == (total, total)
    assert len(served(shared)) == shared.document.info.length


def test_a_file_becomes_a_blob_and_is_served_under_its_own_name(source: Path) -> None:
    shared = describe(source / "z")
    info = shared.document.info
    assert info.is_blob and places_of(info, shared.name) == (("z",),)
    assert served(shared) == content("z", FOLDER["z"])
    assert describe(source / "empty").document.info.length == 0


def test_what_did_not_change_is_not_read_again(source: Path, hashes: Hashes) -> None:
    first = describe(source, hashes)
    watched = Watched()
    assert describe(source, hashes, watch=watched) == first
    assert watched.seen == []
    (source / "z").write_bytes(b"new")
    changed = describe(source, hashes, watch=watched)
    assert changed != first and watched.seen


def test_what_changed_just_now_is_not_remembered(source: Path, hashes: Hashes) -> None:
    (source / "z").write_bytes(b"new")
    describe(source, hashes)
    watched = Watched()
    describe(source, hashes, watch=watched)
    assert watched.seen


def test_a_broken_cache_is_no_cache(
    source: Path, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = describe(source, hashes)
    (entry,) = (tmp_path / "cache").iterdir()
    for damage in (b"", b"de", entry.read_bytes()[:-5], b"x" + entry.read_bytes()):
        entry.write_bytes(damage)
        assert describe(source, hashes) == first
    monkeypatch.setattr(hashes_module, "MOST", 2)
    for name in ("a", "z", "sub/b"):
        describe(source / name, hashes)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_bytes(b"in the way")
    assert describe(source, hashes) == first


def test_links_and_journals_are_left_out_and_links_named(source: Path) -> None:
    plain = describe(source).document
    (source / "link").symlink_to(source / "z")
    (source / "loop").symlink_to(source)
    (source / ".other.swarm").write_bytes(b"journal")
    os.mkfifo(source / "pipe")
    shared = describe(source)
    assert shared.document == plain
    assert {path.name for path in shared.skipped} == {"link", "loop", "pipe"}


def test_what_cannot_be_seeded_is_said(source: Path, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "line\nbreak").mkdir()
    (tmp_path / "line\nbreak/x").write_bytes(b"")
    (tmp_path / "raw").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "raw") + b"/\xff")).write_bytes(b"")
    for bad in ("nothing", "hollow", "pipe", "line\nbreak", "raw"):
        with pytest.raises(LocalError) as caught:
            describe(tmp_path / bad)
        assert caught.value.hint
        caught.value.message.encode()


def test_a_file_that_changes_while_it_is_read_is_not_seeded(source: Path) -> None:
    def meddle(done: int, total: int) -> None:
        (source / "a").write_bytes(b"other")

    with pytest.raises(LocalError, match="changed"):
        describe(source, watch=meddle)

    def cut(done: int, total: int) -> None:
        (source / "z").write_bytes(b"")

    with pytest.raises(LocalError, match="changed"):
        describe(source, watch=cut)


def test_hashing_can_be_stopped(source: Path) -> None:
    document = describe(source).document
    for start in (describe, partial(match, document)):
        watched = Watched()
        with pytest.raises(UnavailableError, match="stopped"):
            start(source, watch=watched, halted=partial(bool, watched.seen))
        assert len(watched.seen) == 1


@pytest.fixture(params=KINDS)
def document(request: pytest.FixtureRequest, source: Path) -> TorrentDocument:
    return parse_torrent_file(encode(make(source.parent, "D", request.param)))


def test_the_content_of_a_torrent_is_found_and_checked_once(
    document: TorrentDocument, source: Path, hashes: Hashes
) -> None:
    watched = Watched()
    shared = match(document, source, hashes, watch=watched)
    assert watched.seen and shared.document == document
    assert len(served(shared)) == document.info.length
    again = Watched()
    assert match(document, source.parent, hashes, watch=again) == shared
    assert again.seen == []


def test_other_content_is_not_seeded(document: TorrentDocument, source: Path) -> None:
    with (source / "z").open("r+b") as stream:
        stream.write(b"wrong")
    with pytest.raises(LocalError, match="1 of"):
        match(document, source)
    (source / "z").unlink()
    with pytest.raises(LocalError):
        match(document, source)
    source.rename(source.with_name("E"))
    for path in (source.with_name("E"), source.with_name("nothing")):
        with pytest.raises(LocalError) as caught:
            match(document, path)
        assert caught.value.hint


def test_a_blob_matches_whatever_it_is_called(source: Path) -> None:
    document = describe(source / "z").document
    (source / "z").rename(source / "renamed")
    assert match(document, source / "renamed").name == "renamed"
