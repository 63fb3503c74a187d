"""Answers to hash requests (BEP 52), out of what a storage knows of its pieces."""

from collections.abc import Callable

from workunits.errors import MalformedError
from workunits.hashtree import HashRequest, HashTree, TreeShape, leaf_hashes
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE
from workunits.torrents import TorrentFile, TorrentInfo

MAX_READ = 4 * 1024 * 1024
"""Bytes of content that are read and hashed for one answer."""


class Trees:
    """The trees of the files of one torrent, each made once, when somebody asks for it.

    All together they take twice the memory of the digests.
    """

    def __init__(
        self, info: TorrentInfo, digests: bytes, read: Callable[[int, int], bytes]
    ) -> None:
        """``digests`` are those of every piece in order; ``read`` gives bytes of the stream."""
        self._info = info
        self._digests = digests
        self._read = read
        self._files = {file.root: file for file in info.files if file.length} if digests else {}
        self._trees: dict[bytes, HashTree | None] = {}

    def cost(self, request: HashRequest) -> int:
        """How many blocks of content must be read and hashed for an answer."""
        file = self._files.get(request.root)
        wanted = TreeShape.of(self._info, file).wanted(request) if file is not None else ()
        size = len(wanted) * self._info.piece_length
        return size // LEAF_SIZE if size <= MAX_READ else 0

    def answer(self, request: HashRequest) -> bytes:
        """The hashes that are asked for; empty where they cannot be had."""
        file = self._files.get(request.root)
        tree = self._tree(file) if file is not None else None
        if file is None or tree is None or not tree.shape.fits(request):
            return b""
        wanted = tree.shape.wanted(request)
        if len(wanted) * self._info.piece_length > MAX_READ:
            return b""
        first = self._info.pieces_of(file).start
        blocks = {at: self._leaves(first + at) for at in wanted}
        return tree.answer(request, blocks) or b""

    def _tree(self, file: TorrentFile) -> HashTree | None:
        if file.root not in self._trees:
            self._trees[file.root] = self._grow(file)
        return self._trees[file.root]

    def _grow(self, file: TorrentFile) -> HashTree | None:
        pieces = self._info.pieces_of(file)
        layer = self._digests[pieces.start * HASH_SIZE : pieces.stop * HASH_SIZE]
        try:
            return HashTree(TreeShape.of(self._info, file), layer)
        except MalformedError:
            return None

    def _leaves(self, piece: int) -> bytes:
        start = piece * self._info.piece_length
        return leaf_hashes(self._read(start, self._info.data_of(piece)))
