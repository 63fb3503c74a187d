"""Logs of made-up entries, their forks, and what a tracker would sign of them."""

from hashlib import sha256

from validators.witness import Proof, gap
from workunits.archive import origin
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import ProofError
from workunits.merkle import Tree
from workunits.signing import Identity

TRACKER = Identity.from_seed(b"t" * 32)
NAME = origin(TRACKER.key)


def leaf(number: int, branch: str = "") -> bytes:
    return sha256(f"{branch}{number}".encode()).digest()


def tree_of(size: int, common: int | None = None) -> Tree:
    """A log that is another one from entry ``common`` on."""
    tree = Tree()
    for number in range(size):
        tree.append(leaf(number, "" if common is None or number < common else "fork"))
    return tree


def sign(size: int, root: bytes, log: Identity = TRACKER) -> SignedCheckpoint:
    name = origin(log.key)
    return SignedCheckpoint(Checkpoint(name, size, root)).sign(log, name)


def head(tree: Tree, size: int | None = None) -> SignedCheckpoint:
    size = tree.size if size is None else size
    return sign(size, tree.root(size))


def proof_of(tree: Tree, one: SignedCheckpoint, other: SignedCheckpoint) -> Proof | None:
    """What the log with ``tree`` answers."""
    needed = gap(one, other)
    try:
        return tree.consistency(*needed) if needed else None
    except ProofError:
        return None


TREE = tree_of(130)
