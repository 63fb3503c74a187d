"""Two results of a unit that differ, and the questions whether they are the same. In memory only:
after a restart they are asked again."""

from dataclasses import dataclass, field
from typing import TypeAlias

from tracker.work.state import Peer, Unit
from tracker.work.table import Asking, Hearing, next_asking
from validators.comparators import Finding
from workunits.ids import Digest, JobId, LeaseToken, PeerKey
from workunits.wire.compare import Judgement, Pair, Shown

MAX_LOST = 3
"""Comparisons of two results that failed, after which the two count as different."""

VOICES = 2
"""Opinions of different owners that agree, where no referee has one."""

Couple: TypeAlias = tuple[Digest, Digest]
"""The digests of two results, sorted."""


def couple(one: Finding, other: Finding) -> Couple:
    """What names two results, in either order."""
    a, b = sorted((one.result.digest, other.result.digest))
    return a, b


@dataclass(slots=True, eq=False)
class Dispute:
    """Two results of ``unit`` that differ, until it is known whether they are the same.

    ``said`` are opinions of peers, one of each owner; ``heard`` are these peers and their owners.
    ``passed`` are those that were drawn and brought none, and their owners: others come first.
    """

    unit: Unit
    one: Finding
    other: Finding
    said: list[bool] = field(default_factory=list)
    heard: set[PeerKey] = field(default_factory=set)
    passed: set[PeerKey] = field(default_factory=set)
    lost: int = 0
    ruling: bool | None = None
    question: "Question | None" = None

    def hear(self, peer: Peer, *, same: bool, referee: bool) -> None:
        """Take an opinion. A referee's decides, and so do two that agree."""
        self.said.append(same)
        self.heard |= {peer.key, peer.owner}
        if referee or self.said.count(same) >= VOICES:
            self.ruling = same

    def lose(self) -> None:
        """A comparison brought no opinion."""
        self.lost += 1
        if self.lost >= MAX_LOST:
            self.ruling = False


@dataclass(slots=True, eq=False)
class Question:
    """One peer that was drawn to compare the results of a dispute."""

    token: LeaseToken
    dispute: Dispute
    peer: Peer
    referee: bool
    asking: Asking = Asking.DRAWN

    def act(self, hearing: Hearing) -> None:
        """Move along the table."""
        self.asking = next_asking(self.asking, hearing)

    @property
    def pair(self) -> Pair:
        """What the peer is shown."""
        unit, one, other = self.dispute.unit, self.dispute.one, self.dispute.other
        shown = (Shown(each.result, each.contents) for each in (one, other))
        return Pair(self.token, unit.index, *shown)

    def is_answered(self, job: JobId, judgement: Judgement) -> bool:
        """Whether ``judgement`` is about what was shown."""
        pair = self.pair
        return self.dispute.unit.job.id == job and judgement == pair.judged(judgement.opinion)
