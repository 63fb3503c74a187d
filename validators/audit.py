"""The audit: replay the whole ledger and trust nobody, the tracker least of all.

Every signature, move, commitment, lot and draw, and every verdict that exact comparison decides, is
done again from the entries alone. A tracker may check more than a policy demands, never less. What
rests on its word: whether results agreed that only their contents can tell (``on_trust``), that a
result did not come, a lease was over or a unit failed, who is doubted or gone, whose strikes have
faded, and who had a first lease.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from validators.case import Case
from validators.electorate import Electorate, Member
from validators.record import Record
from validators.reputation import STRIKES
from workunits import beacon, entries
from workunits.entries import (
    MINT,
    Anchor,
    Ban,
    Commits,
    Doubt,
    Draws,
    Entry,
    Escrow,
    Failed,
    Final,
    Join,
    Known,
    Leave,
    Mint,
    Move,
    Refund,
    Restart,
    Transfer,
    Verdict,
)
from workunits.errors import AuditError, RemoteError
from workunits.ids import JobId, PeerKey, short
from workunits.manifest import SignedManifest
from workunits.merkle import Frontier, leaf_hash
from workunits.ringers import Ringers
from workunits.statements import Cancel, Grant, OpenKey, Pay, Statement


@dataclass(slots=True)
class Audit:
    """Takes the entries of one log in order; ``operator`` is the only one who may mint."""

    operator: PeerKey
    frontier: Frontier = field(default_factory=Frontier)
    balances: dict[bytes, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    on_trust: int = 0
    """Verdicts over results that the log alone cannot compare."""

    record: Record = field(default_factory=Record)
    _electorate: Electorate = field(init=False)
    _cases: dict[JobId, Case] = field(default_factory=dict)
    _over: set[JobId] = field(default_factory=set)
    _said: set[bytes] = field(default_factory=set)
    _link: bytes = b""
    _links: int = 0
    _readers: dict[str, Callable[..., Sequence[Move]]] = field(init=False)

    def __post_init__(self) -> None:
        self._electorate = Electorate(self.operator)
        self._readers = {
            Mint.t: self._mint,
            Transfer.t: self._transfer,
            Escrow.t: self._escrow,
            Commits.t: self._commits,
            Draws.t: self._draws,
            Verdict.t: self._verdict,
            Failed.t: self._failed,
            Final.t: self._final,
            Known.t: self._known,
            Refund.t: self._refund,
            Anchor.t: self._anchor,
            Join.t: self._join,
            Leave.t: self._leave,
            Restart.t: self._restart,
            Doubt.t: self._doubt,
            Ban.t: self._ban,
        }

    @property
    def size(self) -> int:
        """How many entries were taken."""
        return self.frontier.size

    @property
    def root(self) -> bytes:
        """The root of the log's tree over them."""
        return self.frontier.root()

    @property
    def minted(self) -> int:
        """All credits that ever came into being."""
        return -self.balances.get(MINT, 0)

    def take(self, raw: bytes) -> None:
        """Check the next entry. Raises ``AuditError``, which names it; nothing may follow then."""
        try:
            entry: Entry = entries.parse(raw)
            if self._links == beacon.LINKS and not isinstance(entry, Anchor):
                raise AuditError("the beacon's chain is used up, and no new one begins")
            wanted = self._readers[entry.t](entry)
            if list(entry.moves) != list(wanted):
                raise AuditError("other credits are moved than its reason allows")
            self._move(entry.moves)
        except RemoteError as error:
            raise AuditError(f"entry {self.size}: {error.message}") from None
        self.kinds[entry.t] += 1
        self.frontier.append(leaf_hash(raw))

    # -- credit -----------------------------------------------------------------------------

    def _mint(self, entry: Mint) -> Sequence[Move]:
        statement = self._statement(entry.statement)
        claim = statement.claim
        if not isinstance(claim, Grant):
            raise AuditError("credits are minted without a grant")
        if statement.author != self.operator:
            raise AuditError(f"{short(statement.author)} is not the operator, and mints")
        return [Move(MINT, claim.account, claim.amount)]

    def _transfer(self, entry: Transfer) -> Sequence[Move]:
        statement = self._statement(entry.statement)
        claim = statement.claim
        if isinstance(claim, OpenKey):
            return [Move(statement.author, self.operator, claim.amount)]
        if not isinstance(claim, Pay):
            raise AuditError("credits change hands without their owner's word")
        return [Move(statement.author, claim.account, claim.amount)]

    def _escrow(self, entry: Escrow) -> Sequence[Move]:
        signed = SignedManifest.parse(entry.manifest)
        if signed.id in self._cases or signed.id in self._over:
            raise AuditError(f"job {short(signed.id)} was published before")
        manifest = signed.manifest
        self._cases[signed.id] = Case(signed.id, manifest, self._electorate, self.record)
        return [Move(manifest.submitter, entries.escrow_account(signed.id), manifest.escrow)]

    def _refund(self, entry: Refund) -> Sequence[Move]:
        case = self._case(entry.job)
        if entry.statement:
            statement = self._statement(entry.statement)
            if statement.claim != Cancel(entry.job) or statement.author not in (
                case.manifest.submitter,
                self.operator,
            ):
                raise AuditError("a job was cancelled by who may not")
        case.close(cancelled=bool(entry.statement))
        del self._cases[entry.job]
        self._over.add(entry.job)
        source = entries.escrow_account(entry.job)
        return [Move(source, case.manifest.submitter, self.balances.get(source, 0))]

    # -- work -------------------------------------------------------------------------------

    def _commits(self, entry: Commits) -> Sequence[Move]:
        self._follow(entry.link)
        self._case(entry.job).commits(entry)
        return ()

    def _draws(self, entry: Draws) -> Sequence[Move]:
        self._follow(entry.link)
        self._case(entry.job).draws(entry)
        return ()

    def _verdict(self, entry: Verdict) -> Sequence[Move]:
        case = self._case(entry.job)
        ruling = case.verdict(entry)
        self.on_trust += not ruling.shown
        if ruling.cheats:
            self._reopen(ruling.cheats, case.manifest.submitter if ruling.private else None)
        return case.paid(entry)

    def _failed(self, entry: Failed) -> Sequence[Move]:
        self._case(entry.job).failed(entry.index)
        return ()

    def _final(self, entry: Final) -> Sequence[Move]:
        return self._case(entry.job).finish(entry)

    def _known(self, entry: Known) -> Sequence[Move]:
        self._case(entry.job).known(Ringers.parse(entry.ringers))
        return ()

    # -- roster -----------------------------------------------------------------------------

    def _anchor(self, entry: Anchor) -> Sequence[Move]:
        if self._link and self._links < beacon.LINKS:
            raise AuditError("a new chain of the beacon begins before the last one was used up")
        self._link, self._links = entry.link, 0
        return ()

    def _join(self, entry: Join) -> Sequence[Move]:
        if not self._link:
            raise AuditError("a peer joins before the beacon has an anchor")
        if entry.peer in self.record.banned:
            raise AuditError(f"{short(entry.peer)} is banned, and joins")
        self._electorate.join(Member.of(entry.peer, entry.owner, entry.offerings))
        return ()

    def _leave(self, entry: Leave) -> Sequence[Move]:
        self._electorate.leave(entry.peer)
        return ()

    def _restart(self, _: Restart) -> Sequence[Move]:
        for peer in self._electorate.present():
            self._electorate.leave(peer)
        return ()

    def _doubt(self, entry: Doubt) -> Sequence[Move]:
        if entry.doubted:
            self._electorate.doubted.add(entry.peer)
        else:
            self._electorate.doubted.discard(entry.peer)
        return ()

    def _ban(self, entry: Ban) -> Sequence[Move]:
        if self.record.strikes[entry.peer] < STRIKES:
            raise AuditError(f"{short(entry.peer)} is banned and was not proven wrong often enough")
        self.record.banned.add(entry.peer)
        self._electorate.leave(entry.peer)
        return ()

    # -- what they share --------------------------------------------------------------------

    def _reopen(self, cheats: Sequence[PeerKey], submitter: PeerKey | None) -> None:
        units = {unit for peer in cheats for unit in self.record.held.get(peer, ())}
        for unit in units:
            case = self._cases[unit.job]
            if submitter in (None, case.manifest.submitter):
                case.reopen(unit.index, cheats)

    def _follow(self, link: bytes) -> None:
        if not beacon.follows(link, self._link):
            raise AuditError("the link of the beacon does not follow from the last one")
        self._link = link
        self._links += 1

    def _statement(self, envelope: bytes) -> Statement:
        statement = Statement.parse(envelope)
        if statement.id in self._said:
            raise AuditError("one statement is carried out twice")
        self._said.add(statement.id)
        return statement

    def _case(self, job: JobId) -> Case:
        found = self._cases.get(job)
        if found is None:
            raise AuditError(f"job {short(job)} is not open")
        return found

    def _move(self, moves: Sequence[Move]) -> None:
        for source, target, amount in moves:
            left = self.balances.get(source, 0) - amount
            if left < 0 and source != MINT:
                raise AuditError(f"account {source.hex()[:12]} pays what it does not have")
            self.balances[source] = left
            self.balances[target] = self.balances.get(target, 0) + amount
