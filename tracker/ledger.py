"""The book: double entry, integers only, every entry a leaf of a Merkle tree (RFC 6962).

Each entry moves credits between accounts. Credits come into being only by a signed mint, whose
source account goes below zero, so the sum over all accounts is zero after every entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tracker.rows import AccountRow, BeaconRow, EntryRow, Row
from workunits import entries
from workunits.beacon import LINK_SIZE, Beacon
from workunits.entries import MINT, Cast, Draw, Entry, Move, escrow_account
from workunits.errors import RefusedError
from workunits.ids import NOBODY, JobId, LeaseToken, PeerKey, short
from workunits.ledger.credit import runs
from workunits.ledger.work import MAX_DRAWS
from workunits.manifest import SignedManifest
from workunits.merkle import Tree, leaf_hash
from workunits.statements import Statement
from workunits.wire.handshake import Offerings, Vouch
from workunits.wire.work import Commits


@dataclass(slots=True)
class Account:
    """What an account has, what it was paid for work, what it put into escrow (credits)."""

    balance: int = 0
    earned: int = 0
    spent: int = 0


class Entered(NamedTuple):
    """Where commitments stand in the log, and the link that their lots follow from."""

    number: int
    link: bytes


@dataclass(slots=True)
class _Draws:
    """Draws that are not written down yet: they share a link until anything else is entered."""

    job: JobId
    link: bytes
    drawn: list[Draw] = field(default_factory=list)


@dataclass(slots=True)
class Book:
    """All accounts and the log's tree. Emits a row for everything that it changes.

    ``operator`` alone mints, and its validators are referees. The ``beacon`` makes public chance.
    """

    operator: PeerKey = NOBODY
    beacon: Beacon = field(default_factory=lambda: Beacon(bytes(LINK_SIZE)))
    accounts: dict[bytes, Account] = field(default_factory=dict)
    tree: Tree = field(default_factory=Tree)
    restarted: bool = False
    """Whether the log still has peers on its roster that a tracker before this one left there."""

    rows: list[Row] = field(default_factory=list)
    _head: tuple[int, bytes] = (-1, b"")
    _draws: _Draws | None = None
    _spare: bytes = b""

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

    def has_earned(self, account: bytes) -> bool:
        """Whether an account was ever paid for work."""
        found = self.accounts.get(account)
        return found is not None and found.earned > 0

    def has_spent(self, account: bytes) -> bool:
        """Whether an account ever had a job done."""
        found = self.accounts.get(account)
        return found is not None and found.spent > 0

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

    # -- credit -----------------------------------------------------------------------------

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
                hint=f"Pay at most {have:,}."
                if have
                else "Earn credits with `swarm volunteer`, or ask the operator: "
                f"swarm tracker grant {source.hex()} AMOUNT",
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

    def final(self, job: JobId, indices: Iterable[int], paid: Mapping[PeerKey, int]) -> None:
        """Make the verdicts of units (sorted) final, and pay what each peer earned by them."""
        source = escrow_account(job)
        for peer, amount in paid.items():
            self._account(peer).earned += amount
        moves = tuple(Move(source, peer, amount) for peer, amount in paid.items())
        self._enter(entries.Final(moves, job, runs(indices)))

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

    # -- work -------------------------------------------------------------------------------

    def commits(self, peer: PeerKey, batch: Commits, void: tuple[int, ...] = ()) -> Entered:
        """Write down what a peer committed to, as it signed it.

        ``void`` are the places in the batch that count for nothing.
        """
        self._write_draws()
        link, number = self._link(), self.tree.size
        packed, signature = batch.packed, batch.signature
        self._enter(entries.Commits((), batch.job, peer, packed, signature, link, void))
        self._used()
        return Entered(number, link)

    def draw_link(self, job: JobId) -> bytes:
        """The link for draws of a job, until anything else happens."""
        draws = self._draws
        if draws is None or draws.job != job or len(draws.drawn) >= MAX_DRAWS:
            self._write_draws()
            draws = self._draws = _Draws(job, self._link())
        return draws.link

    def drawn(self, draw: Draw) -> None:
        """Write down a draw that was made with ``draw_link``."""
        assert self._draws is not None
        self._draws.drawn.append(draw)

    def verdict(
        self,
        job: JobId,
        index: int,
        cast: Sequence[tuple[PeerKey, LeaseToken, bytes]],
        right: tuple[int, ...],
        wrong: tuple[int, ...],
        paid: Mapping[PeerKey, int],
        *,
        silent: tuple[LeaseToken, ...] = (),
        known: bool = False,
    ) -> None:
        """Decide a unit; ``cast`` is (peer, lease, result), ``paid`` is who is paid at once."""
        source = escrow_account(job)
        for peer, amount in paid.items():
            self._account(peer).earned += amount
        moves = tuple(Move(source, peer, amount) for peer, amount in paid.items())
        results = tuple(dict.fromkeys(result for _, _, result in cast))
        self._enter(
            entries.Verdict(
                moves,
                job,
                index,
                tuple(Cast(peer, token, results.index(result)) for peer, token, result in cast),
                results,
                right,
                wrong,
                silent,
                known,
            )
        )

    def failed(self, job: JobId, index: int, reason: str) -> None:
        """A unit ends without a result."""
        self._enter(entries.Failed((), job, index, reason))

    def known(self, job: JobId, ringers: bytes) -> None:
        """Show the answers that a submitter knew."""
        self._enter(entries.Known((), job, ringers))

    # -- roster -----------------------------------------------------------------------------

    def join(
        self, peer: PeerKey, owner: PeerKey, vouch: Vouch | None, offerings: Offerings
    ) -> None:
        """A peer connected."""
        if self.restarted:
            self.restarted = False
            self._enter(entries.Restart(()))
        if not self.beacon.used:
            self._used()
        signature = vouch.signature if vouch else b""
        self._enter(entries.Join((), peer, owner, signature, offerings))

    def leave(self, peer: PeerKey) -> None:
        """A peer is gone."""
        self._enter(entries.Leave((), peer))

    def doubt(self, peer: PeerKey, *, doubted: bool) -> None:
        """A peer is drawn last from now on, or as others again."""
        self._enter(entries.Doubt((), peer, doubted))

    def ban(self, peer: PeerKey) -> None:
        """A peer gets no more work."""
        self._enter(entries.Ban((), peer))

    # -- rows -------------------------------------------------------------------------------

    def take(self) -> list[Row]:
        """The rows of everything that changed since the last call."""
        self._write_draws()
        rows, self.rows = self.rows, []
        return rows

    def _link(self) -> bytes:
        if self._spare:
            link, self._spare = self._spare, b""
            return link
        return self.beacon.show()

    def _write_draws(self) -> None:
        draws, self._draws = self._draws, None
        if draws is None:
            return
        if draws.drawn:
            self._enter(entries.Draws((), draws.job, draws.link, tuple(draws.drawn)))
            self._used()
        else:
            self._spare = draws.link

    def _used(self) -> None:
        """A link was written down; with the last of a chain the next one is anchored, before
        anybody commits to what it will decide."""
        if self.beacon.is_spent:
            self._enter(entries.Anchor((), self.beacon.show()))
        self.rows.append(BeaconRow(0, self.beacon.used))

    def _enter(self, entry: Entry) -> None:
        if self._draws is not None:
            self._write_draws()
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
