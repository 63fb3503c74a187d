"""A query: what somebody asks a model and waits for. In memory only; no row ever has it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from workunits.ids import LeaseToken, PeerKey, UnitId
from workunits.models.answer import Answer, Finish
from workunits.models.request import Request
from workunits.wire.models import Likely, Tokens

LASTING = {
    "memory": "the model needs more memory than it may have",
    "model": "the model's file is not sound",
}
"""Reasons to give a request back that are no better a minute later, and what to say of them."""


@dataclass(frozen=True, slots=True)
class Unanswerable:
    """Why a request fails that nobody who is there can answer: it would end no better if it were
    asked once more at once. ``why`` is what such peers said; empty where they said nothing."""

    why: str = ""

    @classmethod
    def of(cls, reasons: Iterable[str]) -> Self:
        """The same, given some of ``LASTING``."""
        return cls(" or ".join(LASTING[reason] for reason in sorted(set(reasons))))

    def __str__(self) -> str:
        said = "no peer is there that could answer"
        return f"{said}: {self.why}" if self.why else said


Cause: TypeAlias = str | Unanswerable
"""Why there is no verdict; a text is for the log and says nothing of the request."""


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
    """One request's ears. No method raises or blocks. Either ``settled`` or ``failed`` is called,
    once, and nothing after it."""

    def tokens(self, ids: tuple[int, ...], likely: tuple[tuple[Likely, ...], ...]) -> None:
        """Tokens that are not verified yet, in order and without gaps, as they come."""

    def spoke(self, finish: Finish) -> None:
        """The leading execution ended."""

    def settled(self, ruling: Ruling) -> None:
        """The verdict, when it is on disk."""

    def failed(self, cause: Cause) -> None:
        """There is no verdict and will be none; that is on disk."""


@dataclass(slots=True, eq=False)
class Query:
    """A request, who listens, and what was told.

    ``units`` are where it is and was asked, the last one now. ``reserve`` is the most that it can
    cost (credits). ``since`` is when it began to wait for a peer, ``leases`` how many it had.
    ``leader`` is the execution whose tokens are told, ``told`` what was. ``astray`` is whether
    another one gave other tokens than were told: then no more are. ``halt`` is after how many
    tokens the answer may end, 0 if not. ``dismissed`` is whether nobody listens to tokens any more.
    ``refused`` are peers that gave it back for a lasting reason, and that.
    """

    request: Request
    listener: Listener
    stream: bool
    top: int
    urgent: bool
    reserve: int
    units: list[UnitId] = field(default_factory=list)
    since: float = 0.0
    leases: int = 0
    leader: LeaseToken | None = None
    told: list[int] = field(default_factory=list)
    spoken: bool = False
    astray: bool = False
    halt: int = 0
    dismissed: bool = False
    refused: dict[PeerKey, str] = field(default_factory=dict)
    over: bool = False

    def tell(self, tokens: Tokens) -> None:
        """The leader said ``tokens``: tell what is new of them."""
        start, ids, told = tokens.start, tokens.ids, self.told
        known = max(0, len(told) - start)
        if tuple(told[start : start + len(ids)]) != ids[:known]:
            self.astray = True
        if tokens.finish and start + len(ids) < len(told):
            self.astray = True
        if self.astray:
            return
        fresh = ids[known:]
        if fresh:
            told += fresh
            if not self.dismissed:
                self.listener.tokens(fresh, tokens.likely[known:])
        if tokens.finish and not self.spoken:
            self.spoken = True
            if not self.dismissed:
                self.listener.spoke(tokens.finish)
