"""The entries of the ledger: what is written down for ever, and what it rests on.

An entry is the canonical dictionary of its fields, its kind under ``t``, and its moves. Its leaf in
the log's Merkle tree is the hash of exactly these bytes (``merkle.leaf_hash``).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

from workunits import canonical
from workunits.canonical import Fields, Value
from workunits.errors import MalformedError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.manifest import MAX_MANIFEST
from workunits.results import MAX_RESULT
from workunits.statements import MAX_STATEMENT

MAX_ENTRY = MAX_MANIFEST + 4096
MAX_CAST = 64
"""Executions that one verdict may be about."""

MAX_MOVES = MAX_CAST
MAX_PACKED = 1 << 17
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


@dataclass(frozen=True, slots=True)
class Mint:
    """Credits come into being, on the operator's signed statement."""

    t: ClassVar[str] = "mint"
    moves: Moves
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Mint":
        return cls(moves, fields.octets("statement", limit=MAX_STATEMENT))


@dataclass(frozen=True, slots=True)
class Transfer:
    """One account pays another, on its own signed statement."""

    t: ClassVar[str] = "transfer"
    moves: Moves
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Transfer":
        return cls(moves, fields.octets("statement", limit=MAX_STATEMENT))


@dataclass(frozen=True, slots=True)
class Escrow:
    """A job was published: the signed manifest, and the credits that it sets aside."""

    t: ClassVar[str] = "escrow"
    moves: Moves
    manifest: bytes

    def value(self) -> dict[str, object]:
        return {"manifest": self.manifest}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Escrow":
        return cls(moves, fields.octets("manifest", limit=MAX_ENTRY))


@dataclass(frozen=True, slots=True)
class Commits:
    """A batch of commitments as its peer signed it (``wire.work.Commits``)."""

    t: ClassVar[str] = "commits"
    moves: Moves
    job: JobId
    peer: PeerKey
    packed: bytes
    signature: bytes

    def value(self) -> dict[str, object]:
        return {
            "commits": self.packed,
            "job": self.job,
            "peer": self.peer,
            "signature": self.signature,
        }

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Commits":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            PeerKey(fields.octets("peer", length=32)),
            fields.octets("commits", limit=MAX_PACKED),
            fields.octets("signature", length=64),
        )


@dataclass(frozen=True, slots=True)
class Cast:
    """One execution in a verdict; ``result`` is a position among the verdict's results."""

    peer: PeerKey
    token: LeaseToken
    result: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A unit was decided: who gave which result, who was right and is paid, who was wrong.

    ``winners`` and ``losers`` are positions in ``cast``, which is in the order of the commits.
    """

    t: ClassVar[str] = "verdict"
    moves: Moves
    job: JobId
    index: int
    cast: tuple[Cast, ...]
    results: tuple[bytes, ...]
    winners: tuple[int, ...]
    losers: tuple[int, ...]

    def value(self) -> dict[str, object]:
        return {
            "cast": [[each.peer, each.token, each.result] for each in self.cast],
            "index": self.index,
            "job": self.job,
            "losers": self.losers,
            "results": self.results,
            "winners": self.winners,
        }

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Verdict":
        results = fields.blocks("results", MAX_CAST, MAX_RESULT)
        cast = tuple(_cast(item, len(results)) for item in fields.items("cast", MAX_CAST))
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.integer("index"),
            cast,
            results,
            _places(fields.items("winners", MAX_CAST), len(cast)),
            _places(fields.items("losers", MAX_CAST), len(cast)),
        )


@dataclass(frozen=True, slots=True)
class Refund:
    """A job is over; what is left of its escrow goes back. ``statement`` is that of a cancel."""

    t: ClassVar[str] = "refund"
    moves: Moves
    job: JobId
    statement: bytes

    def value(self) -> dict[str, object]:
        return {"job": self.job, "statement": self.statement}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Refund":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.octets("statement", limit=MAX_STATEMENT),
        )


Entry: TypeAlias = Mint | Transfer | Escrow | Commits | Verdict | Refund
_KINDS: dict[str, type[Entry]] = {
    kind.t: kind for kind in (Mint, Transfer, Escrow, Commits, Verdict, Refund)
}


def encode(entry: Entry) -> bytes:
    """The bytes of an entry."""
    return canonical.encode(
        {"moves": [tuple(move) for move in entry.moves], "t": entry.t} | entry.value()
    )


def parse(raw: bytes) -> Entry:
    """Read an entry strictly. Raises ``MalformedError`` or ``LimitError``."""
    fields = canonical.decode_fields(raw, limit=MAX_ENTRY, what="ledger entry")
    kind = fields.text("t", limit=20)
    if kind not in _KINDS:
        raise MalformedError(f"ledger entry: unknown kind {kind!r}")
    moves = tuple(_move(item) for item in fields.items("moves", MAX_MOVES))
    entry = _KINDS[kind].read(moves, fields)
    fields.end()
    return entry


def _move(item: Value) -> Move:
    match item:
        case [bytes(source), bytes(target), int(amount)] if (
            len(source) <= MAX_NAME and len(target) <= MAX_NAME and amount >= 0
        ):
            return Move(source, target, amount)
    raise MalformedError("ledger entry: a move is two accounts and an amount")


def _cast(item: Value, results: int) -> Cast:
    match item:
        case [bytes(peer), int(token), int(result)] if (
            len(peer) == 32 and token >= 0 and 0 <= result < results
        ):
            return Cast(PeerKey(peer), LeaseToken(token), result)
    raise MalformedError("ledger entry: an execution is a peer, a token and a result")


def _places(items: list[Value], count: int) -> tuple[int, ...]:
    places = tuple(item for item in items if isinstance(item, int) and 0 <= item < count)
    if len(places) != len(items) or list(places) != sorted(set(places)):
        raise MalformedError("ledger entry: executions are named by place, in order, each once")
    return places
