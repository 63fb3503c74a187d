"""Torrents as they were before BEP 52, of folders, as clients of then make them."""

import os
from hashlib import sha1
from pathlib import Path

import bencodepy

NAME = "things"
PIECE = 32768
SIZES = {"large": 700_001, "small": 33, "sub/more": 123_456}


def make(place: Path, announce: str) -> tuple[bytes, str]:
    """Make a folder ``NAME`` in ``place``; the torrent file of it, and a magnet link."""
    stream = b""
    for path, size in SIZES.items():
        file = place / NAME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
        stream += file.read_bytes()
    parts = [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]
    info = {
        "files": [{"length": size, "path": path.split("/")} for path, size in SIZES.items()],
        "name": NAME,
        "piece length": PIECE,
        "pieces": b"".join(sha1(part).digest() for part in parts),
    }
    info_hash = sha1(bencodepy.encode(info)).hexdigest()
    torrent: bytes = bencodepy.encode({"announce": announce, "info": info})
    return torrent, f"magnet:?xt=urn:btih:{info_hash}&dn={NAME}&tr={announce}"


def same(one: Path, two: Path) -> bool:
    """Whether both places have the folder, with the same in it."""
    return all(
        (two / NAME / path).exists()
        and (one / NAME / path).read_bytes() == (two / NAME / path).read_bytes()
        for path in SIZES
    )
