"""The entries of the ledger: what is written down for ever, and what it rests on.

An entry is the canonical dictionary of its fields, its kind under ``t``, and its moves if it has
any. Its leaf in the log's Merkle tree is the hash of exactly these bytes (``merkle.leaf_hash``).
"""

from typing import TypeAlias

from workunits import canonical
from workunits.canonical import Value
from workunits.errors import MalformedError
from workunits.ledger.credit import MAX_ENTRY, Escrow, Final, Mint, Refund, Transfer
from workunits.ledger.moves import MAX_MOVES, MAX_NAME, MINT, Move, Moves, escrow_account
from workunits.ledger.roster import Anchor, Ban, Doubt, Join, Leave, Restart
from workunits.ledger.work import MAX_CAST, Cast, Commits, Draw, Draws, Failed, Known, Verdict

__all__ = (
    "MAX_CAST",
    "MAX_ENTRY",
    "MINT",
    "Anchor",
    "Ban",
    "Cast",
    "Commits",
    "Doubt",
    "Draw",
    "Draws",
    "Entry",
    "Escrow",
    "Failed",
    "Final",
    "Join",
    "Known",
    "Leave",
    "Mint",
    "Move",
    "Moves",
    "Refund",
    "Restart",
    "Transfer",
    "Verdict",
    "encode",
    "escrow_account",
    "parse",
)

Entry: TypeAlias = (
    Mint
    | Transfer
    | Escrow
    | Commits
    | Draws
    | Verdict
    | Failed
    | Final
    | Known
    | Refund
    | Anchor
    | Join
    | Leave
    | Restart
    | Doubt
    | Ban
)
_KINDS: dict[str, type[Entry]] = {
    kind.t: kind
    for kind in (
        *(Mint, Transfer, Escrow, Final, Refund),
        *(Commits, Draws, Verdict, Failed, Known),
        *(Anchor, Join, Leave, Restart, Doubt, Ban),
    )
}


def encode(entry: Entry) -> bytes:
    """The bytes of an entry."""
    value = entry.value()
    if entry.moves:
        value["moves"] = [tuple(move) for move in entry.moves]
    value["t"] = entry.t
    return canonical.encode(value)


def parse(raw: bytes) -> Entry:
    """Read an entry strictly. Raises ``MalformedError`` or ``LimitError``."""
    fields = canonical.decode_fields(raw, limit=MAX_ENTRY, what="ledger entry")
    kind = fields.text("t", limit=20)
    if kind not in _KINDS:
        raise MalformedError(f"ledger entry: unknown kind {kind!r}")
    moves: Moves = ()
    if fields.has("moves"):
        moves = tuple(_move(item) for item in fields.items("moves", MAX_MOVES))
        if not moves:
            raise MalformedError("ledger entry: no moves are not written down")
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
