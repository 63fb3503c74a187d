"""The numbers of every verification policy, where each comes from, and how far a job may go.

Rates are per mille on the wire and in code. A manifest replaces numbers by name, within
``BOUNDS``; an audit rate has a floor, because one that falls to zero invites sleepers.
"""

from dataclasses import dataclass, replace

from workunits.errors import RefusedError
from workunits.manifest import Manifest
from workunits.verification import Policy

DAY = 24 * 3600
WHOLE_JOB = 1 << 17
"""Units of the largest batch: 131,072. It bounds what the tracker keeps open of one job."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much a policy checks."""

    copies: int
    """Executions that every unit gets, by peers of different owners."""

    probation: int = 0
    """Verified executions of a kind of work before a peer is believed without one more copy.

    10, as in BOINC's adaptive replication (github.com/BOINC/boinc/wiki/AdaptiveReplication).
    """

    audit: int = 0
    """Of believed units, per mille, those that get one more copy by lot.

    100, the share of spot-checks in Sarmenta's experiments (Future Generation Computer Systems
    18(4), 2002, section 4); never less than half of it.
    """

    referee: int = 0
    """Of all units, per mille, those that a referee recomputes, agreed pairs too.

    50: what peers cannot see is a clique that checks itself. With a fifth of the peers in one,
    an audit by peers passes a fifth of its lies, an audit by a referee none.
    """

    lead: int = 1
    """Votes by which an answer must lead all others when no referee is there to decide.

    2, as in a gambler's ruin: a clique with the share f of the votes wins a dispute with
    probability f^2 / (f^2 + (1-f)^2), .06 for a fifth, where a single vote ahead gives it .2.
    """

    executions: int = 7
    """Results of one unit after which it fails in disagreement; lost ones are not counted."""

    batch: int = WHOLE_JOB
    """Units that become final together, when the last of them has its verdict: until then a
    proven cheat's units are computed again (backtracking; Sarmenta 2002, section 3.2). 1: each
    is final with its verdict."""

    final_after: int = 7 * DAY
    """Seconds after which a verdict is final although its batch is not complete."""

    @property
    def at_once(self) -> bool:
        """Whether every unit is final with its verdict."""
        return self.batch == 1


SETTINGS = {
    Policy.ECONOMY: Settings(copies=1, probation=10, audit=100, referee=50, lead=2),
    Policy.STRICT: Settings(copies=2, probation=10, referee=100, lead=2, executions=9),
    Policy.PAIR: Settings(copies=2, executions=5, batch=1),
    Policy.TRUSTED: Settings(copies=1, executions=1, batch=1),
}

BOUNDS: dict[str, tuple[int, int]] = {
    "probation": (5, 1000),
    "audit": (50, 1000),
    "referee": (0, 1000),
    "lead": (1, 3),
    "executions": (3, 12),
    "batch": (1, WHOLE_JOB),
    "final_after": (60, 90 * DAY),
}
"""What a manifest may replace, from the least to the most."""

RATES = frozenset({"audit", "referee"})
"""The settings that are per mille; people write them as fractions."""


def settings_of(manifest: Manifest) -> Settings:
    """The numbers that a job is verified by. Raises ``RefusedError`` for one out of bounds."""
    settings = SETTINGS[manifest.policy]
    for name, value in manifest.demands.settings:
        if name not in BOUNDS:
            raise RefusedError(
                f"there is no verification setting {name!r}", hint=f"Known: {', '.join(BOUNDS)}."
            )
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise RefusedError(
                f"the verification setting {name} must be from {low:,} to {high:,}, "
                f"and is {value:,}",
                hint="Change it in the job file, under [verification.settings].",
            )
    return replace(settings, **dict(manifest.demands.settings))
