"""Torrent metainfo of a blob: hybrid v1+v2, single file (BEP 3, BEP 52).

The info dictionary is a pure function of the content: its name is the pieces root in hex and its
piece length follows from the size. Two people who share one file therefore share one swarm.
"""

from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import Protocol

from workunits.canonical import Fields, Value, decode, decode_fields, encode
from workunits.errors import LimitError, MalformedError
from workunits.ids import HASH_SIZE, BlobRef

LEAF_SIZE = 16 * 1024
"""Bytes under one leaf of the v2 hash tree, and the size of one request on the peer wire."""

MIN_PIECE = 16 * 1024
MAX_PIECE = 4 * 1024 * 1024
PIECES_AIM = 1024
MAX_LENGTH = 64 * 1024**3
"""The largest blob, 64 GiB: 16,384 pieces of 4 MiB."""

MAX_PIECES = MAX_LENGTH // MAX_PIECE
MAX_INFO = 512 * 1024
MAX_TORRENT = 2 * 1024 * 1024
MAX_ANNOUNCE = 2048
SHA1_SIZE = 20
_ZERO = bytes(HASH_SIZE)
_READ = 1024 * 1024


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


def piece_length_of(length: int) -> int:
    """The piece length in bytes that a blob of ``length`` bytes has; a power of two."""
    size = MIN_PIECE
    while size < MAX_PIECE and size * PIECES_AIM < length:
        size *= 2
    return size


@dataclass(frozen=True, slots=True)
class Metainfo:
    """A checked info dictionary: ``raw`` hashes to both halves of ``ref``."""

    ref: BlobRef
    root: bytes
    """Pieces root: the top of the v2 hash tree over the content, 32 bytes; zeros when empty."""

    piece_length: int
    pieces: bytes
    """One SHA-1 of 20 bytes for every piece."""

    raw: bytes

    @property
    def length(self) -> int:
        """Bytes of content."""
        return self.ref.length

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self.pieces) // SHA1_SIZE

    def size_of(self, piece: int) -> int:
        """Bytes in ``piece``; only the last one can be short."""
        return min(self.piece_length, self.length - piece * self.piece_length)

    def hash_of(self, piece: int) -> bytes:
        """SHA-1 of ``piece``."""
        return self.pieces[piece * SHA1_SIZE : (piece + 1) * SHA1_SIZE]


@dataclass(frozen=True, slots=True)
class Torrent:
    """A whole ``.torrent`` file: what another BitTorrent client needs."""

    info: Metainfo
    layer: bytes
    """Piece layer: the v2 hash of every piece, 32 bytes each; empty up to one piece (BEP 52)."""

    announce: str = ""


