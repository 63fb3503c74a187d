"""Entries about credit: where it comes from, who sets it aside, who is paid, what goes back."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import JobId
from workunits.ledger.moves import Moves
from workunits.manifest import MAX_MANIFEST
from workunits.statements import MAX_STATEMENT

MAX_ENTRY = MAX_MANIFEST + 4096
MAX_FINAL = 1000
"""Units that one entry makes final."""

_RANGE = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Mint:
    """Credits come into being, on the operator's signed statement."""

    t: ClassVar[str] = "mint"
    moves: Moves
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Mint":
        return cls(moves, fields.octets("statement", limit=MAX_STATEMENT))


@dataclass(frozen=True, slots=True)
class Transfer:
    """One account pays another, on its own signed statement."""

    t: ClassVar[str] = "transfer"
    moves: Moves
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Transfer":
        return cls(moves, fields.octets("statement", limit=MAX_STATEMENT))


@dataclass(frozen=True, slots=True)
class Escrow:
    """A job was published: the signed manifest, and the credits that it sets aside."""

    t: ClassVar[str] = "escrow"
    moves: Moves
    manifest: bytes

    def value(self) -> dict[str, object]:
        return {"manifest": self.manifest}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Escrow":
        return cls(moves, fields.octets("manifest", limit=MAX_ENTRY))


@dataclass(frozen=True, slots=True)
class Final:
    """Verdicts that are not taken back any more; who was right is paid, all units in one move.

    ``ranges`` are runs of unit indices: the first, and how many.
    """

    t: ClassVar[str] = "final"
    moves: Moves
    job: JobId
    ranges: tuple[tuple[int, int], ...]

    @property
    def indices(self) -> Iterator[int]:
        """The units."""
        return (index for first, count in self.ranges for index in range(first, first + count))

    def value(self) -> dict[str, object]:
        return {"job": self.job, "units": b"".join(_RANGE.pack(*each) for each in self.ranges)}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Final":
        job = JobId(fields.octets("job", length=32))
        packed = fields.octets("units", limit=MAX_FINAL * _RANGE.size)
        if len(packed) % _RANGE.size:
            raise MalformedError("ledger entry: runs of units are cut off")
        ranges = tuple(_RANGE.iter_unpack(packed))
        if sum(count for _, count in ranges) > MAX_FINAL or not all(c for _, c in ranges):
            raise MalformedError(f"ledger entry: at most {MAX_FINAL} units become final at once")
        return cls(moves, job, ranges)


def runs(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Sorted indices as runs."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and sum(found[-1]) == index:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((index, 1))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Refund:
    """A job is over; what is left of its escrow goes back. ``statement`` is that of a cancel."""

    t: ClassVar[str] = "refund"
    moves: Moves
    job: JobId
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"job": self.job, "statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Refund":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.octets("statement", limit=MAX_STATEMENT),
        )
