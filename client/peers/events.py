"""What a peer said, once it is understood (BEP 3, 6, 52); ``extensions`` has the rest."""

from dataclasses import dataclass
from typing import TypeAlias

from client.peers import extensions
from client.peers.layout import Block
from workunits.hashtree import HashRequest


@dataclass(frozen=True, slots=True)
class Handshaken:
    """The peer is in the same swarm. ``peer_id`` is whatever it claims.

    ``hashes`` is whether it knows the swarm by its v2 hash, and so takes hash requests (BEP 52).
    """

    peer_id: bytes
    fast: bool
    extended: bool
    hashes: bool = False


@dataclass(frozen=True, slots=True)
class Choking:
    """The peer will not (``on``) or will serve our requests."""

    on: bool


@dataclass(frozen=True, slots=True)
class Interested:
    """The peer does (``on``) or does not want pieces from us."""

    on: bool


@dataclass(frozen=True, slots=True)
class Has:
    """The peer has these pieces."""

    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HasAll:
    """The peer has every piece."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The peer asks for a block."""

    block: Block


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The peer no longer wants a block."""

    block: Block


@dataclass(frozen=True, slots=True)
class Received:
    """A block came. Its content is unchecked."""

    block: Block
    data: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """The peer will not serve a block (BEP 6)."""

    block: Block


@dataclass(frozen=True, slots=True)
class AllowedFast:
    """The peer serves this piece even while it chokes us (BEP 6)."""

    piece: int


@dataclass(frozen=True, slots=True)
class HashesRequested:
    """The peer asks for a part of a file's hash tree (BEP 52)."""

    request: HashRequest


@dataclass(frozen=True, slots=True)
class HashesReceived:
    """A part of a hash tree came, unchecked: the hashes that were asked for, then their proof."""

    request: HashRequest
    hashes: bytes


@dataclass(frozen=True, slots=True)
class HashesRejected:
    """The peer does not have that part of a hash tree."""

    request: HashRequest


Event: TypeAlias = (
    Handshaken
    | Choking
    | Interested
    | Has
    | HasAll
    | Requested
    | Cancelled
    | Received
    | Rejected
    | AllowedFast
    | HashesRequested
    | HashesReceived
    | HashesRejected
    | extensions.Event
)