class Hasher:
    """Streams a blob once, in constant memory, into its metainfo."""

    __slots__ = ("_layer", "_left", "_length", "_pending", "_piece", "_pieces", "_tree")

    def __init__(self, length: int) -> None:
        if not 0 <= length <= MAX_LENGTH:
            raise LimitError(
                f"a blob of {length} bytes is over the limit of {MAX_LENGTH}",
                hint="Split the file into parts of at most 64 GiB.",
            )
        self._length = length
        self._left = length
        self._piece = sha1(usedforsecurity=False)
        self._pieces = bytearray()
        self._layer = bytearray()
        self._pending = bytearray()
        self._tree = Tree()

    def update(self, data: bytes | memoryview) -> None:
        """Feed the next bytes of content. Raises ``MalformedError`` past the announced length."""
        if len(data) > self._left:
            raise MalformedError(f"the content is longer than {self._length} bytes")
        self._left -= len(data)
        view = memoryview(data)
        if self._pending:
            take = LEAF_SIZE - len(self._pending)
            self._pending += view[:take]
            view = view[take:]
            if len(self._pending) < LEAF_SIZE:
                return
            self._leaf(memoryview(bytes(self._pending)))
            self._pending.clear()
        while len(view) >= LEAF_SIZE:
            self._leaf(view[:LEAF_SIZE])
            view = view[LEAF_SIZE:]
        self._pending += view

    def finish(self) -> Torrent:
        """The metainfo of what was fed. Raises ``MalformedError`` when bytes are missing."""
        if self._left:
            raise MalformedError(f"the content is {self._left} bytes short of {self._length}")
        if self._pending:
            self._leaf(memoryview(self._pending))
        span = piece_length_of(self._length)
        leaves = span // LEAF_SIZE
        if self._tree.count % leaves:
            self._close_piece(leaves)
        one = self._length <= span
        root = self._tree.root(1) if one else layer_root(bytes(self._layer), leaves)
        info = build_info(self._length, root, bytes(self._pieces))
        return Torrent(info, b"" if one else bytes(self._layer))

    def _leaf(self, data: memoryview) -> None:
        self._piece.update(data)
        self._tree.add(sha256(data).digest())
        leaves = piece_length_of(self._length) // LEAF_SIZE
        if self._tree.count == leaves:
            self._close_piece(leaves)

    def _close_piece(self, leaves: int) -> None:
        self._pieces += self._piece.digest()
        self._piece = sha1(usedforsecurity=False)
        if self._length > leaves * LEAF_SIZE:
            self._layer += self._tree.root(leaves)
            self._tree = Tree()


class Tree:
    """A binary SHA-256 tree over leaves that come one by one; memory grows with its height."""

    __slots__ = ("_tops", "count")

    def __init__(self) -> None:
        self.count = 0
        self._tops: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        self.count += 1
        level = 0
        while self._tops and self._tops[-1][0] == level:
            leaf = sha256(self._tops.pop()[1] + leaf).digest()
            level += 1
        self._tops.append((level, leaf))

    def root(self, leaves: int, pad: bytes = _ZERO) -> bytes:
        """The root when padded with ``pad`` to at least ``leaves`` leaves, a power of two."""
        if not self.count:
            return _ZERO
        height = (max(leaves, self.count) - 1).bit_length()
        tops = list(self._tops)
        level, value = tops.pop()
        for _ in range(level):
            pad = sha256(pad + pad).digest()
        while level < height:
            if tops and tops[-1][0] == level:
                value = sha256(tops.pop()[1] + value).digest()
            else:
                value = sha256(value + pad).digest()
            pad = sha256(pad + pad).digest()
            level += 1
        return value


def layer_root(layer: bytes, leaves: int) -> bytes:
    """The pieces root over a piece layer whose pieces have ``leaves`` leaves each (BEP 52)."""
    pad = _ZERO
    for _ in range(leaves.bit_length() - 1):
        pad = sha256(pad + pad).digest()
    tree = Tree()
    for at in range(0, len(layer), HASH_SIZE):
        tree.add(layer[at : at + HASH_SIZE])
    return tree.root(1, pad)


def build_info(length: int, root: bytes, pieces: bytes) -> Metainfo:
    """Assemble the info dictionary and name it."""
    span = piece_length_of(length)
    name = root.hex().encode()
    node: dict[str, object] = {"length": length}
    if length:
        node["pieces root"] = root
    raw = encode(
        {
            "file tree": {name: {"": node}},
            "length": length,
            "meta version": 2,
            "name": name,
            "piece length": span,
            "pieces": pieces,
        }
    )
    digest = sha1(raw, usedforsecurity=False).digest()
    ref = BlobRef(v2=sha256(raw).digest(), v1=digest, length=length)
    return Metainfo(ref, root, span, pieces, raw)


