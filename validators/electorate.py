"""Who may be drawn to recompute a unit: the connected peers, as the ledger's roster says.

The tracker draws with it; the auditor keeps the same one from the ledger and draws again.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from validators.draw import draw
from validators.policies import By
from validators.roster import Roster
from workunits.ids import PeerKey, UnitId
from workunits.manifest import Manifest
from workunits.wire.handshake import Offerings

Eligible: TypeAlias = Callable[[PeerKey], bool]


@dataclass(frozen=True, slots=True)
class Member:
    """What the roster says of a peer: whose it is, what it does and what it can run."""

    key: PeerKey
    owner: PeerKey
    validator: bool
    memory_bytes: int
    images: tuple[str, ...]
    platform: str
    disk_bytes: int = 0
    models: bool = True

    @classmethod
    def of(cls, key: PeerKey, owner: PeerKey, brings: Offerings) -> "Member":
        """A peer as its session began."""
        return cls(
            *(key, owner, brings.validator, brings.memory_bytes),
            *(brings.images, brings.platform, brings.disk_bytes, brings.models),
        )

    def can_run(self, needs: "Needs") -> bool:
        """Whether it has the memory for a unit, the image or room for it, and room for the rest,
        and takes its kind.

        What it says that it holds does not count: nobody comes nearer to being drawn by it.
        """
        if needs.model and not self.models:
            return False
        if needs.image in self.images:
            disk: int | None = needs.disk_bytes
        else:
            disk = needs.with_image
        return (
            disk is not None and disk <= self.disk_bytes and needs.memory_bytes <= self.memory_bytes
        )


@dataclass(frozen=True, slots=True)
class Needs:
    """What a unit needs of who runs it: ``with_image`` is bytes of disk where the image has to be
    fetched too, None where it cannot be."""

    image: str
    memory_bytes: int
    disk_bytes: int
    with_image: int | None
    model: bool = False

    @classmethod
    def of(cls, manifest: Manifest, index: int) -> "Needs":
        """The needs of one unit of a job."""
        size = manifest.disk_bytes(index)
        return cls(
            manifest.program.image,
            manifest.limits.memory_bytes,
            size,
            size + manifest.image_bytes if manifest.shared else None,
            manifest.program.model is not None,
        )


@dataclass(frozen=True, slots=True)
class Seat:
    """What is to be filled: one more execution of a unit.

    ``taken`` are the peers that committed to it and their owners; ``asked`` those that were drawn
    for it before, who come after all others; ``platform`` is where it must run, if that matters.
    """

    unit: UnitId
    by: By
    taken: Set[PeerKey]
    asked: Set[PeerKey]
    platform: str


@dataclass(slots=True)
class Electorate:
    """The roster, and who of it is not drawn: doubted peers last, shunned ones never."""

    operator: PeerKey
    members: dict[PeerKey, Member] = field(default_factory=dict)
    doubted: set[PeerKey] = field(default_factory=set)
    shunned: dict[PeerKey, set[PeerKey]] = field(default_factory=dict)
    """By submitter, the peers that its own referees or known answers caught too often."""

    _present: Roster = field(default_factory=Roster)
    _validators: dict[PeerKey, Roster] = field(default_factory=dict)

    def join(self, member: Member) -> None:
        """A peer is there, perhaps with other offerings than before."""
        self.leave(member.key)
        self.members[member.key] = member
        self._present.add(member.key)
        if member.validator:
            self._validators.setdefault(member.owner, Roster()).add(member.key)

    def leave(self, key: PeerKey) -> None:
        """A peer is gone."""
        if key not in self._present:
            return
        self._present.discard(key)
        member = self.members[key]
        if member.validator:
            roster = self._validators[member.owner]
            roster.discard(key)
            if not roster:
                del self._validators[member.owner]

    def __len__(self) -> int:
        return len(self._present)

    def present(self) -> list[PeerKey]:
        """The peers that are there, sorted by key."""
        return self._present[:]

    def is_present(self, key: PeerKey) -> bool:
        """Whether a peer is there."""
        return key in self._present

    def is_referee(self, key: PeerKey, manifest: Manifest) -> bool:
        """Whether a peer's word decides: a validator of the operator's or the submitter's."""
        member = self.members.get(key)
        return (
            member is not None
            and member.validator
            and member.owner in (self.operator, manifest.submitter)
        )

    def shun(self, key: PeerKey, submitter: PeerKey) -> None:
        """Keep a peer away from a submitter's jobs."""
        self.shunned.setdefault(submitter, set()).add(key)

    def is_shunned(self, key: PeerKey, submitter: PeerKey) -> bool:
        """Whether a peer gets no work of a submitter's."""
        return key in self.shunned.get(submitter, ())

    def able(self, manifest: Manifest, seat: Seat) -> Eligible:
        """Says of a member whether it could be drawn to fill ``seat`` if nobody came before it."""
        needs = Needs.of(manifest, seat.unit.index)

        def able(key: PeerKey) -> bool:
            member = self.members[key]
            return (
                key not in seat.taken
                and member.owner not in seat.taken
                and member.can_run(needs)
                and (not seat.platform or member.platform == seat.platform)
                and not self.is_shunned(key, manifest.submitter)
            )

        return able

    def draw(self, link: bytes, manifest: Manifest, seat: Seat) -> PeerKey | None:
        """Draw who fills ``seat``; ``None`` when nobody can.

        A referee's seat goes to the submitter's, then to the operator's validators, and to a peer
        only when neither has one. A peer's seat goes to any peer, volunteer or validator, with the
        same chance; to a referee last.
        """
        able = self.able(manifest, seat)

        def waiting(key: PeerKey) -> bool:
            return key not in seat.asked and able(key)

        def peer(key: PeerKey) -> bool:
            return not self.is_referee(key, manifest) and able(key)

        def sound(key: PeerKey) -> bool:
            return key not in self.doubted and peer(key)

        def fresh(key: PeerKey) -> bool:
            return key not in seat.asked and sound(key)

        rounds: list[tuple[Roster, Eligible]] = []
        if seat.by is By.REFEREE:
            owners = dict.fromkeys((manifest.submitter, self.operator))
            rounds += [
                (self._validators[owner], waiting) for owner in owners if owner in self._validators
            ]
        everyone = self._present
        rounds += [(everyone, fresh), (everyone, sound), (everyone, peer), (everyone, able)]
        for roster, eligible in rounds:
            key = draw(link, seat.unit, roster, eligible)
            if key is not None:
                return key
        return None
