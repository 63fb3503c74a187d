"""Merkle trees over a log, and the proofs that they allow (RFC 6962, RFC 9162 section 2.1).

A leaf is hashed behind 0x00 and a node behind 0x01, so that neither passes for the other. A proof
is a tuple of SHA-256 hashes: at most ``MAX_PATH`` of them, 20 at a million entries.
"""

from hashlib import sha256

from workunits.errors import MalformedError, ProofError

HASH_SIZE = 32
MAX_SIZE = 2**63 - 1
"""Entries in a log, at most."""

MAX_PATH = 64
"""Hashes in a proof, at most."""

EMPTY_ROOT = sha256(b"").digest()
_LEAF = b"\x00"
_NODE = b"\x01"
_PAIR = 2 * HASH_SIZE


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry of a log."""
    return sha256(_LEAF + entry).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def _fold(peaks: tuple[bytes, ...]) -> bytes:
    """The root over full subtrees, largest first; there is at least one."""
    root = peaks[-1]
    for peak in peaks[-2::-1]:
        root = _node_hash(peak, root)
    return root


class Frontier:
    """The right edge of a tree: all that appending and the root need, and no more.

    ``peaks`` are the hashes of its full subtrees, largest first: one for each bit of ``size``.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: tuple[bytes, ...] = ()) -> None:
        """Take up a saved frontier. Raises ``MalformedError`` unless the two fit together."""
        if not 0 <= size <= MAX_SIZE or len(peaks) != size.bit_count():
            raise MalformedError(f"{len(peaks)} hashes are no frontier of {size} entries")
        if any(len(peak) != HASH_SIZE for peak in peaks):
            raise MalformedError(f"a frontier's hashes have {HASH_SIZE} bytes")
        self._size = size
        self._peaks = list(peaks)

    @property
    def size(self) -> int:
        """How many entries were appended."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """What to save, together with the size."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next entry (``leaf_hash``). Raises ``ValueError`` at another size."""
        _require_hash(leaf)
        size, peaks = self._size, self._peaks
        while size & 1:
            leaf = sha256(_NODE + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """The hash of the whole log so far."""
        return _fold(self.peaks) if self._size else EMPTY_ROOT


class Tree:
    """Every full subtree of a log, in memory: 64 bytes an entry, proofs in O(log n)."""

    __slots__ = ("_levels", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._levels = [bytearray()]

    @property
    def size(self) -> int:
        """How many entries were appended."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next entry (``leaf_hash``). Raises ``ValueError`` at another size."""
        _require_hash(leaf)
        levels, height, index = self._levels, 0, self._size
        levels[0] += leaf
        while index & 1:
            leaf = sha256(_NODE + levels[height][-_PAIR:]).digest()
            height += 1
            index >>= 1
            if height == len(levels):
                levels.append(bytearray())
            levels[height] += leaf
        self._size += 1

    def root(self, size: int | None = None) -> bytes:
        """The hash of the first ``size`` entries, or of all of them.

        Raises ``ProofError`` if there are fewer.
        """
        size = self._size if size is None else size
        self._require(0 <= size <= self._size, f"the first {size}")
        return self._node((size - 1).bit_length(), 0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """What shows that entry ``index`` is one of the first ``size``, leaf to root.

        Raises ``ProofError`` if it is not.
        """
        self._require(0 <= index < size <= self._size, f"entry {index} of the first {size}")
        return self._path(0, index, size)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """What shows that the first ``new`` entries begin with the first ``old``.

        Nothing, if ``old`` is 0 or ``new``. Raises ``ProofError`` if there are fewer entries.
        """
        self._require(0 <= old <= new <= self._size, f"the first {new} after {old}")
        if old in (0, new):
            return ()
        height = _trailing_zeros(old)
        index = (old >> height) - 1
        # An old tree that is one full subtree is known to whoever knows its root.
        known = () if index == 0 else (self._node(height, index, new),)
        return known + self._path(height, index, new)

    def _path(self, height: int, index: int, size: int) -> tuple[bytes, ...]:
        """The siblings from a node up to the root over the first ``size`` entries."""
        path = []
        last = (size - 1) >> height
        while last:
            sibling = index ^ 1
            if sibling <= last:
                path.append(self._node(height, sibling, size))
            height, index, last = height + 1, index >> 1, last >> 1
        return tuple(path)

    def _node(self, height: int, index: int, size: int) -> bytes:
        """The hash over ``2**height`` entries, or over what there is of them at the right edge."""
        if (index + 1) << height <= size:
            return self._full(height, index)
        heights = [each for each in reversed(range(height)) if size >> each & 1]
        return _fold(tuple(self._full(each, (size >> each) - 1) for each in heights))

    def _full(self, height: int, index: int) -> bytes:
        return bytes(self._levels[height][index * HASH_SIZE : (index + 1) * HASH_SIZE])

    def _require(self, held: bool, asked: str) -> None:
        if not held:
            raise ProofError(f"a log of {self._size} entries has no proof for {asked}")


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: tuple[bytes, ...], root: bytes
) -> None:
    """Raise ``ProofError`` unless ``leaf`` is entry ``index`` of the ``size`` under ``root``.

    RFC 9162 section 2.1.3.2.
    """
    _require_proof(0 <= index < size <= MAX_SIZE, f"entry {index} of {size}")
    _require_proof(all(len(each) == HASH_SIZE for each in (leaf, root, *proof)), "hashes")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        _require_proof(last > 0, "length")
        if at & 1 or at == last:
            found = _node_hash(sibling, found)
            skip = _trailing_zeros(at)
            at, last = at >> skip, last >> skip
        else:
            found = _node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    _require_proof(last == 0, "length")
    _require_proof(found == root, "root")


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: tuple[bytes, ...]
) -> None:
    """Raise ``ProofError`` unless the new log begins with the old one.

    RFC 9162 section 2.1.4.2. Every log begins with the empty one, which needs no proof.
    """
    _require_proof(0 <= old_size <= new_size <= MAX_SIZE, f"{new_size} after {old_size} entries")
    hashes = (old_root, new_root, *proof)
    _require_proof(all(len(each) == HASH_SIZE for each in hashes), "hashes")
    for size, root in ((old_size, old_root), (new_size, new_root)):
        _require_proof(size > 0 or root == EMPTY_ROOT, "root of no entries")
    if old_size in (0, new_size):
        _require_proof(not proof, "length")
        _require_proof(old_size == 0 or old_root == new_root, "root")
        return
    skip = _trailing_zeros(old_size)
    at, last = (old_size - 1) >> skip, (new_size - 1) >> skip
    path = proof if at else (old_root, *proof)
    _require_proof(bool(path), "length")
    old = new = path[0]
    for sibling in path[1:]:
        _require_proof(last > 0, "length")
        if at & 1 or at == last:
            old, new = _node_hash(sibling, old), _node_hash(sibling, new)
            skip = _trailing_zeros(at)
            at, last = at >> skip, last >> skip
        else:
            new = _node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    _require_proof(last == 0, "length")
    _require_proof(old == old_root and new == new_root, "root")


def _trailing_zeros(number: int) -> int:
    """How often 2 divides ``number``; 0 for 0."""
    return max((number & -number).bit_length() - 1, 0)


def _require_hash(leaf: bytes) -> None:
    if len(leaf) != HASH_SIZE:
        raise ValueError(f"a hash has {HASH_SIZE} bytes, not {len(leaf)}")


def _require_proof(held: bool, what: str) -> None:
    if not held:
        raise ProofError(f"the proof does not hold: {what}")
