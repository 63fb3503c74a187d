"""Torrents of folders are the ones that libtorrent makes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workunits.torrent_cases import KIB, SHAPES, content, make, write
from workunits.authoring import FolderHasher, in_order
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.torrent_files import TorrentDocument, encode_torrent_file, parse_torrent_file
from workunits.torrents import MAX_FILES, MAX_STREAM

WIDE = {f"{at:02}/x": 1 for at in range(40)} | {"a": 0, "a.b": 5, "a-b/c": 6, "big": 70_000}
LARGE = {"a": 9_000_000, "b": 8_000_000, "c": 16 * KIB}  # large enough for 32 KiB pieces


def hashed(shape: dict[str, int], step: int = 1_000_000) -> TorrentDocument:
    paths = in_order(tuple(path.split("/")) for path in shape)
    hasher = FolderHasher("D", [(path, shape["/".join(path)]) for path in paths])
    for path in paths:
        name = "/".join(path)
        data = content(name, shape[name])
        for at in range(0, len(data), step):
            hasher.update(data[at : at + step])
    return hasher.finish()


@pytest.mark.parametrize("shape", [*SHAPES.values(), WIDE, LARGE])
def test_libtorrent_makes_the_same_torrent(shape: dict[str, int], tmp_path: Path) -> None:
    ours = hashed(shape)
    write(tmp_path, "D", shape)
    theirs = make(tmp_path, "D", "hybrid", ours.info.piece_length)
    assert ours.info.raw == encode(theirs[b"info"])
    assert ours.layers == theirs.get(b"piece layers", {})
    assert parse_torrent_file(encode_torrent_file(ours)) == ours


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=4), st.integers(1, 40_000))
@settings(max_examples=50, deadline=None)
def test_the_way_the_content_is_cut_changes_nothing(sizes: list[int], step: int) -> None:
    shape = {f"{at}": size for at, size in enumerate(sizes)}
    assert hashed(shape, step) == hashed(shape)


def test_content_must_be_as_long_as_announced() -> None:
    hasher = FolderHasher("D", [(("a",), 5), (("b",), 3)])
    with pytest.raises(MalformedError, match="longer"):
        hasher.update(b"123456")
    hasher.update(b"12345")
    with pytest.raises(MalformedError, match="shorter"):
        hasher.finish()
    hasher.update(b"123")
    with pytest.raises(MalformedError, match="longer"):
        hasher.update(b"1")
    assert hasher.finish().info.content == 8


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("D", []),
        ("..", [(("a",), 1)]),
        ("D", [(("a\n",), 1)]),
        ("D", [((".", "a"), 1)]),
        ("D", [(("a",), MAX_STREAM + 1)]),
        ("D", [((f"{at:07}",), 0) for at in range(MAX_FILES + 1)]),
    ],
)
def test_folders_that_are_no_torrents_are_refused(
    name: str, files: list[tuple[tuple[str, ...], int]]
) -> None:
    with pytest.raises(SwarmError) as caught:
        FolderHasher(name, files)
    assert caught.value.hint


def test_files_must_come_in_order() -> None:
    with pytest.raises(ValueError, match="order"):
        FolderHasher("D", [(("b",), 1), (("a",), 1)])
    assert in_order([("a", "b"), ("a.b",), ("a-b",)]) == [("a", "b"), ("a-b",), ("a.b",)]


def test_a_torrent_that_nobody_could_read_is_not_made() -> None:
    files = [((f"{at:0200}",), 0) for at in range(30_000)]
    with pytest.raises(LimitError) as caught:
        FolderHasher("D", files).finish()
    assert caught.value.hint
