"""Every state of an execution and of a unit, and every way from one to the next.

An execution is one peer's attempt at one unit; its lease is the right to make it. Nothing else in
the tracker changes these states: a transition that is not in the table raises.
"""

from enum import StrEnum

from workunits.errors import LocalError


class Doing(StrEnum):
    """State of an execution."""

    LEASED = "leased"
    COMMITTED = "committed"
    ASKED = "asked"
    REVEALED = "revealed"
    RIGHT = "right"
    WRONG = "wrong"
    SPARE = "spare"
    RELEASED = "released"
    EXPIRED = "expired"
    WITHHELD = "withheld"
    REVOKED = "revoked"


class Act(StrEnum):
    """What happens to an execution."""

    COMMIT = "commit"
    ASK = "ask"
    REVEAL = "reveal"
    WIN = "win"
    LOSE = "lose"
    SPARE = "spare"
    RELEASE = "release"
    EXPIRE = "expire"
    WITHHOLD = "withhold"
    REVOKE = "revoke"


class Stage(StrEnum):
    """State of a unit."""

    OPEN = "open"
    COMPUTING = "computing"
    REVEALING = "revealing"
    ACCEPTED = "accepted"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Turn(StrEnum):
    """What happens to a unit."""

    LEASE = "lease"
    LOSE = "lose"
    REVEAL = "reveal"
    CONTINUE = "continue"
    ACCEPT = "accept"
    FAIL = "fail"
    CANCEL = "cancel"


EXECUTION: dict[tuple[Doing, Act], Doing] = {
    # the lease's token and peer match, before the deadline
    (Doing.LEASED, Act.COMMIT): Doing.COMMITTED,
    # the peer gives the lease back
    (Doing.LEASED, Act.RELEASE): Doing.RELEASED,
    # the deadline passed, or the peer has been away for longer than the grace
    (Doing.LEASED, Act.EXPIRE): Doing.EXPIRED,
    # the job was cancelled, or the peer banned
    (Doing.LEASED, Act.REVOKE): Doing.REVOKED,
    (Doing.COMMITTED, Act.REVOKE): Doing.REVOKED,
    (Doing.ASKED, Act.REVOKE): Doing.REVOKED,
    (Doing.REVEALED, Act.REVOKE): Doing.REVOKED,
    # the policy says that nothing more can be committed
    (Doing.COMMITTED, Act.ASK): Doing.ASKED,
    # the peer says that it lost what it committed
    (Doing.COMMITTED, Act.WITHHOLD): Doing.WITHHELD,
    # the result has the committed digest, and the seal is this peer's
    (Doing.ASKED, Act.REVEAL): Doing.REVEALED,
    # the reveal is late, or is not what was committed
    (Doing.ASKED, Act.WITHHOLD): Doing.WITHHELD,
    # the policy accepted this result / another result / more equal results than it pays
    (Doing.REVEALED, Act.WIN): Doing.RIGHT,
    (Doing.REVEALED, Act.LOSE): Doing.WRONG,
    (Doing.REVEALED, Act.SPARE): Doing.SPARE,
}

UNIT: dict[tuple[Stage, Turn], Stage] = {
    # a first execution is leased
    (Stage.OPEN, Turn.LEASE): Stage.COMPUTING,
    # a further execution is leased
    (Stage.COMPUTING, Turn.LEASE): Stage.COMPUTING,
    # no execution of it is alive any more
    (Stage.COMPUTING, Turn.LOSE): Stage.OPEN,
    # the policy says that nothing more can be committed
    (Stage.COMPUTING, Turn.REVEAL): Stage.REVEALING,
    # no agreement, or a result was withheld: one more execution
    (Stage.REVEALING, Turn.CONTINUE): Stage.COMPUTING,
    # enough results agree
    (Stage.REVEALING, Turn.ACCEPT): Stage.ACCEPTED,
    # enough results agree that the program fails, or none agree and no more are allowed
    (Stage.REVEALING, Turn.FAIL): Stage.FAILED,
    # too many executions were lost
    (Stage.COMPUTING, Turn.FAIL): Stage.FAILED,
    # the submitter cancelled the job
    (Stage.OPEN, Turn.CANCEL): Stage.CANCELLED,
    (Stage.COMPUTING, Turn.CANCEL): Stage.CANCELLED,
    (Stage.REVEALING, Turn.CANCEL): Stage.CANCELLED,
}

HIDDEN = frozenset({Doing.COMMITTED, Doing.ASKED})
"""Committed, and not shown yet."""


class IllegalTransitionError(LocalError):
    """A bug of ours: the table has no such row."""

    code = "transition"


def next_doing(state: Doing, act: Act) -> Doing:
    """The state of an execution after ``act``."""
    try:
        return EXECUTION[state, act]
    except KeyError:
        raise IllegalTransitionError(f"an execution that is {state} cannot {act}") from None


def next_stage(state: Stage, turn: Turn) -> Stage:
    """The state of a unit after ``turn``."""
    try:
        return UNIT[state, turn]
    except KeyError:
        raise IllegalTransitionError(f"a unit that is {state} cannot {turn}") from None
