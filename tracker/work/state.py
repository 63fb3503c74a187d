"""What the desk knows: jobs, units, executions, peers. In memory, rebuilt from rows at start."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from tracker.rows import ExecutionRow, JobRow, PeerRow, ScoreRow, UnitRow
from tracker.work.claims import Claim
from tracker.work.fresh import Fresh
from tracker.work.larder import Cargo, Larder
from tracker.work.query import Query
from tracker.work.table import Act, Doing, Stage, Turn, next_doing, next_stage
from validators import policies
from validators.comparators import Agree, Finding, comparator
from validators.policies import By, Demand
from validators.reputation import Score, kind_of, trust_of
from validators.settings import Settings, settings_of
from workunits.ids import NOBODY, Digest, JobId, LeaseToken, PeerKey, UnitId
from workunits.manifest import Manifest, SignedManifest
from workunits.results import commitment
from workunits.ringers import Ringers
from workunits.verification import Comparison
from workunits.wire.handshake import Offerings

MAX_IN_FLIGHT = 50_000
"""Units of one job that may be between first lease and verdict: bounds the desk's memory."""

MAX_BURDEN = 1 << 20
"""Tokens of prompts and claims, beyond which a peer is sent no more of them before it commits; half
of what a volunteer takes."""

MAX_SEARCH = 16
"""Given-up units that are looked at before a fresh one is handed out."""


Cost: TypeAlias = Callable[[int], int | None]
"""Bytes that a peer has to fetch for one unit alone; None when they do not fit."""


class JobState(StrEnum):
    """State of a job."""

    ACTIVE = "active"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Peer:
    """A volunteer or validator, connected or not.

    ``larder`` is what it holds, while connected;
    ``hold`` is the most uncommitted leases that it wants, ``leased`` how many it has, ``seats`` how
    many of these somebody waits for, ``burden`` the tokens that it was sent with them; ``checks``
    are the units that it was drawn to recompute and has not been leased yet; ``held`` its accepted
    results that are not final. ``alone`` counts its results in units that failed because no two
    agreed, ``late`` leases that it let run out. ``scores`` are verified executions by kind of work,
    ``struck`` results that a submitter's own referees or known answers proved wrong, by submitter.
    """

    key: PeerKey
    owner: PeerKey
    offerings: Offerings | None = None
    larder: Larder | None = None
    connected: bool = False
    session: int = 0
    hold: int = 0
    leased: int = 0
    seats: int = 0
    burden: int = 0
    right: int = 0
    wrong: int = 0
    withheld: int = 0
    alone: int = 0
    late: int = 0
    banned: bool = False
    scores: dict[bytes, Score] = field(default_factory=dict)
    strikes: Score = field(default_factory=Score)
    struck: dict[PeerKey, int] = field(default_factory=dict)
    held: "dict[Execution, None]" = field(default_factory=dict)
    live: dict[LeaseToken, "Execution"] = field(default_factory=dict)
    checks: "deque[Unit]" = field(default_factory=deque)
    jobs: set[JobId] = field(default_factory=set)

    @property
    def hungry(self) -> bool:
        """Whether it wants more leases now."""
        if not self.connected or self.banned or self.burden > MAX_BURDEN:
            return False
        return self.leased < (min(self.hold, 1) if self.doubtful else self.hold)

    @property
    def validator(self) -> bool:
        """Whether it computes only what it was drawn to check."""
        return self.offerings is not None and self.offerings.validator

    @property
    def doubtful(self) -> bool:
        """Whether others come before it."""
        return policies.is_doubtful(self.right, self.withheld + self.alone + self.late)

    def is_proven(self, job: "Job", wall: float) -> bool:
        """Whether it is past probation in a job's kind of work, for its submitter."""
        if self.struck.get(job.manifest.submitter):
            return False
        return self.verified(job.trust, job.settings.probation, wall)

    def verified(self, kind: bytes, count: int, wall: float) -> bool:
        """Whether ``count`` executions of a kind of work were verified, and not long ago."""
        score = self.scores.get(kind)
        return count == 0 or (score is not None and score.reaches(count, wall))

    def can_run(self, manifest: Manifest) -> bool:
        """Whether it has the memory and the disk for a job and the image or a way to it, and takes
        its kind."""
        offers = self.offerings
        if offers is None or manifest.limits.memory_bytes > offers.memory_bytes:
            return False
        if manifest.program.model and not offers.models:
            return False
        needed = manifest.common_bytes
        if manifest.program.image not in offers.images:
            if manifest.shared is None:
                return False
            needed += manifest.image_bytes
        return needed <= offers.disk_bytes

    def row(self) -> PeerRow:
        """The row that keeps its standing."""
        return PeerRow(
            self.key,
            self.owner,
            int(self.validator),
            self.right,
            self.wrong,
            self.withheld,
            self.alone,
            self.late,
            int(self.banned),
        )

    def score_row(self, kind: bytes) -> ScoreRow:
        """The row that keeps its verified work of a kind."""
        score = self.scores[kind]
        return ScoreRow(self.key, "kind", kind, score.amount, score.at)

    def strike_rows(self) -> list[ScoreRow]:
        """The rows that keep all strikes against it."""
        rows = [ScoreRow(self.key, "strikes", b"", self.strikes.amount, self.strikes.at)]
        return rows + [
            ScoreRow(self.key, "struck", by, float(count), 0.0) for by, count in self.struck.items()
        ]


