"""Asking: units that somebody waits for, and what is told to who asked."""

from dataclasses import dataclass
from typing import Protocol

from workunits.ids import PeerKey, UnitId
from workunits.models.answer import Answer, Finish
from workunits.wire.models import Likely


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict on an answer: who made it and who agreed, the number of the ledger entry that
    says so, and what was paid for it in all (credits)."""

    answer: Answer
    worker: PeerKey
    validators: tuple[PeerKey, ...]
    entry: int
    unit: UnitId
    cost: int


class Listener(Protocol):
    """One request's ears. No method raises or blocks."""

    def tokens(self, ids: tuple[int, ...], likely: tuple[tuple[Likely, ...], ...]) -> None:
        """Tokens that are not verified yet, in order and without gaps, as they come."""

    def spoke(self, finish: Finish) -> None:
        """The leading execution ended."""

    def settled(self, ruling: Ruling) -> None:
        """The verdict, when it is on disk. Nothing follows."""

    def failed(self, reason: str) -> None:
        """There is no verdict and will be none; that is on disk. Nothing follows."""
