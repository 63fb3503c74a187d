"""Answers to hash requests (BEP 52), out of what a storage knows of its pieces."""

from collections.abc import Callable

from workunits.errors import MalformedError
from workunits.hashtree import HashRequest, HashTree, TreeShape, leaf_hashes
from workunits.ids import HASH_SIZE
from workunits.torrents import TorrentFile, TorrentInfo

MAX_TREES = 4
"""Trees that are kept: a peer asks for one after the other."""

MAX_READ = 4 * 1024 * 1024
"""Bytes of content that are read and hashed for one answer."""


class Trees:
    """The trees of the files of one torrent, made when somebody asks."""

    def __init__(
        self, info: TorrentInfo, digests: bytes, read: Callable[[int, int], bytes]
    ) -> None:
        """``digests`` are those of every piece in order; ``read`` gives bytes of the stream."""
        self._info = info
        self._digests = digests
        self._read = read
        self._trees: dict[bytes, HashTree] = {}

    def answer(self, request: HashRequest) -> bytes:
        """The hashes that are asked for; empty where they cannot be had."""
        file = next((each for each in self._info.files if each.root == request.root), None)
        if file is None or not self._digests:
            return b""
        tree = self._trees.get(file.root) or self._grow(file)
        if tree is None:
            return b""
        wanted = tree.shape.wanted(request)
        if len(wanted) * self._info.piece_length > MAX_READ:
            return b""
        first = self._info.pieces_of(file).start
        blocks = {at: self._leaves(first + at) for at in wanted}
        return tree.answer(request, blocks) or b""

    def _grow(self, file: TorrentFile) -> HashTree | None:
        pieces = self._info.pieces_of(file)
        layer = self._digests[pieces.start * HASH_SIZE : pieces.stop * HASH_SIZE]
        try:
            tree = HashTree(TreeShape.of(self._info, file), layer)
        except MalformedError:
            return None
        if len(self._trees) >= MAX_TREES:
            del self._trees[next(iter(self._trees))]
        self._trees[file.root] = tree
        return tree

    def _leaves(self, piece: int) -> bytes:
        start = piece * self._info.piece_length
        return leaf_hashes(self._read(start, self._info.data_of(piece)))