@dataclass(slots=True, eq=False)
class Execution:
    """One peer's attempt at one unit, under one lease.

    When it was committed: ``lot`` came with it, ``proven`` is whether its peer was past probation,
    ``referee`` whether it was a referee's, ``platform`` what it ran on, ``entry`` the number of the
    ledger entry that has it. ``claim`` is what it says of a model's answer.
    """

    token: LeaseToken
    unit: "Unit"
    peer: Peer
    doing: Doing = Doing.LEASED
    commitment: bytes = b""
    seal: bytes = b""
    lot: int = 0
    proven: bool = False
    referee: bool = False
    platform: str = ""
    entry: int = 0
    finding: Finding | None = None
    claim: Claim | None = None

    def act(self, act: Act) -> None:
        """Move along the table."""
        self.doing = next_doing(self.doing, act)

    def row(self) -> ExecutionRow:
        """The row that keeps it; a result is kept until the verdict."""
        result = b""
        if self.finding and self.doing is Doing.REVEALED:
            result = self.finding.result.encode()
        return ExecutionRow(
            self.token,
            self.unit.job.id,
            self.unit.index,
            self.peer.key,
            self.peer.owner,
            self.doing.value,
            self.commitment,
            self.seal,
            self.lot,
            int(self.proven),
            int(self.referee),
            self.platform,
            self.entry,
            result,
        )


