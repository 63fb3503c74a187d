"""What the ledger alone says of peers: verified work, strikes, what rests on their word.

It does not know the time, so nothing fades here. A tracker that lets it fade checks more.
"""

from collections import Counter
from dataclasses import dataclass, field

from workunits.ids import PeerKey, UnitId


@dataclass(slots=True)
class Record:
    """Every peer's."""

    strikes: Counter[PeerKey] = field(default_factory=Counter)
    struck: Counter[tuple[PeerKey, PeerKey]] = field(default_factory=Counter)
    """By peer and submitter: what that submitter's own referees or known answers proved."""

    banned: set[PeerKey] = field(default_factory=set)
    held: dict[PeerKey, set[UnitId]] = field(default_factory=dict)
    """Units with a verdict that is not final and rests on a peer's word."""

    _verified: dict[PeerKey, Counter[bytes]] = field(default_factory=dict)

    def verify(self, peer: PeerKey, kind: bytes) -> None:
        """An execution was confirmed."""
        self._verified.setdefault(peer, Counter())[kind] += 1

    def is_proven(self, peer: PeerKey, kind: bytes, submitter: PeerKey, probation: int) -> bool:
        """Whether a peer can have been past probation."""
        if self.struck[peer, submitter]:
            return False
        return probation == 0 or self._verified.get(peer, Counter())[kind] >= probation

    def strike(self, peer: PeerKey, submitter: PeerKey | None) -> None:
        """A result was proven wrong: to everybody, or by a submitter alone."""
        if submitter is None:
            self.strikes[peer] += 1
            self._verified.pop(peer, None)
        else:
            self.struck[peer, submitter] += 1

    def hold(self, peers: list[PeerKey], unit: UnitId) -> None:
        """A verdict rests on the word of ``peers``."""
        for peer in peers:
            self.held.setdefault(peer, set()).add(unit)

    def let_go(self, peers: list[PeerKey], unit: UnitId) -> None:
        """It does not any more."""
        for peer in peers:
            self.held[peer].discard(unit)
