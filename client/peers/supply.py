"""What is known of one peer that we may fetch from."""

from dataclasses import dataclass, field

from client.peers.layout import BLOCK_SIZE, Block

MIN_DEPTH, MAX_DEPTH = 4, 256
"""Requests that are under way at one peer."""

DEPTH_SECONDS = 3.0
"""How many seconds of a peer's measured rate are asked for in advance."""


@dataclass(slots=True)
class Supply:
    """What is known of one peer that we may fetch from."""

    pieces: set[int] = field(default_factory=set)
    wanted: int = 0
    """How many of these are missing."""

    every: bool = False
    choked: bool = True
    fast: set[int] = field(default_factory=set)
    """Pieces that it serves although it chokes us (BEP 6)."""

    refused: set[int] = field(default_factory=set)
    """Pieces that it has rejected a request for since it last unchoked us."""

    asked: dict[Block, float] = field(default_factory=dict)
    late: set[Block] = field(default_factory=set)
    """Blocks asked of it and given up; they are still welcome."""

    window: int = MAX_DEPTH
    """Requests whose answers fit into the buffers on the way."""

    limit: int = MAX_DEPTH
    """Requests that the peer queues."""

    rate: float = 0.0
    """Bytes per second, averaged."""

    heard: float = 0.0
    """When it last sent a block, or was first asked after a pause."""

    since: float = 0.0
    taken: int = 0
    """Bytes since ``since``: the sample that the rate is made of."""

    stalled: bool = False

    def has(self, piece: int) -> bool:
        """Whether it has ``piece``."""
        return self.every or piece in self.pieces

    def depth(self) -> int:
        """How many requests may be under way at it."""
        if self.stalled:
            return 1
        wanted = int(self.rate * DEPTH_SECONDS / BLOCK_SIZE)
        return min(self.limit, self.window, max(MIN_DEPTH, min(MAX_DEPTH, wanted)))