def info_size_of(length: int) -> int:
    """Exact size in bytes of the info dictionary of a blob of ``length`` bytes."""
    pieces = -(-length // piece_length_of(length))
    return len(build_info(length, _ZERO, bytes(SHA1_SIZE * pieces)).raw)


def hash_stream(stream: Readable, length: int) -> Torrent:
    """Hash exactly ``length`` bytes of ``stream``. Raises ``MalformedError`` if there are not."""
    hasher = Hasher(length)
    while data := stream.read(_READ):
        hasher.update(data)
    return hasher.finish()


def parse_info(raw: bytes, ref: BlobRef | None = None) -> Metainfo:
    """Check an info dictionary that came from outside.

    With ``ref``, both hashes and the length must be the ones that it names. Only what
    ``build_info`` makes is accepted, so any other spelling of the same file is refused. The piece
    layers are not inside of info: whether ``pieces`` and ``pieces root`` describe the same bytes
    is known once the content is there (``Hasher``).

    Raises ``MalformedError`` or ``LimitError``.
    """
    fields = decode_fields(raw, limit=MAX_INFO, what="info dictionary")
    length = fields.integer("length", 0, MAX_LENGTH)
    span = fields.integer("piece length", MIN_PIECE, MAX_PIECE)
    if span != piece_length_of(length):
        raise MalformedError(f"info dictionary: piece length {span} is wrong for {length} bytes")
    fields.integer("meta version", 2, 2)
    name = fields.text("name", limit=2 * HASH_SIZE)
    pieces = fields.octets("pieces", limit=MAX_PIECES * SHA1_SIZE)
    if len(pieces) != SHA1_SIZE * -(-length // span):
        raise MalformedError("info dictionary: the number of pieces does not fit the length")
    tree = fields.group("file tree")
    fields.end()
    node = tree.group(name)
    tree.end()
    leaf = node.group("")
    node.end()
    if leaf.integer("length", 0, MAX_LENGTH) != length:
        raise MalformedError("info dictionary: the v1 and the v2 length differ")
    root = leaf.octets("pieces root", length=HASH_SIZE) if length else _ZERO
    leaf.end()
    if name != root.hex():
        raise MalformedError("info dictionary: the name is not the pieces root")
    info = build_info(length, root, pieces)
    if info.raw != raw:
        raise MalformedError("info dictionary is not the one that its content determines")
    if ref is not None and info.ref != ref:
        raise MalformedError(f"info dictionary is not that of blob {ref}")
    return info


def encode_torrent(torrent: Torrent) -> bytes:
    """The bytes of a ``.torrent`` file."""
    layers = {torrent.info.root: torrent.layer} if torrent.layer else {}
    # The info dictionary re-encodes to itself: it was built or checked canonically.
    info = decode(torrent.info.raw, limit=MAX_INFO)
    body: dict[str, object] = {"info": info, "piece layers": layers}
    if torrent.announce:
        body["announce"] = torrent.announce
    return encode(body)


def parse_torrent(raw: bytes) -> Torrent:
    """Check a ``.torrent`` file made by ``encode_torrent``.

    The piece layer must lead to the pieces root. Raises ``MalformedError`` or ``LimitError``.
    """
    body = decode(raw, limit=MAX_TORRENT, what="torrent file")
    fields = Fields.of(body, "torrent file")
    fields.group("info")
    assert isinstance(body, dict)
    info = parse_info(encode(body[b"info"]))
    fields.group("piece layers")
    announce = fields.text("announce", limit=MAX_ANNOUNCE) if fields.has("announce") else ""
    fields.end()
    return Torrent(info, _check_layers(info, body[b"piece layers"]), announce)


def _check_layers(info: Metainfo, layers: Value) -> bytes:
    if info.count <= 1:
        if layers != {}:
            raise MalformedError("torrent file: a blob of one piece has no piece layer")
        return b""
    # The key is the pieces root itself, which is not text.
    found = layers.get(info.root) if isinstance(layers, dict) and len(layers) == 1 else None
    if not isinstance(found, bytes) or len(found) != HASH_SIZE * info.count:
        raise MalformedError("torrent file: the piece layer does not fit the number of pieces")
    if layer_root(found, info.piece_length // LEAF_SIZE) != info.root:
        raise MalformedError("torrent file: the piece layer does not lead to the pieces root")
    return found
