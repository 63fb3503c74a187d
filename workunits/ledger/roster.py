"""Entries about who is there to be drawn, and the anchors of the beacon that draws them."""

from dataclasses import dataclass
from typing import ClassVar

from workunits.beacon import LINK_SIZE
from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import PeerKey
from workunits.ledger.moves import Moves
from workunits.wire.handshake import Offerings, Vouch

NETWORK = b"network "
"""How an owner begins that is not a key: peers of one network, for whom nobody vouches."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last link of the beacon's next chain: from now on every link is fixed."""

    t: ClassVar[str] = "anchor"
    moves: Moves
    link: bytes

    def value(self) -> dict[str, object]:
        return {"link": self.link}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Anchor":
        return cls(moves, fields.octets("link", length=LINK_SIZE))


@dataclass(frozen=True, slots=True)
class Join:
    """A peer connected: whose it is, and what it can run.

    ``signature`` is the owner's vouch; it is empty where the peer is its own owner, or belongs to
    a network (``NETWORK`` and a hash).
    """

    t: ClassVar[str] = "join"
    moves: Moves
    peer: PeerKey
    owner: PeerKey
    signature: bytes
    offerings: Offerings

    @property
    def vouch(self) -> Vouch | None:
        """The owner's word, if there is one."""
        return Vouch(self.owner, self.signature) if self.signature else None

    def value(self) -> dict[str, object]:
        return {
            "offerings": self.offerings.value(),
            "owner": self.owner,
            "peer": self.peer,
            "signature": self.signature,
        }

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Join":
        peer, owner = (PeerKey(fields.octets(key, length=32)) for key in ("peer", "owner"))
        signature = fields.octets("signature", limit=64)
        if signature:
            Vouch(owner, signature).check(peer)
        elif owner != peer and not owner.startswith(NETWORK):
            raise MalformedError("ledger entry: an owner who did not vouch")
        return cls(moves, peer, owner, signature, Offerings.read(fields.group("offerings")))


@dataclass(frozen=True, slots=True)
class Leave:
    """A peer is gone."""

    t: ClassVar[str] = "leave"
    moves: Moves
    peer: PeerKey

    def value(self) -> dict[str, object]:
        return {"peer": self.peer}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Leave":
        return cls(moves, PeerKey(fields.octets("peer", length=32)))


@dataclass(frozen=True, slots=True)
class Restart:
    """The tracker started anew: nobody is there."""

    t: ClassVar[str] = "restart"
    moves: Moves

    def value(self) -> dict[str, object]:
        return {}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Restart":
        return cls(moves)


@dataclass(frozen=True, slots=True)
class Doubt:
    """From now on a peer is drawn last, or as others again (``policies.is_doubtful``)."""

    t: ClassVar[str] = "doubt"
    moves: Moves
    peer: PeerKey
    doubted: bool

    def value(self) -> dict[str, object]:
        return {"doubted": int(self.doubted), "peer": self.peer}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Doubt":
        return cls(moves, PeerKey(fields.octets("peer", length=32)), fields.flag("doubted"))


@dataclass(frozen=True, slots=True)
class Ban:
    """A proven cheat gets no more work. The verdicts against it came before."""

    t: ClassVar[str] = "ban"
    moves: Moves
    peer: PeerKey

    def value(self) -> dict[str, object]:
        return {"peer": self.peer}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Ban":
        return cls(moves, PeerKey(fields.octets("peer", length=32)))
