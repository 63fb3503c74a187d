"""The book: double entry, integers only, every entry chained to the one before.

Each entry moves credits between accounts. Credits come into being only by a signed mint, whose
source account goes below zero, so the sum over all accounts is zero after every entry.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tracker.rows import AccountRow, EntryRow, Row
from workunits import canonical
from workunits.errors import RefusedError
from workunits.ids import JobId, PeerKey, short

MINT = b"mint"
GENESIS = hashlib.sha256(b"openswarm ledger v1\n").digest()
_ESCROW = b"escrow:"


def escrow_account(job: JobId) -> bytes:
    """The account that holds what a job has set aside."""
    return _ESCROW + job


@dataclass(slots=True)
class Account:
    """What an account has, what it was paid for work, what it put into escrow (credits)."""

    balance: int = 0
    earned: int = 0
    spent: int = 0


@dataclass(slots=True)
class Book:
    """All accounts and the head of the chain. Emits a row for everything that it changes."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    entries: int = 0
    head: bytes = GENESIS
    rows: list[Row] = field(default_factory=list)

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

    def mint(self, account: PeerKey, amount: int, statement: bytes) -> None:
        """Make ``amount`` credits, on the word of a signed statement."""
        self._enter("mint", [(MINT, account, amount)], statement=statement)

    def escrow(self, job: JobId, submitter: PeerKey, amount: int) -> None:
        """Set a job's price aside. Raises ``RefusedError`` when the account cannot pay."""
        have = self.balance(submitter)
        if have < amount:
            raise RefusedError(
                f"the job costs {amount:,} credits and account {short(submitter)} has {have:,}",
                hint=f"Ask the operator: swarm tracker grant {submitter.hex()} {amount - have}",
            )
        self._account(submitter).spent += amount
        self._enter("escrow", [(submitter, escrow_account(job), amount)])

    def award(self, job: JobId, index: int, peers: Iterable[PeerKey], price: int) -> None:
        """Pay each of ``peers`` the job's price for one unit."""
        source = escrow_account(job)
        moves = [(source, peer, price) for peer in peers]
        for _, peer, _ in moves:
            self._account(peer).earned += price
        self._enter("award", moves, index=index)

    def refund(self, job: JobId, submitter: PeerKey) -> int:
        """Give back what is left of a job's escrow; returns the amount."""
        source = escrow_account(job)
        left = self.balance(source)
        if left:
            self._account(submitter).spent -= left
            self._enter("refund", [(source, submitter, left)])
        return left

    def take(self) -> list[Row]:
        """The rows of everything that changed since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def _enter(self, kind: str, moves: Sequence[tuple[bytes, bytes, int]], **facts: object) -> None:
        entry = canonical.encode(
            {"moves": moves, "number": self.entries, "previous": self.head, "t": kind} | facts
        )
        touched = []
        for source, target, amount in moves:
            self._account(source).balance -= amount
            self._account(target).balance += amount
            touched += [source, target]
        self.head = hashlib.sha256(entry).digest()
        self.rows.append(EntryRow(self.entries, self.head, entry))
        self.entries += 1
        for name in touched:
            account = self.accounts[name]
            self.rows.append(AccountRow(name, account.balance, account.earned, account.spent))

    def _account(self, name: bytes) -> Account:
        return self.accounts.setdefault(name, Account())
