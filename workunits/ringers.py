"""Ringers: units of a job whose answers its submitter knows, and nobody else.

The manifest holds only the hash of this list, so that nobody can say afterwards that another
answer was the known one. The list goes to the tracker with the submission, and to nobody else: to
a peer a ringer is a unit like any other. Ringers are compared by digest, hence exactly.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from workunits import canonical
from workunits.errors import LimitError, MalformedError
from workunits.ids import HASH_SIZE, Digest
from workunits.parameters import MAX_UNITS

MAX_ANSWERS = 10_000
SALT_SIZE = 32
_INDEX_SIZE = 8
_ANSWER_SIZE = _INDEX_SIZE + HASH_SIZE
MAX_RINGERS = MAX_ANSWERS * _ANSWER_SIZE + 100

Answer: TypeAlias = tuple[int, Digest]
"""The index of a unit, and the digest of its true result."""


@dataclass(frozen=True)
class Ringers:
    """Known answers, sorted by index, each unit once. ``salt`` is random and as secret as they are:
    without it nobody can try by the hash which units are meant."""

    salt: bytes
    answers: tuple[Answer, ...]

    def __len__(self) -> int:
        return len(self.answers)

    def encode(self) -> bytes:
        """The canonical bytes."""
        return self._raw

    @cached_property
    def _raw(self) -> bytes:
        packed = [index.to_bytes(_INDEX_SIZE, "big") + digest for index, digest in self.answers]
        return canonical.encode({"answers": b"".join(packed), "salt": self.salt})

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes, which the manifest holds."""
        return hashlib.sha256(self._raw).digest()

    @classmethod
    def parse(cls, raw: bytes) -> "Ringers":
        """Read a list strictly. Raises ``MalformedError`` or ``LimitError``."""
        fields = canonical.decode_fields(raw, limit=MAX_RINGERS, what="ringers")
        packed = fields.octets("answers")
        salt = fields.octets("salt", length=SALT_SIZE)
        fields.end()
        if len(packed) > MAX_ANSWERS * _ANSWER_SIZE:
            raise LimitError(f"ringers: more than {MAX_ANSWERS:,} answers")
        if not packed or len(packed) % _ANSWER_SIZE:
            raise MalformedError(f"ringers: answers must be {_ANSWER_SIZE} bytes each, and some")
        answers = tuple(
            (
                int.from_bytes(packed[at : at + _INDEX_SIZE], "big"),
                Digest(packed[at + _INDEX_SIZE : at + _ANSWER_SIZE]),
            )
            for at in range(0, len(packed), _ANSWER_SIZE)
        )
        indices = [index for index, _ in answers]
        if indices != sorted(set(indices)):
            raise MalformedError("ringers: answers are not sorted by index, each unit once")
        if indices[-1] >= MAX_UNITS:
            raise LimitError(f"ringers: no job has a unit {indices[-1]:,}")
        return cls(salt, answers)
