"""Making a hybrid torrent of a folder (BEP 52): what its files hash to, read once and in order.

A single file is a blob, see ``workunits.metainfo``; a folder keeps its name and the names in it.
The result is byte for byte what libtorrent makes of the same folder.
"""

from collections.abc import Iterable
from hashlib import sha1, sha256

from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError
from workunits.metainfo import LEAF_SIZE, Tree, layer_root, piece_length_of
from workunits.torrent_files import TorrentDocument
from workunits.torrents import (
    MAX_FILES,
    MAX_INFO,
    MAX_STREAM,
    check_component,
    parse_torrent_info,
)

Parts = tuple[str, ...]
"""Components of a path in the folder."""

_HINT = "Seed its parts one by one, or pack small files into an archive."
_ZEROS = bytes(LEAF_SIZE)


def in_order(paths: Iterable[Parts]) -> list[Parts]:
    """The order that files have in a torrent: that of their names as bytes, folder by folder."""
    return sorted(paths, key=lambda path: [part.encode() for part in path])


class FolderHasher:
    """Takes the content of a folder's files, one after another, in constant memory."""

    def __init__(self, name: str, files: Iterable[tuple[Parts, int]]) -> None:
        """``files`` are paths and lengths in the order of ``in_order``.

        Raises ``MalformedError`` for names that no torrent can have, and ``LimitError``.
        """
        self._name = name
        self._files = list(files)
        paths = [path for path, _ in self._files]
        if not paths:
            raise MalformedError("a torrent needs a file", hint="Put one into the folder.")
        if paths != in_order(paths):
            raise ValueError("the files are not in order")
        for part in (name, *(part for path in paths for part in path)):
            check_component(part.encode())
        self.length = sum(length for _, length in self._files)
        if len(paths) > MAX_FILES or self.length > MAX_STREAM:
            raise LimitError(
                f"a folder of {len(paths)} files and {self.length} bytes is over the limit",
                hint=_HINT,
            )
        self._span = piece_length_of(self.length)
        self._leaves = self._span // LEAF_SIZE
        self._tree: dict[bytes, object] = {}
        self._listed: list[dict[str, object]] = []
        self._pieces = bytearray()
        self._layers: dict[bytes, bytes] = {}
        self._at = 0
        self._open()

    def update(self, data: bytes | memoryview) -> None:
        """Take content of the current file, and of none beside it.

        Raises ``MalformedError`` past its announced length.
        """
        if len(data) > self._left:
            raise MalformedError("a file is longer than it was")
        view = memoryview(data)
        self._left -= len(view)
        while view:
            take = LEAF_SIZE - len(self._pending)
            if self._pending or len(view) < take:
                self._pending += view[:take]
                if len(self._pending) == LEAF_SIZE or not self._left:
                    self._leaf(memoryview(bytes(self._pending)))
                    self._pending.clear()
            else:
                self._leaf(view[:take])
            view = view[take:]
        if data and not self._left:
            self._close()

    def finish(self) -> TorrentDocument:
        """The torrent. Raises ``MalformedError`` when content is missing, and ``LimitError``."""
        if self._at < len(self._files):
            raise MalformedError("a file is shorter than it was")
        raw = encode(
            {
                "file tree": self._tree,
                "files": self._listed,
                "meta version": 2,
                "name": self._name,
                "piece length": self._span,
                "pieces": bytes(self._pieces),
            }
        )
        if len(raw) > MAX_INFO:
            raise LimitError("the folder has too many files for one torrent", hint=_HINT)
        return TorrentDocument(parse_torrent_info(raw), self._layers)

    def _open(self) -> None:
        """Begin with the next file that is not empty."""
        self._left = 0
        self._pending = bytearray()
        while self._at < len(self._files) and not self._files[self._at][1]:
            self._list(b"")
        if self._at < len(self._files):
            self._left = self._files[self._at][1]
            self._one = self._left <= self._span
            self._layer = bytearray()
            self._new_piece()

    def _new_piece(self) -> None:
        self._branch = Tree()
        self._piece = sha1(usedforsecurity=False)
        self._room = self._span

    def _leaf(self, data: memoryview) -> None:
        self._piece.update(data)
        self._branch.add(sha256(data).digest())
        self._room -= len(data)
        if not self._room and not self._one:
            self._end_piece()

    def _end_piece(self) -> None:
        self._pieces += self._piece.digest()
        self._layer += self._branch.root(1 if self._one else self._leaves)
        self._new_piece()

    def _close(self) -> None:
        """End the current file: pad it up to a piece, unless it is the only one (BEP 47)."""
        pad = -self._files[self._at][1] % self._span if len(self._files) > 1 else 0
        for at in range(0, pad, LEAF_SIZE):
            self._piece.update(_ZEROS[: pad - at])
        if self._branch.count:
            self._end_piece()
        layer = bytes(self._layer)
        root = layer if self._one else layer_root(layer, self._leaves)
        if not self._one:
            self._layers[root] = layer
        self._list(root)
        if pad:
            self._listed.append({"attr": "p", "length": pad, "path": [".pad", str(pad)]})
        self._open()

    def _list(self, root: bytes) -> None:
        path, length = self._files[self._at]
        self._at += 1
        self._listed.append({"length": length, "path": list(path)})
        folder = self._tree
        for part in path:
            folder = folder.setdefault(part.encode(), {})  # type: ignore[assignment]
        folder[b""] = {"length": length} | ({"pieces root": root} if length else {})
