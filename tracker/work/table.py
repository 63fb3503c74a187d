"""Every state of an execution, a unit and a question, and every way from one to the next.

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
    HELD = "held"
    RIGHT = "right"
    WRONG = "wrong"
    SPARE = "spare"
    RELEASED = "released"
    EXPIRED = "expired"
    WITHHELD = "withheld"
    REVOKED = "revoked"
    STRUCK = "struck"


class Act(StrEnum):
    """What happens to an execution."""

    COMMIT = "commit"
    ASK = "ask"
    REVEAL = "reveal"
    HOLD = "hold"
    REOPEN = "reopen"
    STRIKE = "strike"
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
    SETTLED = "settled"
    ACCEPTED = "accepted"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Turn(StrEnum):
    """What happens to a unit."""

    LEASE = "lease"
    LOSE = "lose"
    REVEAL = "reveal"
    CONTINUE = "continue"
    SETTLE = "settle"
    REOPEN = "reopen"
    ACCEPT = "accept"
    FAIL = "fail"
    CANCEL = "cancel"


class Asking(StrEnum):
    """State of a question: one peer that is to compare two results."""

    DRAWN = "drawn"
    ASKED = "asked"
    TOLD = "told"
    LOST = "lost"
    SKIPPED = "skipped"
    REVOKED = "revoked"


class Hearing(StrEnum):
    """What happens to a question."""

    SEND = "send"
    TELL = "tell"
    LOSE = "lose"
    SKIP = "skip"
    REVOKE = "revoke"


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
    # what was withheld was, by its commitment, not what the policy accepted
    (Doing.WITHHELD, Act.LOSE): Doing.WRONG,
    # the policy accepted this result, and it is not final yet
    (Doing.REVEALED, Act.HOLD): Doing.HELD,
    # the policy accepted another result
    (Doing.REVEALED, Act.LOSE): Doing.WRONG,
    # what was accepted is final: it is paid / it is not, a referee's or more than are paid
    (Doing.HELD, Act.WIN): Doing.RIGHT,
    (Doing.HELD, Act.SPARE): Doing.SPARE,
    # its peer was proven wrong elsewhere, and the unit is computed again
    (Doing.HELD, Act.STRIKE): Doing.STRUCK,
    # another peer of the unit was: this vote counts in the new verdict
    (Doing.HELD, Act.REOPEN): Doing.REVEALED,
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
    # the policy accepted a result
    (Stage.REVEALING, Turn.SETTLE): Stage.SETTLED,
    # a peer that it rests on was proven wrong elsewhere
    (Stage.SETTLED, Turn.REOPEN): Stage.COMPUTING,
    # it is final, and the program gave what the job declares / it failed
    (Stage.SETTLED, Turn.ACCEPT): Stage.ACCEPTED,
    (Stage.SETTLED, Turn.FAIL): Stage.FAILED,
    # no results agree, and no more are allowed
    (Stage.REVEALING, Turn.FAIL): Stage.FAILED,
    # too many executions were lost
    (Stage.COMPUTING, Turn.FAIL): Stage.FAILED,
    # somebody waits for it, and nobody is there who could compute it
    (Stage.OPEN, Turn.FAIL): Stage.FAILED,
    # the submitter cancelled the job
    (Stage.OPEN, Turn.CANCEL): Stage.CANCELLED,
    (Stage.COMPUTING, Turn.CANCEL): Stage.CANCELLED,
    (Stage.REVEALING, Turn.CANCEL): Stage.CANCELLED,
}

QUESTION: dict[tuple[Asking, Hearing], Asking] = {
    # the peer has fewer of them than it may have at once
    (Asking.DRAWN, Hearing.SEND): Asking.ASKED,
    # the comparator said that the results are the same, or that they are not
    (Asking.ASKED, Hearing.TELL): Asking.TOLD,
    # it failed, or was declined, or did not come in time, or is of other results
    (Asking.ASKED, Hearing.LOSE): Asking.LOST,
    # the peer is gone, or has others to answer for too long
    (Asking.DRAWN, Hearing.SKIP): Asking.SKIPPED,
    (Asking.ASKED, Hearing.SKIP): Asking.SKIPPED,
    # the unit is computed once more, or its job was cancelled
    (Asking.DRAWN, Hearing.REVOKE): Asking.REVOKED,
    (Asking.ASKED, Hearing.REVOKE): Asking.REVOKED,
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


def next_asking(state: Asking, hearing: Hearing) -> Asking:
    """The state of a question after ``hearing``."""
    try:
        return QUESTION[state, hearing]
    except KeyError:
        raise IllegalTransitionError(f"a question that is {state} cannot {hearing}") from None
