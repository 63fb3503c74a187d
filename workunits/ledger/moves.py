"""Credit that changes accounts, and the accounts that are nobody's."""

from typing import NamedTuple, TypeAlias

from workunits.ids import JobId

MAX_MOVES = 1024
MAX_NAME = 64
MINT = b"mint"
"""The account that credits come from; it is below zero by all that was minted."""

_ESCROW = b"escrow:"


def escrow_account(job: JobId) -> bytes:
    """The account that holds what a job has set aside."""
    return _ESCROW + job


class Move(NamedTuple):
    """``amount`` credits go from one account to another."""

    source: bytes
    target: bytes
    amount: int


Moves: TypeAlias = tuple[Move, ...]
