"""Results as bytes: the answer ``0`` to a unit is the true one, every other number another lie.

A result names one large output by hash, so that nothing of it travels. Made from a template,
because a run makes hundreds of thousands; a test compares with what the real code would make.
"""

from hashlib import sha256
from typing import TypeAlias

from simulator.attackers import TRUE
from workunits.ids import BlobRef, Digest, JobId, PeerKey, UnitId
from workunits.parameters import NamedBlob
from workunits.results import INLINE_LIMIT, Ending, Result, commitment, seal

OUTPUT = "out.bin"
KEPT = 50_000
"""Results that are remembered: those of units that somebody works on, and more."""

_MARK = b"\xa5" * 32
_V1 = bytes(20)


def result(index: int, answer: int) -> Result:
    """The result that gives ``answer`` to unit ``index``."""
    return _result(_hash(index, answer))


class Answers:
    """The results of one job, and what is committed to for them."""

    def __init__(self, job: JobId) -> None:
        self._job = job
        self._head, self._tail = _result(_MARK).encode().split(_MARK)
        self._made: dict[tuple[int, int], _Made] = {}

    def raw(self, index: int, answer: int) -> bytes:
        """The encoded result."""
        return self._make(index, answer)[0]

    def is_true(self, index: int, raw: bytes) -> bool:
        """Whether an encoded result is the true one."""
        return raw == self.raw(index, TRUE)

    def commitment(self, index: int, answer: int) -> bytes:
        """The commitment, which is the same for all who give this answer."""
        return self._make(index, answer)[3]

    def seal(self, peer: PeerKey, index: int, answer: int) -> bytes:
        """A peer's seal."""
        _, unit, digest, _ = self._make(index, answer)
        return seal(peer, unit, digest)

    def _make(self, index: int, answer: int) -> "_Made":
        key = (index, answer)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            raw = self._head + _hash(index, answer) + self._tail
            unit, digest = UnitId(self._job, index), Result.digest_of(raw)
            found = self._made[key] = (raw, unit, digest, commitment(unit, digest))
        return found


_Made: TypeAlias = tuple[bytes, UnitId, Digest, bytes]


def _hash(index: int, answer: int) -> bytes:
    return sha256(b"%d %d" % (index, answer)).digest()


def _result(v2: bytes) -> Result:
    blob = NamedBlob(OUTPUT, BlobRef(v2, _V1, INLINE_LIMIT + 1))
    return Result(Ending.EXITED, 0, (blob,))
