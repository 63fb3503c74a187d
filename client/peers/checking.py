"""Whether a piece is right. Where its SHA-256 is known that decides; SHA-1 only until then."""

from hashlib import sha1, sha256

from client.peers.layout import Layout
from workunits.torrents import TorrentInfo, piece_root


def check(data: bytes, info: TorrentInfo, piece: int, root: bytes) -> tuple[bool, bytes]:
    """Whether ``data`` is ``piece``, and the root of its SHA-256 tree (empty without a v2 half).

    ``root`` is what that root must be; empty while nobody knows, and then the SHA-1 must fit.
    """
    digest = piece_root(data, info, piece) if info.v2 is not None else b""
    if root:
        return digest == root, digest
    return sha1(data, usedforsecurity=False).digest() == info.hash_of(piece), digest


def block_digests(data: bytes, layout: Layout, piece: int) -> list[bytes]:
    """The SHA-256 of every block of a piece, which tells whose blocks were wrong."""
    view = memoryview(data)
    return [
        sha256(view[block.begin : block.begin + block.length]).digest()
        for block in layout.blocks_of(piece)
    ]
