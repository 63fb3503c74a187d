"""Hints: what a leased unit of a model asks, and what another execution of it claims.

Who checks an answer gets it as a hint, so that one pass over it is enough. One hint in ``TRAPS`` is
altered: who says yes without looking is then wrong, and is found out. Who answers by its own engine
is right all the same; who measures margins refuses such a hint, and is asked again with a true one.
"""

import hmac
from functools import cache

from tracker.work.claims import Claim
from tracker.work.state import Execution
from validators.texts import altered
from workunits.ids import Digest, LeaseToken
from workunits.models.answer import REJECTED, Finish
from workunits.results import Ending, Result, commitment
from workunits.wire.models import Ask

TRAPS = 16
"""Of so many hints one is altered."""

FEWEST = 8
"""Tokens of the shortest answer of which a trap is made where margins are measured: one false token
more or less must not decide there."""

_TRAP = b"openswarm trap\n"


class Hints:
    """Makes the ``Ask`` of a lease. ``secret`` decides which hints are altered."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def ask(self, execution: Execution) -> Ask | None:
        """What is said right before a lease of a model's unit; None where that is nothing."""
        unit, query = execution.unit, execution.unit.query
        first = unit.committed[0].claim if unit.committed else None
        given: tuple[int, ...] = ()
        finish: Finish | None = None
        halt = 0
        claimed: tuple[int, ...] = ()
        if unit.committed:
            if first and first.finish and self._is_told(execution):
                claimed, finish = tuple(first.ids), first.finish
                given = self._trap(execution, claimed)
            halt = _halt(execution, first)
        elif query:
            given = tuple(query.told)
            # what was told is in the answer, wherever it was to end
            halt = max(query.halt, len(given)) if query.halt else 0
        execution.claim = Claim(given, altered=given != claimed and bool(claimed))
        if query is None and not unit.committed:
            return None
        if query is None:
            return Ask(execution.token, None, given, finish, halt)
        stream = not unit.committed and (query.stream or query.urgent)
        top = query.top if stream else 0
        return Ask(execution.token, query.request, given, finish, halt, stream, top)

    def is_trap(self, token: LeaseToken) -> bool:
        """Whether the hint under a lease is altered."""
        return self._word(token)[0] % TRAPS == 0

    def _trap(self, execution: Execution, given: tuple[int, ...]) -> tuple[int, ...]:
        if not given or not self.is_trap(execution.token):
            return given
        query, count = execution.unit.query, 1
        if execution.unit.job.manifest.comparator.by_margin:
            if len(given) < FEWEST:
                return given
            count = len(given) // 4
        others = query.request.prompt if query else ()
        return altered(given, self._word(execution.token), others=others, count=count)

    def _is_told(self, execution: Execution) -> bool:
        """Whether an execution gets the first claim: in a dispute nobody may lean on it, but who
        measures margins measures those of a claim."""
        unit = execution.unit
        return len(unit.committed) == 1 or unit.job.manifest.comparator.by_margin

    def _word(self, token: LeaseToken) -> bytes:
        return hmac.digest(self._secret, _TRAP + token.to_bytes(8, "big"), "sha256")


def saw_trap(execution: Execution, committed: bytes) -> bool:
    """Whether a commitment refuses a hint that was altered, as it should."""
    claim, unit = execution.claim, execution.unit
    if claim is None or not claim.altered or not unit.job.manifest.comparator.by_margin:
        return False
    return committed == commitment(unit.id, _refusal())


def is_unchecked(execution: Execution) -> bool:
    """Whether nobody could check what is committed: margins are measured of a claim, and there is
    none."""
    claim, unit = execution.claim, execution.unit
    if unit.committed or not unit.job.manifest.comparator.by_margin:
        return False
    return claim is None or claim.finish is None


@cache
def _refusal() -> Digest:
    return Result(Ending.EXITED, REJECTED, ()).digest


def _halt(execution: Execution, first: Claim | None) -> int:
    """After how many tokens the answer that is checked was cut; 0 if it was not."""
    query = execution.unit.query
    if query is None or not query.halt:
        return 0
    if first is None or first.finish is None:
        return query.halt
    return len(first.ids) if first.finish is Finish.HALTED else 0
