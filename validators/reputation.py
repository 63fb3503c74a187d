"""What a peer's past is worth: verified work of a kind, and strikes. Both fade with time.

Only executions that somebody else confirmed are counted. Being late or withholding a result costs
a peer its turn (``policies.is_doubtful``), never its name.
"""

import hashlib
from dataclasses import dataclass

from workunits.manifest import Manifest

HALF_LIFE = 30 * 24 * 3600.0
"""Seconds in which half of a score is forgotten."""

STRIKES = 3
"""Proven wrong results after which a peer is banned.

Not one: on desktop grids about a third of the machines returned a wrong result at some time (Kondo
et al., "Characterizing Result Errors in Internet Desktop Grids", Euro-Par 2007). The first one
already costs a peer its record, and all of its work that is not final is done again.
"""

_DOMAIN = b"openswarm kind of work v1\n"
_SLACK = 0.5


def kind_of(manifest: Manifest) -> bytes:
    """The kind of work: one command in one image, whatever its parameters."""
    program = manifest.program
    state = hashlib.sha256(_DOMAIN + program.image.encode())
    for argument in program.command:
        state.update(b"\0" + argument.encode())
    return state.digest()


def trust_of(manifest: Manifest) -> bytes:
    """What probation is about: a kind of work for one submitter.

    Whoever submits jobs to himself could let his peers confirm each other, and so be trusted by
    others; hence what was confirmed in his jobs counts there.
    """
    return hashlib.sha256(_DOMAIN + kind_of(manifest) + manifest.submitter).digest()


@dataclass(slots=True)
class Score:
    """A count that fades; ``at`` is when it was last changed (Unix seconds)."""

    amount: float = 0.0
    at: float = 0.0

    def worth(self, wall: float) -> float:
        """What is left of it at ``wall``."""
        return float(self.amount * 2 ** (-max(0.0, wall - self.at) / HALF_LIFE))

    def add(self, wall: float) -> None:
        """Count one more."""
        self.amount, self.at = self.worth(wall) + 1, wall

    def reaches(self, count: int, wall: float) -> bool:
        """Whether it is worth ``count``, give or take half of one."""
        return self.worth(wall) > count - _SLACK
