"""The SHA-256 trees of files, in parts: hash requests, their answers and proofs (BEP 52).

Layer 0 of a tree are the hashes of 16 KiB blocks; the piece layer has one hash for every piece;
the top is the pieces root in the info dictionary. Every layer is as if padded to a power of two
with hashes over zeros.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from workunits.errors import LimitError, MalformedError, ProofError
from workunits.ids import HASH_SIZE
from workunits.metainfo import LEAF_SIZE
from workunits.torrents import MAX_STREAM, TorrentFile, TorrentInfo

CHUNK = 512
"""Hashes that one request asks for (BEP 52: should not be more)."""

MAX_HEIGHT = (MAX_STREAM // LEAF_SIZE - 1).bit_length()
MAX_HASHES = CHUNK + 32
"""Hashes in one answer: those that were asked for, and their proof."""

_PADS = [bytes(HASH_SIZE)]
while len(_PADS) <= MAX_HEIGHT:
    _PADS.append(sha256(_PADS[-1] + _PADS[-1]).digest())


@dataclass(frozen=True, slots=True)
class HashRequest:
    """A part of the tree under ``root``: ``length`` hashes of layer ``base`` (0: leaves) from
    ``index`` on, and ``proof`` layers above them.

    Raises ``MalformedError`` or ``LimitError`` for what can fit no tree.
    """

    root: bytes
    base: int
    index: int
    length: int
    proof: int

    def __post_init__(self) -> None:
        """Check the limits that hold for every tree."""
        if len(self.root) != HASH_SIZE:
            raise MalformedError(f"hash request: a root of {len(self.root)} bytes")
        if not 0 < self.length <= CHUNK:
            raise LimitError(f"hash request for {self.length} hashes is not from 1 to {CHUNK}")
        if not 0 <= self.base <= MAX_HEIGHT or not 0 <= self.proof <= MAX_HEIGHT:
            raise LimitError(f"hash request for layers that no tree has: {self.base}")
        if self.index < 0 or self.index % (1 << self.height):
            raise MalformedError("hash request: the index is not a multiple of the length")

    @property
    def height(self) -> int:
        """Layers between the hashes asked for and the one node above them all."""
        return (self.length - 1).bit_length()

    @property
    def uncles(self) -> range:
        """The layers from which the proof holds one hash each, lowest first."""
        first = self.base + self.height
        return range(first, max(first, self.base + self.proof + 1))


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How high the tree of one file is and where its piece layer lies."""

    root: bytes
    length: int
    piece_length: int

    @classmethod
    def of(cls, info: TorrentInfo, file: TorrentFile) -> "TreeShape":
        """The tree of a file that is not empty, in a torrent with a v2 half."""
        return cls(file.root, file.length, info.piece_length)

    @property
    def height(self) -> int:
        """The layer of the root; 0 for a file of one block."""
        return (-(-self.length // LEAF_SIZE) - 1).bit_length()

    @property
    def base(self) -> int:
        """The piece layer."""
        return (self.piece_length // LEAF_SIZE).bit_length() - 1

    @property
    def pieces(self) -> int:
        """How many pieces the file has."""
        return -(-self.length // self.piece_length)

    def fits(self, request: HashRequest) -> bool:
        """Whether the tree has all that is asked for."""
        return (
            request.root == self.root
            and request.base + max(request.proof, request.height - 1) < self.height
            and request.index + request.length <= 1 << (self.height - request.base)
        )

    def requests(self) -> list[HashRequest]:
        """What to ask for to get the whole piece layer, each part with a proof up to the root."""
        if self.pieces < 2:
            return []
        proof = self.height - self.base - 1
        return [
            HashRequest(self.root, self.base, at, min(CHUNK, _even(self.pieces - at)), proof)
            for at in range(0, self.pieces, CHUNK)
        ]

    def wanted(self, request: HashRequest) -> range:
        """The file's pieces whose content is needed to answer; none for the piece layer.

        Who serves may refuse more than one: requests below the piece layer are for one piece.
        """
        if request.base >= self.base and self.pieces > 1:
            return range(0)
        leaves = 1 << self.base
        first = (request.index << request.base) // leaves
        last = (((request.index + request.length) << request.base) - 1) // leaves
        return range(first, min(self.pieces, last + 1))


class HashTree:
    """The upper part of one file's tree, from the piece layer up; twice its size in memory."""

    __slots__ = ("_levels", "shape")

    def __init__(self, shape: TreeShape, layer: bytes) -> None:
        """``layer`` is the piece layer; that of a file of one piece is its root.

        Raises ``MalformedError`` when it does not lead to the root.
        """
        self.shape = shape
        one = shape.pieces == 1
        if len(layer) != shape.pieces * HASH_SIZE:
            raise MalformedError("the piece layer does not fit the number of pieces")
        self._levels = {(shape.height if one else shape.base): layer}
        for level in range(shape.base, 0 if one else shape.height):
            self._levels[level + 1] = layer = _raise(layer, level)
        if layer != shape.root:
            raise MalformedError("the piece layer does not lead to the pieces root")

    @property
    def layer(self) -> bytes:
        """The piece layer."""
        return self._levels[min(self.shape.base, self.shape.height)]

    def answer(self, request: HashRequest, blocks: Mapping[int, bytes]) -> bytes | None:
        """The hashes that were asked for, then their proof; None when that cannot be had.

        ``blocks`` has, by the file's pieces, what ``leaf_hashes`` says of those that
        ``TreeShape.wanted`` names.
        """
        shape = self.shape
        if not shape.fits(request):
            return None
        low: dict[int, dict[int, bytes]] = {}
        for piece in shape.wanted(request):
            if piece not in blocks:
                return None
            low[piece] = _ladder(blocks[piece], min(shape.base, shape.height))
        end = request.index + request.length
        parts = [self._node(request.base, at, low) for at in range(request.index, end)]
        above = request.index >> request.height
        for level in request.uncles:
            parts.append(self._node(level, above ^ 1, low))
            above >>= 1
        return b"".join(parts)

    def _node(self, level: int, index: int, low: Mapping[int, Mapping[int, bytes]]) -> bytes:
        found = self._levels.get(level)
        if found is None:
            piece, index = divmod(index, 1 << (self.shape.base - level))
            found = low[piece][level] if piece in low else b""
        return found[index * HASH_SIZE : (index + 1) * HASH_SIZE] or _PADS[level]


class LayerBuilder:
    """Collects the piece layer of one file from answers, each checked against the root."""

    __slots__ = ("_layer", "_missing", "shape")

    def __init__(self, shape: TreeShape) -> None:
        self.shape = shape
        self._missing = {request.index: request for request in shape.requests()}
        self._layer = bytearray(shape.root if shape.pieces == 1 else shape.pieces * HASH_SIZE)

    @property
    def missing(self) -> tuple[HashRequest, ...]:
        """What to ask for yet."""
        return tuple(self._missing.values())

    @property
    def layer(self) -> bytes | None:
        """The piece layer, once all of it is there."""
        return None if self._missing else bytes(self._layer)

    def node(self, index: int) -> bytes:
        """One hash of the piece layer; empty while not all of the layer is there."""
        if self._missing:
            return b""
        return bytes(self._layer[index * HASH_SIZE : (index + 1) * HASH_SIZE])

    def add(self, request: HashRequest, hashes: bytes) -> bool:
        """Take an answer; False when nobody waits for it any more. Raises ``ProofError``."""
        if self._missing.get(request.index) != request:
            return False
        check_answer(self.shape, request, hashes)
        at = request.index * HASH_SIZE
        size = min(request.length * HASH_SIZE, len(self._layer) - at)
        self._layer[at : at + size] = hashes[:size]
        del self._missing[request.index]
        return True


def leaf_hashes(data: bytes | memoryview) -> bytes:
    """Layer 0 over the content of a piece, without its padding."""
    view = memoryview(data)
    return b"".join(
        sha256(view[at : at + LEAF_SIZE]).digest() for at in range(0, len(view), LEAF_SIZE)
    )


def check_answer(shape: TreeShape, request: HashRequest, hashes: bytes) -> None:
    """Raise ``ProofError`` unless ``hashes`` answers ``request`` and leads up to the root."""
    size = request.length * HASH_SIZE
    if not shape.fits(request) or len(hashes) != size + len(request.uncles) * HASH_SIZE:
        raise ProofError("hashes: not as many as were asked for")
    top = max(request.base + request.proof + 1, request.base + request.height)
    if top != shape.height:
        raise ProofError("hashes: their proof does not reach the root")
    node = hashes[:size]
    for level in range(request.base, request.base + request.height):
        node = _raise(node, level)
    index = request.index >> request.height
    for at in range(size, len(hashes), HASH_SIZE):
        uncle = hashes[at : at + HASH_SIZE]
        node = sha256(uncle + node if index & 1 else node + uncle).digest()
        index >>= 1
    if node != shape.root:
        raise ProofError("hashes: they do not lead to the pieces root")


def _raise(layer: bytes, level: int) -> bytes:
    """The layer above ``layer``."""
    if len(layer) // HASH_SIZE % 2:
        layer += _PADS[level]
    span = 2 * HASH_SIZE
    return b"".join(sha256(layer[at : at + span]).digest() for at in range(0, len(layer), span))


def _ladder(leaves: bytes, height: int) -> dict[int, bytes]:
    """All layers of one piece's tree."""
    levels = {0: leaves}
    for level in range(height):
        levels[level + 1] = leaves = _raise(leaves, level)
    return levels


def _even(count: int) -> int:
    """The power of two, from 2 on, that holds ``count``."""
    return 1 << max(1, (count - 1).bit_length())
