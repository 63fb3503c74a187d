"""What happens to a unit next: another execution and by whom, the reveal, a verdict.

Pure functions of what is known. The tracker, the simulator and the auditor call the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from validators.settings import Settings
from workunits.ids import PeerKey

Groups: TypeAlias = Sequence[tuple[int, ...]]
"""For each vote the places of those that agree with it, itself included, in order."""

FAILURES_BEFORE_DOUBT = 3
"""Results late or withheld, or in units that failed in disagreement, before a peer comes last."""


class By(Enum):
    """Who makes the next execution."""

    PEER = "a peer of another owner, drawn by lot"
    REFEREE = "a validator of the operator's or the submitter's own; a peer where there is none"


@dataclass(frozen=True, slots=True)
class Demand:
    """How much checking one unit needs: executions by peers, and whether by a referee too."""

    copies: int
    referee: bool

    @property
    def votes(self) -> int:
        """Executions in all."""
        return self.copies + self.referee


@dataclass(frozen=True, slots=True)
class Accept:
    """The results at ``right`` agree and stand; those at ``wrong`` are proven wrong."""

    right: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Another:
    """One more execution, whose peer has seen none of the results.

    ``may_lapse`` is whether it may be left out where nobody is there who could make it.
    """

    by: By
    may_lapse: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Fail:
    """No agreement, and no more executions. Nobody is paid, nobody is called wrong."""

    reason: str


Verdict: TypeAlias = Accept | Another | Fail


def demand(
    settings: Settings, lot: int, *, proven: bool, reopened: bool, lapsed: bool = False
) -> Demand:
    """What a unit needs, given its first vote.

    ``lot`` is from 0 to 999, drawn when that vote was committed; ``proven`` is whether its peer
    was past probation then. ``reopened`` is whether the vote is what was left after another one,
    which agreed with it, turned out to be a cheat's. ``lapsed`` is whether nobody was there to
    recompute it as a referee, or in place of one.
    """
    checked = settings.referee <= lot < settings.referee + settings.audit
    copies = settings.copies + (checked or (settings.probation > 0 and not proven))
    referee = lot < settings.referee and not lapsed
    return Demand(max(copies, 2) if reopened else copies, referee)


def before_reveal(
    settings: Settings,
    wanted: Demand,
    commitments: Sequence[bytes],
    referees: Sequence[bool],
    *,
    exact: bool,
) -> Another | None:
    """Decide on commitments alone; ``None`` when nothing more is to be committed.

    Equal commitments mean equal results, so under ``exact`` comparison a disagreement is settled
    by more blind executions before anything is shown. Under other comparators unequal results may
    still agree, and only the reveal can tell.
    """
    if exact:
        groups = [
            tuple(at for at, other in enumerate(commitments) if other == one) for one in commitments
        ]
        verdict = decide(settings, wanted, groups, referees)
        return verdict if isinstance(verdict, Another) else None
    return _more(wanted, len(commitments), referees)


def decide(settings: Settings, wanted: Demand, groups: Groups, referees: Sequence[bool]) -> Verdict:
    """Decide on results, in the order in which they were committed.

    A referee's answer decides; without one an answer needs all the votes that the unit demands,
    or, in a dispute, a lead.
    """
    votes = len(groups)
    everyone = range(votes)
    judges = [at for at in everyone if referees[at]]
    if judges and not all(at in groups[judges[0]] for at in judges):
        return Fail("two referees disagree: the same unit does not give the same result twice")
    best = groups[judges[0]] if judges else max(groups, key=len, default=())
    if len(best) == votes:
        return _more(wanted, votes, referees) or Accept(best, ())
    others = tuple(at for at in everyone if at not in best)
    if judges:
        return Accept(best, others)
    second = max(len([at for at in groups[one] if at in others]) for one in others)
    if len(best) >= max(wanted.copies, 2) and len(best) - second >= settings.lead:
        return Accept(best, others)
    if votes >= max(settings.executions, wanted.votes):
        return Fail(f"{votes} executions, of which {len(best)} agree: too few")
    return Another(By.REFEREE)


def is_verified(right: Sequence[int], referees: Sequence[bool]) -> bool:
    """Whether an accepted result was seen twice, and so says something of its peers."""
    return len(right) > 1 or any(referees[at] for at in right)


def is_private(judges: Sequence[PeerKey], operator: PeerKey, *, known: bool) -> bool:
    """Whether a verdict rests on its submitter's word alone, who could have lied.

    ``judges`` are the owners of the referees who were right; ``known`` is whether an answer decided
    that the submitter knew.
    """
    return known or (bool(judges) and operator not in judges)


def is_doubtful(right: int, failures: int) -> bool:
    """Whether a peer comes last: it was late, withheld results, or nobody ever agreed with it.

    None of it proves a cheat, so it costs only its turn. Who answers without computing would
    otherwise be drawn again and again, and end every unit in disagreement.
    """
    return failures >= FAILURES_BEFORE_DOUBT and failures > right


def _more(wanted: Demand, votes: int, referees: Sequence[bool]) -> Another | None:
    peers = votes - sum(referees)
    if peers < wanted.copies and votes < wanted.votes:
        return Another(By.PEER)
    return Another(By.REFEREE, may_lapse=True) if votes < wanted.votes else None
