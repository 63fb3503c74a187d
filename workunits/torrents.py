"""Any torrent: v1, v2 or hybrid, of one file or many, made by whatever client (BEP 3, 47, 52).

What our own jobs use has exactly one spelling and lives in ``workunits.metainfo``; this module
reads what others made. Bytes of content have one address, the torrent's stream: its files one after
another, with the padding between them that v2 and hybrid torrents have.
"""

from bisect import bisect_right
from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import NamedTuple

from workunits.canonical import Value, decode
from workunits.errors import LimitError, MalformedError
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE, MIN_PIECE, SHA1_SIZE, Metainfo, Tree

MAX_INFO = 8 * 1024 * 1024
MAX_FILES = 100_000
MAX_DEPTH = 32
"""Most components of a path, the torrent's name among them."""

MAX_NAME = 255
"""Most bytes of one component: what file systems take."""

MIN_V1_PIECE = 1024
MAX_PIECE = 64 * 1024 * 1024
MAX_PIECES = 2**19
MAX_STREAM = MAX_PIECES * MAX_PIECE
MAX_NESTING = MAX_DEPTH + 4
_CONTROL = frozenset(map(chr, [*range(32), *range(127, 160)]))
_WHAT = "info dictionary"


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """One file. Padding files are not listed."""

    path: tuple[str, ...]
    """Where it goes below the folder that a torrent is fetched into; starts with its name."""

    length: int
    offset: int
    """Where it starts in the torrent's stream."""

    root: bytes
    """Pieces root (BEP 52), 32 bytes; empty for an empty file and in a torrent of v1 only."""


