"""The book: double entry, integers only, every entry a leaf of a Merkle tree (RFC 6962).

Each entry moves credits between accounts. Credits come into being only by a signed mint, whose
source account goes below zero, so the sum over all accounts is zero after every entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tracker.rows import AccountRow, EntryRow, Row
from workunits import entries
from workunits.entries import MINT, Cast, Entry, Move, escrow_account
from workunits.errors import RefusedError
from workunits.ids import JobId, LeaseToken, PeerKey, short
from workunits.manifest import SignedManifest
from workunits.merkle import Tree, leaf_hash
from workunits.statements import Statement
from workunits.wire.work import Commits


@dataclass(slots=True)
class Account:
    """What an account has, what it was paid for work, what it put into escrow (credits)."""

    balance: int = 0
    earned: int = 0
    spent: int = 0


@dataclass(slots=True)
class Book:
    """All accounts and the log's tree. Emits a row for everything that it changes."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    tree: Tree = field(default_factory=Tree)
    rows: list[Row] = field(default_factory=list)
    _head: tuple[int, bytes] = (-1, b"")

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return self.tree.size

    @property
    def head(self) -> bytes:
        """The root over all entries."""
        if self._head[0] != self.tree.size:
            self._head = self.tree.size, self.tree.root()
        return self._head[1]

    def balance(self, account: bytes) -> int:
        """Credits on ``account``; an unknown account has none."""
        found = self.accounts.get(account)
        return found.balance if found else 0

    def escrowed(self, job: JobId) -> int:
        """Credits that a job still has set aside."""
        return self.balance(escrow_account(job))

    @property
    def minted(self) -> int:
        """All credits that ever came into being."""
        return -self.balance(MINT)

    def total(self) -> int:
        """The sum over all accounts, which is always zero."""
        return sum(account.balance for account in self.accounts.values())

    def mint(self, account: PeerKey, amount: int, statement: Statement) -> None:
        """Make ``amount`` credits, on the operator's word."""
        self._enter(entries.Mint((Move(MINT, account, amount),), statement.encode()))

    def transfer(self, target: PeerKey, amount: int, statement: Statement) -> None:
        """Pay ``target`` from the statement's author. Raises ``RefusedError`` without cover."""
        source = statement.author
        have = self.balance(source)
        if have < amount:
            raise RefusedError(
                f"account {short(source)} has {have:,} credits, and {amount:,} are to be paid",
                hint=f"Pay at most {have:,}.",
            )
        self._enter(entries.Transfer((Move(source, target, amount),), statement.encode()))

    def escrow(self, job: SignedManifest) -> None:
        """Set a job's price aside. Raises ``RefusedError`` when the account cannot pay."""
        submitter, amount = job.manifest.submitter, job.manifest.escrow
        have = self.balance(submitter)
        if have < amount:
            raise RefusedError(
                f"the job costs {amount:,} credits and account {short(submitter)} has {have:,}",
                hint=f"Ask the operator: swarm tracker grant {submitter.hex()} {amount - have}",
            )
        self._account(submitter).spent += amount
        move = Move(submitter, escrow_account(job.id), amount)
        self._enter(entries.Escrow((move,), job.encode()))

    def commits(self, peer: PeerKey, batch: Commits) -> None:
        """Write down what a peer committed to, as it signed it."""
        self._enter(entries.Commits((), batch.job, peer, batch.packed, batch.signature))

    def verdict(
        self,
        job: JobId,
        index: int,
        cast: Sequence[tuple[PeerKey, LeaseToken, bytes]],
        winners: tuple[int, ...],
        losers: tuple[int, ...],
        price: int,
    ) -> None:
        """Pay the peers at ``winners`` of ``cast`` (peer, lease, result) the price of one unit."""
        source = escrow_account(job)
        moves = tuple(Move(source, cast[at][0], price) for at in winners)
        for move in moves:
            self._account(move.target).earned += price
        results = tuple(dict.fromkeys(result for _, _, result in cast))
        self._enter(
            entries.Verdict(
                moves,
                job,
                index,
                tuple(Cast(peer, token, results.index(result)) for peer, token, result in cast),
                results,
                winners,
                losers,
            )
        )

    def refund(self, job: JobId, submitter: PeerKey, statement: Statement | None = None) -> int:
        """Give back what is left of a job's escrow; returns the amount.

        ``statement`` is that of whoever cancelled it.
        """
        source = escrow_account(job)
        left = self.balance(source)
        self._account(submitter).spent -= left
        reason = statement.encode() if statement else b""
        self._enter(entries.Refund((Move(source, submitter, left),), job, reason))
        return left

    def take(self) -> list[Row]:
        """The rows of everything that changed since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def _enter(self, entry: Entry) -> None:
        raw, number = entries.encode(entry), self.tree.size
        leaf = leaf_hash(raw)
        self.tree.append(leaf)
        self.rows.append(EntryRow(number, leaf, raw))
        touched: dict[bytes, Account] = {}
        for source, target, amount in entry.moves:
            touched[source] = self._account(source)
            touched[target] = self._account(target)
            touched[source].balance -= amount
            touched[target].balance += amount
        for name, account in touched.items():
            self.rows.append(AccountRow(name, account.balance, account.earned, account.spent))

    def _account(self, name: bytes) -> Account:
        return self.accounts.setdefault(name, Account())
