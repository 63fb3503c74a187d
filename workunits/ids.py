"""Identifiers: jobs, units, peers, blobs. All of them are hashes or keys, shown as hex."""

from dataclasses import dataclass
from typing import NewType

from workunits.errors import MalformedError

JobId = NewType("JobId", bytes)
"""SHA-256 of the manifest's exact bytes."""

PeerKey = NewType("PeerKey", bytes)
"""Raw Ed25519 public key (RFC 8032), 32 bytes: the identity of a peer."""

Digest = NewType("Digest", bytes)
"""SHA-256 of a canonical result manifest."""

LeaseToken = NewType("LeaseToken", int)
"""Fencing token: grows with every lease that a tracker hands out, never repeats."""

HASH_SIZE = 32
SHORT = 12


NOBODY = PeerKey(bytes(HASH_SIZE))
"""Stands where a peer would, and there is none."""


@dataclass(frozen=True, slots=True, order=True)
class UnitId:
    """One index of a job."""

    job: JobId
    index: int

    def __str__(self) -> str:
        return f"{short(self.job)}/{self.index}"


@dataclass(frozen=True, slots=True, order=True)
class BlobRef:
    """Name of an immutable file: both info-hashes of its hybrid torrent, and its length.

    ``v2`` (SHA-256, BEP 52) decides whether the content is right; ``v1`` (SHA-1, BEP 3) is what
    clients that cannot join a v2-only torrent announce.
    """

    v2: bytes
    v1: bytes
    length: int

    def __str__(self) -> str:
        return self.v2.hex()


def short(value: bytes) -> str:
    """The first 12 hex digits, for people."""
    return value.hex()[:SHORT]


def parse_hash(text: str, what: str) -> bytes:
    """Parse the 64 hex digits of a job id, a key or a digest."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_SIZE or len(text) != 2 * HASH_SIZE:
        raise MalformedError(
            f"{what} must be {2 * HASH_SIZE} hex digits: {text[:80]!r}",
            hint="Give it whole; with --json the commands print keys and ids whole.",
        )
    return value