@dataclass(slots=True, eq=False)
class Unit:
    """A unit that is being worked on.

    ``leased`` and ``committed`` are its live executions, the latter in the order of the commits;
    those of a settled unit are all right. ``owners`` are the keys of the peers that committed to it
    once, and of their owners: none of them may do so again. ``passed`` are peers that lost or
    returned a lease on it: others come first. ``asked`` were drawn for it, in order, ``NOBODY``
    where a draw lapsed; ``silent`` committed and then withheld the result. ``hidden`` are ledger
    entries that are not shown because of it. ``reopened`` is whether a result was withheld, or a
    cheat's vote beside those that are left struck: then one vote is not enough. ``confirmed`` is
    whether a referee agreed, ``since`` when it was settled. ``meter`` is what its
    result counts, where a model is asked. ``opinions`` say of results, by their digests, whether
    they are the same; ``shown`` are the peers that were drawn to say so, and their owners.
    ``query`` is what somebody asks with it.
    """

    job: "Job"
    index: int
    stage: Stage = Stage.OPEN
    attempts: int = 0
    draws: int = 0
    by: By = By.PEER
    drawn: Peer | None = None
    leased: list[Execution] = field(default_factory=list)
    committed: list[Execution] = field(default_factory=list)
    owners: set[PeerKey] = field(default_factory=set)
    passed: set[PeerKey] = field(default_factory=set)
    asked: list[PeerKey] = field(default_factory=list)
    silent: list[Execution] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    shown: set[PeerKey] = field(default_factory=set)
    opinions: dict[tuple[Digest, Digest], bool] = field(default_factory=dict)
    reopened: bool = False
    confirmed: bool = False
    since: float = 0.0
    result: bytes = b""
    meter: int = 0
    reason: str = ""
    query: Query | None = None

    @property
    def id(self) -> UnitId:
        """Job and index."""
        return UnitId(self.job.id, self.index)

    def open_to(self, peer: Peer) -> bool:
        """Whether ``peer`` may compute it: neither it nor its owner committed to it before, or
        was shown its results."""
        its = (peer.key, peer.owner)
        return self.owners.isdisjoint(its) and self.shown.isdisjoint(its)

    @property
    def platform(self) -> str:
        """Where it must run; empty where that does not matter."""
        if self.committed and self.job.manifest.demands.same_platform:
            return self.committed[0].platform
        return ""

    def demand(self, wall: float) -> Demand:
        """How much checking it needs, given its first vote; that peer must still be believed."""
        first = self.committed[0]
        return policies.demand(
            self.job.settings,
            first.lot,
            proven=first.proven and first.peer.is_proven(self.job, wall),
            reopened=self.reopened,
            lapsed=NOBODY in self.asked,
        )

    def payees(self) -> list[Execution]:
        """Of a settled unit, those who are paid: the first who were right, referees left out."""
        peers = [each for each in self.committed if not each.referee]
        return peers[: self.job.manifest.executions]

    def awards(self) -> list[tuple[PeerKey, int]]:
        """Of a settled unit, who is paid how much."""
        award = self.job.manifest.award
        return [
            (each.peer.key, award(self.meter, place)) for place, each in enumerate(self.payees())
        ]

    def turn(self, turn: Turn) -> None:
        """Move along the table."""
        self.stage = next_stage(self.stage, turn)

    def row(self) -> UnitRow:
        """The row that keeps it."""
        return UnitRow(
            self.job.id,
            self.index,
            self.stage.value,
            self.attempts,
            b"".join(self.asked),
            b"".join(sorted(self.shown)),
            int(self.reopened),
            int(self.confirmed),
            self.result,
            self.reason,
        )


