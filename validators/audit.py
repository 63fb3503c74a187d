"""The audit: replay the whole ledger and trust nobody, the tracker least of all.

Every signature, every move, every commitment and every verdict that exact comparison decides is
done again from the entries alone. It knows no more than what the entries say, so two things rest on
the tracker's word: whether numeric results agreed, and which executions it never wrote down.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from validators import policies
from validators.comparators import Finding, exact
from validators.policies import Accept
from workunits import entries
from workunits.entries import MINT, Commits, Escrow, Mint, Move, Refund, Transfer, Verdict
from workunits.errors import AuditError, RemoteError
from workunits.ids import JobId, LeaseToken, PeerKey, UnitId, short
from workunits.manifest import Manifest, SignedManifest
from workunits.merkle import Frontier, leaf_hash
from workunits.results import Result, commitment, seal
from workunits.statements import Cancel, Grant, Pay, Statement
from workunits.verification import Comparison
from workunits.wire import work


@dataclass(slots=True)
class _Job:
    """What the log says of one job so far."""

    manifest: Manifest
    open: bool = True
    decided: set[int] = field(default_factory=set)
    committed: dict[tuple[PeerKey, LeaseToken], tuple[int, bytes, bytes]] = field(
        default_factory=dict
    )
    """Index, commitment and seal by peer and lease; those of decided units are forgotten."""


@dataclass(slots=True)
class Audit:
    """Takes the entries of one log in order; ``operator`` is the only one who may mint."""

    operator: PeerKey
    frontier: Frontier = field(default_factory=Frontier)
    balances: dict[bytes, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    on_trust: int = 0
    """Verdicts over numeric results, which the log alone cannot decide."""

    _jobs: dict[JobId, _Job] = field(default_factory=dict)
    _said: set[bytes] = field(default_factory=set)

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
            entry = entries.parse(raw)
            match entry:
                case Mint():
                    self._mint(entry)
                case Transfer():
                    self._transfer(entry)
                case Escrow():
                    self._escrow(entry)
                case Commits():
                    self._commits(entry)
                case Verdict():
                    self._verdict(entry)
                case Refund():
                    self._refund(entry)
            self._move(entry.moves)
        except AuditError:
            raise
        except RemoteError as error:
            raise self._wrong(error.message) from None
        self.kinds[entry.t] += 1
        self.frontier.append(leaf_hash(raw))

    # -- kinds ------------------------------------------------------------------------------

    def _mint(self, entry: Mint) -> None:
        statement = self._statement(entry.statement)
        claim = statement.claim
        if not isinstance(claim, Grant):
            raise self._wrong("credits are minted without a grant")
        if statement.author != self.operator:
            raise self._wrong(f"{short(statement.author)} is not the operator, and mints")
        self._expect(entry.moves, [Move(MINT, claim.account, claim.amount)])

    def _transfer(self, entry: Transfer) -> None:
        statement = self._statement(entry.statement)
        claim = statement.claim
        if not isinstance(claim, Pay):
            raise self._wrong("credits change hands without their owner's word")
        self._expect(entry.moves, [Move(statement.author, claim.account, claim.amount)])

    def _escrow(self, entry: Escrow) -> None:
        signed = SignedManifest.parse(entry.manifest)
        if signed.id in self._jobs:
            raise self._wrong(f"job {short(signed.id)} was published before")
        manifest = signed.manifest
        account = entries.escrow_account(signed.id)
        self._expect(entry.moves, [Move(manifest.submitter, account, manifest.escrow)])
        self._jobs[signed.id] = _Job(manifest)

    def _commits(self, entry: Commits) -> None:
        self._expect(entry.moves, [])
        job = self._job(entry.job)
        if len(entry.packed) % work.COMMIT_SIZE:
            raise self._wrong("the commitments are cut off")
        batch = work.Commits(entry.job, entry.packed, entry.signature)
        batch.check(entry.peer)
        for each in batch:
            found = (each.index, each.commitment, each.seal)
            job.committed.setdefault((entry.peer, each.token), found)

    def _verdict(self, entry: Verdict) -> None:
        job = self._job(entry.job)
        manifest, unit = job.manifest, UnitId(entry.job, entry.index)
        if entry.index >= manifest.units or entry.index in job.decided:
            raise self._wrong(f"unit {unit} does not exist, or was decided before")
        if len({cast.peer for cast in entry.cast}) < len(entry.cast):
            raise self._wrong(f"one peer counts twice for unit {unit}")
        results = [Result.parse(raw) for raw in entry.results]
        for cast in entry.cast:
            index, committed, sealed = job.committed.pop((cast.peer, cast.token), (-1, b"", b""))
            digest = results[cast.result].digest
            if (index, committed, sealed) != (
                entry.index,
                commitment(unit, digest),
                seal(cast.peer, unit, digest),
            ):
                raise self._wrong(f"{short(cast.peer)} did not commit to its result of {unit}")
        findings = [Finding(results[cast.result]) for cast in entry.cast]
        said = Accept(entry.winners, entry.losers)
        if manifest.comparator.kind is Comparison.EXACT:
            if policies.after_reveal(manifest, findings, exact) != said:
                raise self._wrong(f"the policy decides unit {unit} differently")
        else:
            self.on_trust += 1
            if len(said.winners) != policies.rules(manifest).quorum:
                raise self._wrong(f"unit {unit} has {len(said.winners)} winners")
        source = entries.escrow_account(entry.job)
        self._expect(
            entry.moves,
            [Move(source, entry.cast[at].peer, manifest.price) for at in entry.winners],
        )
        job.decided.add(entry.index)

    def _refund(self, entry: Refund) -> None:
        job = self._job(entry.job)
        if entry.statement:
            statement = self._statement(entry.statement)
            if statement.claim != Cancel(entry.job) or statement.author not in (
                job.manifest.submitter,
                self.operator,
            ):
                raise self._wrong("a job was cancelled by who may not")
        source = entries.escrow_account(entry.job)
        left = self.balances.get(source, 0)
        self._expect(entry.moves, [Move(source, job.manifest.submitter, left)])
        job.open = False
        job.decided.clear()
        job.committed.clear()

    # -- what they share --------------------------------------------------------------------

    def _statement(self, envelope: bytes) -> Statement:
        statement = Statement.parse(envelope)
        if statement.id in self._said:
            raise self._wrong("one statement is carried out twice")
        self._said.add(statement.id)
        return statement

    def _job(self, job: JobId) -> _Job:
        found = self._jobs.get(job)
        if found is None or not found.open:
            raise self._wrong(f"job {short(job)} is not open")
        return found

    def _expect(self, moves: Sequence[Move], wanted: Sequence[Move]) -> None:
        if list(moves) != list(wanted):
            raise self._wrong("other credits are moved than its reason allows")

    def _move(self, moves: Sequence[Move]) -> None:
        for source, target, amount in moves:
            left = self.balances.get(source, 0) - amount
            if left < 0 and source != MINT:
                raise self._wrong(f"account {source.hex()[:12]} pays what it does not have")
            self.balances[source] = left
            self.balances[target] = self.balances.get(target, 0) + amount

    def _wrong(self, why: str) -> AuditError:
        return AuditError(f"entry {self.size}: {why}")
