"""What a witness of a log does: see that it only grows, cosign its heads, meet other witnesses.

A log that is one can show of any two of its checkpoints that the larger goes on from the smaller
(C2SP tlog-witness). One that shows different histories to different people cannot, and has signed
both. Nothing here asks anybody anything: proofs come in, a ``Fork`` comes out.
"""

from dataclasses import dataclass, replace
from typing import Self

from workunits.archive import origin, tracker_of
from workunits.canonical import decode_fields, encode
from workunits.checkpoints import MAX_NOTE, Checkpoint, NoteKey, NoteKind, SignedCheckpoint
from workunits.errors import AuditError, MalformedError, ProofError
from workunits.ids import PeerKey, parse_hash
from workunits.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_PATH,
    Frontier,
    check_consistency,
    check_inclusion,
)
from workunits.signing import Identity

MAX_FORK = 2 * MAX_NOTE + (MAX_PATH + 1) * HASH_SIZE + 256
"""Bytes of the evidence of a fork."""

_NAME = "openswarm-witness/"

Proof = tuple[bytes, ...]


class ForkError(AuditError):
    """A log has two histories. ``fork`` is what shows it."""

    code = "fork"

    def __init__(self, fork: "Fork", *, hint: str = "") -> None:
        super().__init__(fork.describe(), hint=hint)
        self.fork = fork


