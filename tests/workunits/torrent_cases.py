"""Torrents made by libtorrent, and what libtorrent says about them."""

import warnings
from hashlib import sha256
from pathlib import Path

import libtorrent

from workunits.canonical import encode

KIB = 1024
FOLDER = {
    "a": 20_000,
    "empty": 0,
    "sub/b": 100,
    "sub/deeper/c": 16 * KIB,
    "sub/none": 0,
    "z": 40_000,
}
TINY = {"one": 1, "two": 2, "x/three": 3}
HOLLOW = {"a": 0, "b": 5, "c": 0}
SHAPES = {"folder": FOLDER, "tiny": TINY, "hollow": HOLLOW, "lone": {"only": 70_000}}
KINDS = {
    "hybrid": 0,
    "v1": libtorrent.create_torrent.v1_only,
    "v2": libtorrent.create_torrent.v2_only,
    "untailed": libtorrent.create_torrent.canonical_files_no_tail_padding,
}


def content(name: str, size: int) -> bytes:
    """Bytes that follow from a name."""
    return (sha256(name.encode()).digest() * (size // 32 + 1))[:size]


def write(root: Path, name: str, shape: dict[str, int]) -> None:
    """Put the files of ``shape`` under ``root/name``."""
    for path, size in shape.items():
        place = root / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content(path, size))


def make(root: Path, name: str, kind: str, span: int = 16 * KIB) -> dict[bytes, object]:
    """The torrent that libtorrent makes of a file or folder, in Python's types."""
    top = root / name
    paths = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
    entries = [
        libtorrent.create_file_entry(str(path.relative_to(root)), path.stat().st_size)
        for path in paths
    ]
    maker = libtorrent.create_torrent(entries, span, KINDS[kind])
    libtorrent.set_piece_hashes(maker, str(root))
    made: dict[bytes, object] = maker.generate()
    return made


def load(made: dict[bytes, object]) -> libtorrent.torrent_info:
    """How libtorrent understands it."""
    info = libtorrent.load_torrent_buffer(encode(made)).ti
    assert info is not None
    return info


def files_of(info: libtorrent.torrent_info) -> list[tuple[str, int, int]]:
    """Path, length and offset of every file that libtorrent sees, without padding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        files = info.files()
    return [
        (files.file_path(at), files.file_size(at), files.file_offset(at))
        for at in range(files.num_files())
        if not files.file_flags(at) & libtorrent.file_flags_t.flag_pad_file
    ]
