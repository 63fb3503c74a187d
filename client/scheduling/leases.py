"""The life of a held lease: its states, and the steps between them with guards, in one table.

A comparison is held in the same way. It is over once it was judged.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from client.scheduling.needs import Need
from workunits.ids import Digest, JobId, LeaseToken, UnitId
from workunits.wire.compare import Pair


class State(Enum):
    """Where a lease stands."""

    WAITING = "waiting"
    """Nothing was done for it yet."""
    FETCHING = "fetching"
    """Some of its blobs are on their way."""
    READY = "ready"
    """Everything that it reads is here."""
    RUNNING = "running"
    """It has a cell."""
    STORING = "storing"
    """Its program ended; the result is being hashed and written to disk."""
    COMPUTED = "computed"
    """Its result is on disk."""
    COMMITTING = "committing"
    """The commit was sent, and not acknowledged."""
    COMMITTED = "committed"
    """The tracker has the commit on disk."""
    REVEALING = "revealing"
    """The tracker asked for the result."""
    DONE = "done"
    """The tracker has the result on disk."""
    JUDGED = "judged"
    """Our opinion of a comparison was sent."""
    RELEASED = "released"
    """We gave it back."""
    REVOKED = "revoked"
    """The tracker took it back."""

    # The members are singletons; the inherited hash of the name is slow Python code.
    __hash__ = object.__hash__


EARLY = frozenset({State.WAITING, State.FETCHING, State.READY})
"""Before a cell was given to it: can be given back at no loss."""

UNCOMMITTED = EARLY | {State.RUNNING, State.STORING, State.COMPUTED, State.COMMITTING}
"""What counts against the credit that the tracker was told (``Want``)."""

OVER = frozenset({State.DONE, State.JUDGED, State.RELEASED, State.REVOKED})
LIVE = frozenset(State) - OVER

LAST = 2
"""The ``rank`` of what nobody waits for."""


@dataclass(slots=True, eq=False)
class Held:
    """One lease and what is known of it. ``deadline`` and ``started`` are monotonic seconds.

    ``pair`` is what is to be compared, if it is a comparison; ``urgent`` is whether somebody waits
    for it.
    """

    token: LeaseToken
    job: JobId
    index: int
    deadline: float
    state: State = State.WAITING
    pair: Pair | None = None
    urgent: bool = False
    needs: tuple[Need, ...] = ()
    missing: set[Need] = field(default_factory=set)
    cell: int | None = None
    started: float = 0.0
    digest: Digest | None = None
    sent: bool = False
    """Whether a commit was ever sent."""
    asked: bool = False
    """Whether the tracker ever asked for the result."""

    @property
    def counts(self) -> bool:
        """Whether it counts against the credit that the tracker was told."""
        return self.pair is None and self.state in UNCOMMITTED

    @property
    def rank(self) -> int:
        """Lower goes first among those of its job that are ready."""
        if self.urgent:
            return 0
        return LAST if self.pair is None else 1

    @property
    def unit(self) -> UnitId:
        """The unit that the lease is for."""
        return UnitId(self.job, self.index)


class IllegalStepError(Exception):
    """A step that is not in the table, or whose guard says no: a bug on this side."""


Guard = Callable[[Held], bool]


def _always(_: Held) -> bool:
    return True


def _is_unit(lease: Held) -> bool:
    return lease.pair is None


def _complete(lease: Held) -> bool:
    return not lease.missing


def _computed(lease: Held) -> bool:
    return lease.digest is not None


_STEPS: dict[tuple[State, State], Guard] = {
    (State.WAITING, State.FETCHING): lambda lease: bool(lease.missing),
    (State.WAITING, State.READY): _complete,
    (State.FETCHING, State.READY): _complete,
    (State.READY, State.RUNNING): lambda lease: lease.cell is not None,
    (State.RUNNING, State.STORING): _is_unit,
    (State.RUNNING, State.JUDGED): lambda lease: lease.pair is not None,
    (State.STORING, State.COMPUTED): _computed,
    (State.COMPUTED, State.COMMITTING): _computed,
    (State.COMMITTING, State.COMMITTED): lambda lease: lease.sent,
    # After a reconnect the tracker says what it has.
    (State.COMMITTING, State.COMPUTED): _computed,
    (State.COMMITTED, State.COMPUTED): _computed,
    (State.REVEALING, State.COMPUTED): _computed,
    (State.COMPUTED, State.COMMITTED): lambda lease: lease.sent,
    (State.COMMITTED, State.REVEALING): lambda lease: lease.asked,
    (State.REVEALING, State.DONE): lambda lease: lease.asked,
    **{(state, State.RELEASED): _always for state in LIVE},
    **{(state, State.REVOKED): _always for state in LIVE},
}


def step(lease: Held, to: State) -> None:
    """Move ``lease`` to state ``to``; raises ``IllegalStepError`` when the table says no."""
    guard = _STEPS.get((lease.state, to))
    if guard is None or not guard(lease):
        raise IllegalStepError(f"lease {lease.token}: {lease.state.value} -> {to.value}")
    lease.state = to