@dataclass(frozen=True, slots=True)
class Fork:
    """Two checkpoints of one log, the smaller first, of which none goes on from the other.

    ``path`` is the hash of the entry that follows ``one`` under ``other``, and what shows that it
    is there (RFC 9162 section 2.1.3): it pins down the root that ``other`` has at the size of
    ``one``. It is empty where both have the same size, and where the log did not show it.
    """

    one: SignedCheckpoint
    other: SignedCheckpoint
    path: Proof = ()

    @classmethod
    def between(cls, first: SignedCheckpoint, second: SignedCheckpoint) -> Self:
        """The two in order of size, without a path."""
        one, other = sorted((first, second), key=_size)
        return cls(one, other)

    def check(self) -> bool:
        """Whether the two prove by themselves that the log has two histories.

        If not, it signed both and did not show how they go together: whoever asks it for a
        consistency proof can settle it with ``meet``. Raises ``SignatureError`` or
        ``MalformedError`` unless one log signed both, ``ProofError`` if they go together.
        """
        if verify_log(self.one) != verify_log(self.other):
            raise MalformedError("two checkpoints of two logs are no fork")
        one, other = self.one.checkpoint, self.other.checkpoint
        if one.size > other.size:
            raise MalformedError("the smaller checkpoint of a fork comes first")
        if one.size == 0:
            agree = one.root == EMPTY_ROOT and (other.size > 0 or other.root == EMPTY_ROOT)
        elif one.size == other.size:
            agree = one.root == other.root
        elif self.path:
            agree = prefix_root(one.size, other, self.path) == one.root
        else:
            return False
        if agree:
            raise ProofError("no fork: the larger checkpoint goes on from the smaller one")
        return True

    def describe(self) -> str:
        """One line for people."""
        one, other = self.one.checkpoint, self.other.checkpoint
        if one.size == other.size:
            return f"the tracker signed two ledgers of {one.size:,} entries: a fork"
        return (
            f"the ledger of {other.size:,} entries that the tracker signed does not go on from "
            f"the one of {one.size:,} that it signed: a fork"
        )

    def encode(self) -> bytes:
        """The evidence as a file."""
        body = {"one": self.one.encode(), "other": self.other.encode(), "path": b"".join(self.path)}
        return encode({"t": "fork"} | body)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read evidence. Raises ``MalformedError`` or ``LimitError``; ``check`` says what of."""
        fields = decode_fields(raw, limit=MAX_FORK, what="evidence of a fork")
        if fields.text("t", limit=8) != "fork":
            raise MalformedError("not the evidence of a fork")
        one, other = (SignedCheckpoint.parse(fields.octets(key)) for key in ("one", "other"))
        path = fields.octets("path")
        fields.end()
        if len(path) % HASH_SIZE or len(path) > (MAX_PATH + 1) * HASH_SIZE:
            raise MalformedError(f"a path is at most {MAX_PATH + 1} hashes")
        hashes = (path[at : at + HASH_SIZE] for at in range(0, len(path), HASH_SIZE))
        return cls(one, other, tuple(hashes))


@dataclass(frozen=True, slots=True)
class Witness:
    """What is remembered of one log: the largest checkpoint that held. The first is trusted."""

    tracker: PeerKey
    latest: SignedCheckpoint | None = None

    def see(self, signed: SignedCheckpoint, proof: Proof | None = None) -> Self:
        """Remember ``signed`` if it is larger; ``proof`` is what the log gave for ``gap``, if any.

        Raises ``ForkError`` unless the larger of ``signed`` and ``latest`` goes on from the
        smaller, and ``SignatureError`` or ``MalformedError`` for what is not of this log.
        """
        if verify_log(signed) != self.tracker:
            raise MalformedError("a checkpoint of another log")
        if self.latest is not None and (fork := meet(self.latest, signed, proof)):
            raise ForkError(fork)
        return self.grow(signed)

    def grow(self, signed: SignedCheckpoint) -> Self:
        """Remember ``signed``, which goes together with ``latest``, if it is larger."""
        small = self.latest is not None and _size(signed) <= _size(self.latest)
        return self if small else replace(self, latest=signed)

    def cosign(self, identity: Identity, time: int) -> SignedCheckpoint:
        """``latest`` with the signature of its log and of this witness at ``time`` (Unix s).

        Raises ``ValueError`` while nothing was seen.
        """
        if self.latest is None:
            raise ValueError("no checkpoint was seen yet")
        return bare(self.latest).cosign(identity, witness_name(identity.key), time)


def gap(first: SignedCheckpoint, second: SignedCheckpoint) -> tuple[int, int] | None:
    """The sizes between which ``meet`` needs a consistency proof; ``None`` if it needs none."""
    one, other = sorted((first.checkpoint.size, second.checkpoint.size))
    return None if one in (0, other) else (one, other)


def meet(
    mine: SignedCheckpoint, theirs: SignedCheckpoint, proof: Proof | None = None
) -> Fork | None:
    """Whether two checkpoints of one log are of two histories.

    ``proof`` is the consistency proof that the log gave for ``gap``; ``None`` if it has none.
    Raises ``SignatureError`` or ``MalformedError`` unless one log signed both.
    """
    if verify_log(mine) != verify_log(theirs):
        raise MalformedError("the two checkpoints are of two logs")
    fork = Fork.between(mine, theirs)
    one, other = fork.one.checkpoint, fork.other.checkpoint
    needed = gap(mine, theirs)
    if needed and proof is None:
        return fork
    try:
        check_consistency(one.size, one.root, other.size, other.root, (needed and proof) or ())
    except ProofError:
        return fork
    return None


def prefix_root(size: int, whole: Checkpoint, path: Proof) -> bytes:
    """The root over the first ``size`` entries of ``whole``, from the path of the entry after.

    What lies left of that path are the full subtrees of those entries, smallest first. Raises
    ``ProofError`` unless the path leads from that entry to the root of ``whole``.
    """
    if not path:
        raise ProofError("the proof does not hold: length")
    leaf, *proof = path
    check_inclusion(leaf, size, whole.size, tuple(proof), whole.root)
    peaks = []
    at, last = size, whole.size - 1
    for sibling in proof:
        if at & 1 or at == last:
            peaks.append(sibling)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    return Frontier(size, tuple(reversed(peaks))).root()


def bare(signed: SignedCheckpoint) -> SignedCheckpoint:
    """Only the signatures of the log itself."""
    name = signed.checkpoint.origin
    ours = tuple(each for each in signed.signatures if each.name == name)
    return replace(signed, signatures=ours)


def verify_log(signed: SignedCheckpoint) -> PeerKey:
    """The key of the tracker that signed its log.

    Raises ``MalformedError`` for a log that is no tracker's, ``SignatureError`` if it did not sign.
    """
    name = signed.checkpoint.origin
    tracker = tracker_of(name)
    if name != origin(tracker):
        raise MalformedError(f"not the log of a tracker: {name[:80]!r}")
    signed.verify(NoteKey(name, tracker))
    return tracker


def witness_name(witness: PeerKey) -> str:
    """The name under which a peer cosigns."""
    return _NAME + witness.hex()


def witness_key(name: str) -> NoteKey:
    """The key that belongs to the name of a witness. Raises ``MalformedError``."""
    key = PeerKey(parse_hash(name.removeprefix(_NAME), "the name of a witness"))
    if name != witness_name(key):
        raise MalformedError(f"not the name of a witness: {name[:80]!r}")
    return NoteKey(name, key, NoteKind.COSIGNATURE)


def cosigned(signed: SignedCheckpoint) -> dict[PeerKey, int]:
    """Who cosigned a checkpoint, and when (Unix seconds); others' signatures are passed over.

    Raises ``SignatureError`` for a cosignature that does not verify, ``MalformedError`` for the
    name of a witness that is none.
    """
    found = {}
    for each in signed.signatures:
        if each.name.startswith(_NAME) and each.key_id == (key := witness_key(each.name)).id:
            found[key.key] = signed.verify(key) or 0
    return found


def _size(signed: SignedCheckpoint) -> int:
    return signed.checkpoint.size