@dataclass(slots=True, eq=False)
class Job:
    """A live job. ``fresh`` units were never leased; ``redo`` are those to lease again; ``had``
    counts its leases in this turn, ``skipped`` those that went past it since its last one to peers
    who hold what another job reads; ``waiting`` are units that need a peer of another owner and
    have none, and since when; ``settled`` have a verdict that is not final, oldest first.
    ``undecided`` counts, by batch, the units that have none. ``answers`` are the commitments to
    results that the submitter knows. ``asked`` is whether units come while it runs, ``reserved``
    what those of them may cost that have no verdict."""

    signed: SignedManifest
    created: float
    state: JobState = JobState.ACTIVE
    redo: deque[int] = field(default_factory=deque)
    had: int = 0
    skipped: int = 0
    units: dict[int, Unit] = field(default_factory=dict)
    waiting: dict[int, float] = field(default_factory=dict)
    settled: dict[int, Unit] = field(default_factory=dict)
    undecided: dict[int, int] = field(default_factory=dict)
    ringers: Ringers | None = None
    watched: bool = False
    accepted: int = 0
    failed: int = 0
    executions: int = 0
    wrong: int = 0
    paid: int = 0
    returned: int = 0
    reserved: int = 0
    reason: str = ""
    version: int = 0
    id: JobId = field(init=False)
    manifest: Manifest = field(init=False)
    fresh: Fresh = field(init=False)
    cargo: Cargo = field(init=False)
    agree: Agree = field(init=False)
    settings: Settings = field(init=False)
    kind: bytes = field(init=False)
    trust: bytes = field(init=False)
    asked: bool = field(init=False)
    answers: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.id = self.signed.id
        self.manifest = self.signed.manifest
        self.fresh = Fresh([(0, self.manifest.units)])
        self.cargo = Cargo(self.manifest)
        self.agree = comparator(self.manifest.comparator)
        self.settings = settings_of(self.manifest)
        self.kind, self.trust = kind_of(self.manifest), trust_of(self.manifest)
        self.asked = self.manifest.is_asked
        answers = self.ringers.answers if self.ringers else ()
        self.answers = {
            index: commitment(UnitId(self.id, index), digest) for index, digest in answers
        }

    @property
    def is_exact(self) -> bool:
        """Whether equal results are equal bytes, so that commitments alone tell."""
        return self.manifest.comparator.by_digest

    @property
    def is_repeatable(self) -> bool:
        """Whether a commitment to another result than the right one proves a lie."""
        return self.manifest.comparator.is_repeatable

    @property
    def is_program(self) -> bool:
        """Whether only the job's own comparator can tell, which peers run."""
        return self.manifest.comparator.kind is Comparison.PROGRAM

    def batch(self, index: int) -> range:
        """The units that become final with unit ``index``."""
        size = self.settings.batch
        first = index - index % size
        return range(first, min(first + size, self.manifest.units))

    def count(self, index: int, change: int) -> bool:
        """A unit of a batch was decided (-1) or reopened (1); whether the batch is complete."""
        batch = self.batch(index)
        left = self.undecided.get(batch.start, len(batch)) + change
        self.undecided[batch.start] = left
        if left == 0:
            del self.undecided[batch.start]
        return left == 0

    @property
    def done(self) -> bool:
        """Whether every unit has its verdict. One that is asked ends only when it is cancelled."""
        return self.accepted + self.failed == self.manifest.units and not self.asked

    @property
    def has_fresh(self) -> bool:
        """Whether a first execution can be leased; one too far ahead of its checks waits."""
        return bool(self.redo) or (bool(self.fresh) and len(self.units) < MAX_IN_FLIGHT)

    def take(self, peer: Peer, *, passed: bool, cost: Cost | None = None) -> Unit | None:
        """The next unit for a first execution by ``peer``: given-up ones first, and last those
        that it passed itself, if those are wanted. ``cost`` is given where units have files of
        their own: of fresh ones, that with the least is taken."""
        if unit := self._again(peer, cost, passed=False):
            return unit
        if self.fresh and len(self.units) < MAX_IN_FLIGHT:
            index = self._cheapest(cost) if cost else self.fresh.first
            if index is not None:
                self.fresh.take(index)
                unit = self.units[index] = Unit(self, index)
                return unit
        return self._again(peer, cost, passed=True) if passed else None

    def _cheapest(self, cost: Cost) -> int | None:
        best: tuple[int, int] | None = None
        for index in self.fresh.starts(self.cargo.run):
            size = cost(index)
            if size is not None and (best is None or size < best[0]):
                best = size, index
                if size == 0:
                    break
        return best[1] if best else None

    def _again(self, peer: Peer, cost: Cost | None, *, passed: bool) -> Unit | None:
        for _ in range(min(len(self.redo), MAX_SEARCH)):
            unit = self.units[self.redo.popleft()]
            may = unit.open_to(peer) and (passed or peer.key not in unit.passed)
            if may and (cost is None or cost(unit.index) is not None):
                return unit
            self.redo.append(unit.index)
        return None

    def row(self) -> JobRow:
        """The row that keeps it."""
        return JobRow(
            self.id,
            self.signed.raw,
            self.signed.signature,
            self.manifest.submitter,
            self.manifest.name,
            self.state.value,
            self.created,
            self.manifest.units,
            self.accepted,
            self.failed,
            self.executions,
            self.wrong,
            self.paid,
            self.returned,
            self.reason,
        )
