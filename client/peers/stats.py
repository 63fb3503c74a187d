"""What the swarm tells of itself: counters and progress."""

from dataclasses import dataclass

from workunits.ids import BlobRef


@dataclass(slots=True)
class Traffic:
    """Bytes of content: taken from peers, from the web seed, and given to peers."""

    peers: int = 0
    webseed: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is. Bytes, and open connections."""

    done: int
    total: int
    peers: int


@dataclass(frozen=True, slots=True)
class BlobStats:
    """One torrent that this swarm fetches or serves; ``ref`` if it is a blob of the store."""

    info_hash: bytes
    ref: BlobRef | None
    seeding: bool
    peers: int
    from_peers: int
    from_webseed: int
    sent: int


@dataclass(frozen=True, slots=True)
class SwarmStats:
    """What went over the wire since the start, bytes of content; and what is open now."""

    from_peers: int
    from_webseed: int
    sent: int
    peers: int
    tracker_online: bool
    blobs: tuple[BlobStats, ...]
