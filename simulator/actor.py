"""A peer in the simulated world: its leases, what it works on, what it committed to."""

from collections import deque
from dataclasses import dataclass, field

from simulator.attackers import Behaviour, Deed
from simulator.crew import Member
from workunits.ids import LeaseToken, PeerKey
from workunits.signing import Identity
from workunits.wire.work import Commit


@dataclass(slots=True, eq=False)
class Actor:
    """One identity of one machine. It computes one unit after the other."""

    member: Member
    life: int
    key: PeerKey
    behaviour: Behaviour
    identity: Identity | None = None
    """What it signs with, where a run has signatures."""

    session: int = 0
    queue: deque[tuple[LeaseToken, int]] = field(default_factory=deque)
    busy: LeaseToken | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What an actor committed to. ``commit`` is what it sent; a copy's answer is the other's."""

    actor: Actor
    index: int
    deed: Deed
    answer: int
    commit: Commit
    copied: bool = False
