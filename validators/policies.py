"""What happens to a unit next: another execution, the reveal, a verdict.

Pure functions of what is known. The tracker calls them; a simulator can call the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from validators.comparators import Agree, Finding
from workunits.manifest import Manifest
from workunits.verification import Comparison, Policy


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy's numbers.

    ``quorum`` results must agree, and as many are paid. ``executions`` is the most that one unit
    may be given, lost and late ones not counted.
    """

    quorum: int
    executions: int


RULES = {
    Policy.ECONOMY: Rules(quorum=2, executions=5),
    Policy.STRICT: Rules(quorum=2, executions=5),
    Policy.TRUSTED: Rules(quorum=1, executions=1),
    Policy.PAIR: Rules(quorum=2, executions=5),
}
WRONG_BEFORE_BAN = 3
"""Verdicts against a peer after which it gets no more leases: one can be a machine's fault."""

FAILURES_BEFORE_DOUBT = 3
"""Results withheld, or in units that failed in disagreement, before a peer is drawn last."""


class Next(Enum):
    """What a unit needs while results are still hidden."""

    ANOTHER = "another execution, by a validator that was drawn"
    REVEAL = "nothing more to commit: show the results"


@dataclass(frozen=True, slots=True)
class Accept:
    """The results at ``winners`` agree and are paid; those at ``losers`` are wrong."""

    winners: tuple[int, ...]
    losers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Another:
    """No agreement yet: one more execution, whose peer has seen none of the results."""


@dataclass(frozen=True, slots=True)
class Fail:
    """No agreement, and no more executions. Nobody is paid, nobody is called wrong."""

    reason: str


Verdict: TypeAlias = Accept | Another | Fail


def rules(manifest: Manifest) -> Rules:
    """The rules of a job's policy."""
    return RULES[manifest.policy]


def after_commit(manifest: Manifest, commitments: Sequence[bytes]) -> Next:
    """Decide on commitments alone, before anything is shown.

    Equal commitments mean equal results, so under exact comparison a disagreement is settled by
    one more blind execution before the reveal. Under other comparators unequal results may still
    agree, and only the reveal can tell.
    """
    policy = rules(manifest)
    if len(commitments) < policy.quorum:
        return Next.ANOTHER
    if manifest.comparator.kind is Comparison.EXACT and len(commitments) < policy.executions:
        most = max(commitments.count(each) for each in commitments)
        return Next.REVEAL if most >= policy.quorum else Next.ANOTHER
    return Next.REVEAL


def after_reveal(manifest: Manifest, findings: Sequence[Finding], agree: Agree) -> Verdict:
    """Decide on revealed results, in the order in which they were committed.

    The first result with which enough others agree wins, with the earliest of those. Agreement
    beyond the quorum is right too, but not paid.
    """
    policy = rules(manifest)
    for one in findings:
        group = tuple(at for at, other in enumerate(findings) if agree(one, other))
        if len(group) >= policy.quorum:
            losers = tuple(at for at in range(len(findings)) if at not in group)
            return Accept(group[: policy.quorum], losers)
    if len(findings) < policy.executions:
        return Another()
    return Fail(f"{len(findings)} executions, no {policy.quorum} of which agree")


def is_doubtful(right: int, failures: int) -> bool:
    """Whether a peer is drawn last: it withheld results, or nobody ever agreed with it.

    Neither proves a cheat, so it costs only its turn. Who answers without computing would
    otherwise be drawn again and again, and end every unit in disagreement.
    """
    return failures >= FAILURES_BEFORE_DOUBT and failures > right


def is_banned(wrong: int) -> bool:
    """Whether a peer with ``wrong`` verdicts against it is a proven cheat."""
    return wrong >= WRONG_BEFORE_BAN