class Span(NamedTuple):
    """Part of the stream that lies in one file, or in padding (``file`` is None)."""

    file: int | None
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TorrentInfo:
    """A checked info dictionary."""

    raw: bytes
    name: str
    v1: bytes | None
    """SHA-1 info-hash of 20 bytes, when there is a v1 half."""

    v2: bytes | None
    """SHA-256 info-hash of 32 bytes, when there is a v2 half."""

    piece_length: int
    files: tuple[TorrentFile, ...]
    """In the order of the stream."""

    pieces: bytes
    """The SHA-1 of every piece; empty in a torrent of v2 only."""

    length: int
    """Bytes in the stream, padding included."""

    single: bool
    """Whether it is one file, not a folder."""

    private: bool = False
    """Peers come from the tracker alone (BEP 27)."""

    @property
    def hash20(self) -> bytes:
        """What names the swarm on the wire: the v1 hash, or the start of the v2 hash."""
        return self.v1 or (self.v2 or b"")[:SHA1_SIZE]

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return -(-self.length // self.piece_length)

    @property
    def content(self) -> int:
        """Bytes in all files, without padding."""
        return sum(file.length for file in self.files)

    @property
    def is_blob(self) -> bool:
        """Whether it is named by its content, as ``workunits.metainfo`` does it."""
        return self.single and self.v2 is not None and self.name == self.files[0].root.hex()

    def size_of(self, piece: int) -> int:
        """Bytes of ``piece`` on the wire, padding included; only the last one can be short."""
        return min(self.piece_length, self.length - piece * self.piece_length)

    def data_of(self, piece: int) -> int:
        """Bytes of ``piece`` that the v2 tree covers: up to the end of its file (BEP 52)."""
        index = self.file_at(piece * self.piece_length)
        if self.v2 is None or index is None:
            return self.size_of(piece)
        file = self.files[index]
        return min(self.piece_length, file.offset + file.length - piece * self.piece_length)

    def hash_of(self, piece: int) -> bytes:
        """SHA-1 of ``piece`` as on the wire; empty in a torrent of v2 only."""
        return self.pieces[piece * SHA1_SIZE : (piece + 1) * SHA1_SIZE]

    def file_at(self, offset: int) -> int | None:
        """Index of the file that holds the byte at ``offset``; None in padding."""
        index = bisect_right(self.files, offset, key=_offset_of) - 1
        if index < 0 or offset >= self.files[index].offset + self.files[index].length:
            return None
        return index

    def pieces_of(self, file: TorrentFile) -> range:
        """The pieces that hold bytes of ``file``."""
        end = file.offset + file.length if file.length else 0
        return range(file.offset // self.piece_length, -(-end // self.piece_length))

    def place_of(self, piece: int) -> tuple[TorrentFile, int]:
        """The file in which ``piece`` starts, and at which of the file's pieces.

        In a v2 torrent every piece belongs to exactly one file. Raises ``IndexError`` beyond the
        end, and for a piece that starts in padding, which only v1 has.
        """
        index = self.file_at(piece * self.piece_length)
        if index is None:
            raise IndexError(f"no file holds the start of piece {piece}")
        file = self.files[index]
        return file, piece - file.offset // self.piece_length

    def spans(self, offset: int, size: int) -> list[Span]:
        """Where ``size`` bytes of the stream from ``offset`` on lie, in order.

        Raises ``IndexError`` outside of the stream.
        """
        end = offset + size
        if offset < 0 or size < 0 or end > self.length:
            raise IndexError(f"bytes {offset} to {end} are not in a stream of {self.length}")
        spans: list[Span] = []
        index = max(0, bisect_right(self.files, offset, key=_offset_of) - 1)
        while offset < end:
            file = self.files[index] if index < len(self.files) else None
            if file is None or offset < file.offset:  # padding before a file, or at the end
                stop = min(end, file.offset if file else self.length)
                spans.append(Span(None, 0, stop - offset))
                offset = stop
                continue
            stop = min(end, file.offset + file.length)
            if stop > offset:
                spans.append(Span(index, offset - file.offset, stop - offset))
                offset = stop
            index += 1
        return spans


def of_blob(meta: Metainfo) -> TorrentInfo:
    """A blob, which is a hybrid torrent of one file."""
    name = meta.root.hex()
    file = TorrentFile((name,), meta.length, 0, meta.root if meta.length else b"")
    return TorrentInfo(
        raw=meta.raw,
        name=name,
        v1=meta.ref.v1,
        v2=meta.ref.v2,
        piece_length=meta.piece_length,
        files=(file,),
        pieces=meta.pieces,
        length=meta.length,
        single=True,
    )


def piece_root(data: bytes | memoryview, info: TorrentInfo, piece: int) -> bytes:
    """The SHA-256 tree hash of a piece: its entry in the piece layer (BEP 52).

    For a file of at most one piece that is the pieces root itself. ``data`` is the piece as on the
    wire, with or without its padding.
    """
    view = memoryview(data)[: info.data_of(piece)]
    file, _ = info.place_of(piece)
    tree = Tree()
    for at in range(0, len(view), LEAF_SIZE):
        tree.add(sha256(view[at : at + LEAF_SIZE]).digest())
    return tree.root(1 if file.length <= info.piece_length else info.piece_length // LEAF_SIZE)


def parse_torrent_info(
    raw: bytes, *, v1: bytes | None = None, v2: bytes | None = None
) -> TorrentInfo:
    """Check an info dictionary that came from outside.

    ``v1`` and ``v2`` are the info-hashes that it must have. The halves of a hybrid torrent must
    describe the same files at the same places. Unknown keys are let be; symbolic links, names that
    cannot be files, and every spelling but canonical bencode are refused.

    Raises ``MalformedError`` or ``LimitError``.
    """
    if len(raw) <= MAX_INFO:  # reading what nobody asked for could take much time and memory
        _check_hashes(raw, v1, v2)
    fields = decode(raw, limit=MAX_INFO, what=_WHAT, depth=MAX_NESTING)
    if not isinstance(fields, dict):
        raise _wrong("is not a dictionary")
    name = check_component(fields.get(b"name"), "a `name`")
    span = _integer(fields.get(b"piece length"), "piece length", MAX_PIECE)
    has_v1, has_v2 = b"pieces" in fields, b"file tree" in fields
    if not has_v1 and not has_v2:
        raise _wrong("has neither `pieces` (v1) nor a `file tree` (v2)")
    if fields.get(b"meta version", 1) != (2 if has_v2 else 1):
        raise _wrong("has a `meta version` that does not fit its keys")
    single = False
    length = 0
    files: tuple[TorrentFile, ...] = ()
    if has_v2:
        if span < MIN_PIECE or span & (span - 1):
            raise _wrong(f"has pieces of {span} bytes; v2 wants a power of two from {MIN_PIECE}")
        single = b"length" in fields if has_v1 else _is_lone(fields[b"file tree"])
        files = _read_tree(fields[b"file tree"], () if single else (name,), span)
        # Without a v1 half to say otherwise the last file is padded too, as by libtorrent.
        length = _align(files[-1].offset + files[-1].length, span)
    if has_v1:
        whole = span >= MIN_V1_PIECE and not span & (span - 1)
        if not whole and (not span or span % MIN_PIECE):
            raise _wrong(f"has pieces of {span} bytes, which is no power of two")
        listed, total, single = _read_list(fields, name)
        if has_v2:
            _agree(files, listed)
            if _align(total, span) != length:
                raise _wrong("pads the end of its v1 half to another number of pieces")
        else:
            files = listed
        length = total
    count = -(-length // span)
    if count > MAX_PIECES:
        raise LimitError(f"{_WHAT} of {count} pieces is over the limit of {MAX_PIECES}")
    info = TorrentInfo(
        raw=raw,
        name=files[0].path[0],  # for a lone file of v2 the tree decides; there `name` is advice
        v1=sha1(raw, usedforsecurity=False).digest() if has_v1 else None,
        v2=sha256(raw).digest() if has_v2 else None,
        piece_length=span,
        files=files,
        pieces=_pieces(fields.get(b"pieces", b""), count if has_v1 else 0),
        length=length,
        single=single,
        private=fields.get(b"private") == 1,
    )
    if (v1 is not None and not has_v1) or (v2 is not None and not has_v2):
        raise _wrong("lacks the half that has the wanted info-hash")
    return info


def _check_hashes(raw: bytes, v1: bytes | None, v2: bytes | None) -> None:
    other = v1 is not None and sha1(raw, usedforsecurity=False).digest() != v1
    if other or (v2 is not None and sha256(raw).digest() != v2):
        raise _wrong("is not the one with the wanted info-hash")


def check_component(raw: Value | None, what: str = "a path component") -> str:
    """One component of a path: a name that is safe to make a file or a folder of.

    Raises ``MalformedError`` or ``LimitError``.
    """
    if not isinstance(raw, bytes):
        raise _wrong(f"lacks {what}")
    if len(raw) > MAX_NAME:
        raise LimitError(f"{_WHAT}: {what} of {len(raw)} bytes is over {MAX_NAME}")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _wrong(f"has {what} that is not UTF-8 text") from None
    if text in ("", ".", "..") or "/" in text or not _CONTROL.isdisjoint(text):
        raise _wrong(f"has {what} that cannot be the name of a file: {text[:80]!r}")
    return text


def _is_lone(tree: Value) -> bool:
    """Whether the tree of a v2 half is one file at its top, so that it has no folder."""
    node = next(iter(tree.values()), None) if isinstance(tree, dict) else None
    return isinstance(tree, dict) and len(tree) == 1 and isinstance(node, dict) and b"" in node


def _read_tree(tree: Value, top: tuple[str, ...], span: int) -> tuple[TorrentFile, ...]:
    """The files of a v2 half, which go into the folder ``top``."""
    if not isinstance(tree, dict):
        raise _wrong("has a file tree that is not a dictionary")
    files: list[TorrentFile] = []
    at = 0

    def walk(folder: dict[bytes, Value], path: tuple[str, ...]) -> None:
        nonlocal at
        if not folder:
            raise _wrong("has an empty folder in its file tree")
        if len(path) == MAX_DEPTH:
            raise LimitError(f"{_WHAT}: a path has more than {MAX_DEPTH} components")
        for key, node in folder.items():
            inner = (*path, check_component(key))
            if not isinstance(node, dict):
                raise _wrong("has a file tree with a node that is not a dictionary")
            if b"" not in node:
                walk(node, inner)
                continue
            if len(node) != 1:
                raise _wrong("has a file that is a folder as well")
            files.append(_leaf(node[b""], inner, at))
            at = _align(at + files[-1].length, span)
            _bound(len(files), at)

    walk(tree, top)
    return tuple(files)


def _leaf(node: Value, path: tuple[str, ...], offset: int) -> TorrentFile:
    if not isinstance(node, dict):
        raise _wrong("has a file that is not a dictionary")
    if _attributes(node) & set(b"p"):
        raise _wrong("has a padding file in its v2 half")
    length = _integer(node.get(b"length"), "length of a file", MAX_STREAM)
    root = node.get(b"pieces root", b"")
    if not isinstance(root, bytes) or len(root) != (HASH_SIZE if length else 0):
        raise _wrong(f"has a pieces root that does not fit a file of {length} bytes")
    return TorrentFile(path, length, offset, root)


def _read_list(fields: dict[bytes, Value], name: str) -> tuple[tuple[TorrentFile, ...], int, bool]:
    """The files of a v1 half, the length of its stream, and whether it is a single file."""
    if (b"length" in fields) == (b"files" in fields):
        raise _wrong("must have either `length` or `files` in its v1 half")
    if b"length" in fields:
        _attributes(fields)
        length = _integer(fields[b"length"], "length", MAX_STREAM)
        return (TorrentFile((name,), length, 0, b""),), length, True
    entries = fields[b"files"]
    if not isinstance(entries, list) or not entries:
        raise _wrong("has no list of files")
    files: list[TorrentFile] = []
    taken: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    at = 0
    _bound(len(entries) // 2, 0)  # every file may have its padding
    for entry in entries:
        if not isinstance(entry, dict):
            raise _wrong("has a file that is not a dictionary")
        length = _integer(entry.get(b"length"), "length of a file", MAX_STREAM)
        raw = entry.get(b"path")
        if not isinstance(raw, list) or not raw:
            raise _wrong("has a file without a path")
        if len(raw) >= MAX_DEPTH:
            raise LimitError(f"{_WHAT}: a path has more than {MAX_DEPTH} components")
        pad = bool(_attributes(entry) & set(b"p")) or raw == [b".pad", b"%d" % length]
        if not pad:
            path = (name, *map(check_component, raw))
            _claim(path, taken, folders)
            files.append(TorrentFile(path, length, at, b""))
        at += length
        _bound(len(files), at)
    if not files:
        raise _wrong("has no file")
    return tuple(files), at, False


def _claim(
    path: tuple[str, ...], taken: set[tuple[str, ...]], folders: set[tuple[str, ...]]
) -> None:
    """Take ``path`` for a file. Raises ``MalformedError`` when two would be in one place."""
    if path in taken or path in folders:
        raise _wrong(f"has two files at {'/'.join(path)[:200]!r}")
    taken.add(path)
    folder = path[:-1]
    while folder and folder not in folders:
        if folder in taken:
            raise _wrong(f"has a file that is a folder as well: {'/'.join(folder)[:200]!r}")
        folders.add(folder)
        folder = folder[:-1]


def _agree(tree: tuple[TorrentFile, ...], listed: tuple[TorrentFile, ...]) -> None:
    """Both halves of a hybrid torrent must describe the same files at the same places."""
    same = len(tree) == len(listed)
    for one, other in zip(tree, listed, strict=False):
        same = same and one.path == other.path and one.length == other.length
        same = same and (one.offset == other.offset or not one.length)
    if not same:
        raise _wrong("describes other files in its v1 half than in its v2 half")


def _attributes(entry: dict[bytes, Value]) -> set[int]:
    """The letters of ``attr`` (BEP 47). Raises ``MalformedError`` for a symbolic link."""
    letters = entry.get(b"attr", b"")
    if not isinstance(letters, bytes):
        raise _wrong("has an `attr` that is not a string")
    if b"l" in letters or b"symlink path" in entry:
        raise _wrong("has a symbolic link, and those are refused")
    return set(letters)


def _integer(value: Value | None, what: str, most: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise _wrong(f"lacks the {what}")
    if value > most:
        raise LimitError(f"{_WHAT}: {what} of {value} is over the limit of {most}")
    return value


def _pieces(raw: Value, count: int) -> bytes:
    if not isinstance(raw, bytes) or len(raw) != count * SHA1_SIZE:
        raise _wrong("has a number of pieces that does not fit its length")
    return raw


def _bound(files: int, length: int) -> None:
    if files > MAX_FILES:
        raise LimitError(f"{_WHAT} of more than {MAX_FILES} files is over the limit")
    if length > MAX_STREAM:
        raise LimitError(f"{_WHAT} of more than {MAX_STREAM} bytes of content is over the limit")


def _align(length: int, span: int) -> int:
    return -(-length // span) * span


def _offset_of(file: TorrentFile) -> int:
    return file.offset


def _wrong(text: str) -> MalformedError:
    return MalformedError(
        f"{_WHAT} {text}", hint="Ask whoever made this torrent for a correct one."
    )
