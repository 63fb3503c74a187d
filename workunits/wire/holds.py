"""What a peer holds and has room for, told while a session lasts.

Hints: the tracker leases units first to those who need not fetch what they read, and none to those
who have no room for it. Nothing else rests on them, least of all who is drawn to check a unit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import BlobRef
from workunits.wire.handshake import MAX_DISK
from workunits.wire.packing import read_packed

NAME_SIZE = 20
"""Bytes of a v2 info-hash that name a blob on the wire, as in BEP 52."""

MAX_HELD = 1000
"""Most blobs that a peer names: of more, those that it used last."""


@dataclass(frozen=True, slots=True)
class Holds:
    """A change of what a peer holds. The first one of a session starts from nothing.

    ``added`` and ``removed`` are names of blobs. ``disk_bytes`` is the room for more of them.
    """

    t: ClassVar[str] = "holds"
    disk_bytes: int
    added: frozenset[bytes] = frozenset()
    removed: frozenset[bytes] = frozenset()

    def value(self) -> dict[str, object]:
        return {
            "added": b"".join(sorted(self.added)),
            "disk": self.disk_bytes,
            "removed": b"".join(sorted(self.removed)),
        }

    @classmethod
    def read(cls, fields: Fields) -> "Holds":
        added, removed = _names(fields, "added"), _names(fields, "removed")
        if not added.isdisjoint(removed):
            raise MalformedError("holds: a blob is both added and removed")
        return cls(fields.integer("disk", 0, MAX_DISK), added, removed)


def name_of(ref: BlobRef) -> bytes:
    """The name of a blob on the wire: its v2 info-hash, cut to 20 bytes."""
    return ref.v2[:NAME_SIZE]


def changes(
    before: frozenset[bytes], refs: Iterable[BlobRef], disk_bytes: int
) -> tuple[frozenset[bytes], Holds]:
    """What to say after ``before`` was said, and what will have been said then.

    ``refs`` are the blobs that are held, the one used last at the end.
    """
    names = list(dict.fromkeys(name_of(ref) for ref in refs))
    now = frozenset(names[-MAX_HELD:])
    return now, Holds(disk_bytes, now - before, before - now)


def _names(fields: Fields, key: str) -> frozenset[bytes]:
    packed = read_packed(fields, key, NAME_SIZE, MAX_HELD)
    names = [packed[at : at + NAME_SIZE] for at in range(0, len(packed), NAME_SIZE)]
    if names != sorted(set(names)):
        raise MalformedError(f"holds: {key} must be sorted, each name once")
    return frozenset(names)
