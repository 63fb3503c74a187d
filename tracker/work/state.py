"""What the desk knows: jobs, units, executions, peers. In memory, rebuilt from rows at start."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from tracker.rows import ExecutionRow, JobRow, PeerRow, UnitRow
from tracker.work.table import Act, Doing, Stage, Turn, next_doing, next_stage
from validators import policies
from validators.comparators import Agree, Finding, comparator
from workunits.ids import JobId, LeaseToken, PeerKey, UnitId
from workunits.manifest import Manifest, SignedManifest
from workunits.wire.handshake import Offerings

MAX_IN_FLIGHT = 50_000
"""Units of one job that may be between first lease and verdict: bounds the desk's memory."""

MAX_SEARCH = 16
"""Given-up units that are looked at before a fresh one is handed out."""


class JobState(StrEnum):
    """State of a job."""

    ACTIVE = "active"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Peer:
    """A volunteer or validator, connected or not.

    ``hold`` is the most uncommitted leases that it wants, ``leased`` how many it has; ``checks``
    are the units that it was drawn to recompute and has not been leased yet. ``alone`` counts its
    results in units that failed because no two results agreed.
    """

    key: PeerKey
    owner: PeerKey
    offerings: Offerings | None = None
    connected: bool = False
    session: int = 0
    hold: int = 0
    leased: int = 0
    right: int = 0
    wrong: int = 0
    withheld: int = 0
    alone: int = 0
    banned: bool = False
    live: dict[LeaseToken, "Execution"] = field(default_factory=dict)
    checks: "deque[Unit]" = field(default_factory=deque)
    jobs: set[JobId] = field(default_factory=set)

    @property
    def hungry(self) -> bool:
        """Whether it wants more leases now."""
        return self.connected and not self.banned and self.leased < self.hold

    @property
    def validator(self) -> bool:
        """Whether it computes only what it was drawn to check."""
        return self.offerings is not None and self.offerings.validator

    @property
    def doubtful(self) -> bool:
        """Whether others are drawn before it."""
        return policies.is_doubtful(self.right, self.withheld + self.alone)

    def can_run(self, manifest: Manifest) -> bool:
        """Whether it has the image and the memory for a job."""
        return (
            self.offerings is not None
            and manifest.program.image in self.offerings.images
            and manifest.limits.memory_bytes <= self.offerings.memory_bytes
        )

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
            int(self.banned),
        )


@dataclass(slots=True, eq=False)
class Execution:
    """One peer's attempt at one unit, under one lease."""

    token: LeaseToken
    unit: "Unit"
    peer: Peer
    doing: Doing = Doing.LEASED
    commitment: bytes = b""
    seal: bytes = b""
    finding: Finding | None = None

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
            result,
        )


@dataclass(slots=True, eq=False)
class Unit:
    """A unit that is being worked on.

    ``leased`` and ``committed`` are its live executions, the latter in the order of the commits;
    ``owners`` are the keys of the peers that committed to it once, and of their owners: none of
    them may do so again. ``passed`` are peers that lost or returned a lease on it: others come
    first.
    """

    job: "Job"
    index: int
    stage: Stage = Stage.OPEN
    attempts: int = 0
    draws: int = 0
    checkpoint: bytes = b""
    drawn: Peer | None = None
    leased: list[Execution] = field(default_factory=list)
    committed: list[Execution] = field(default_factory=list)
    owners: set[PeerKey] = field(default_factory=set)
    passed: set[PeerKey] = field(default_factory=set)
    result: bytes = b""
    reason: str = ""

    @property
    def id(self) -> UnitId:
        """Job and index."""
        return UnitId(self.job.id, self.index)

    def open_to(self, peer: Peer) -> bool:
        """Whether ``peer`` may compute it: neither it nor its owner committed to it before."""
        return self.owners.isdisjoint((peer.key, peer.owner))

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
            self.checkpoint,
            self.result,
            self.reason,
        )


@dataclass(slots=True, eq=False)
class Job:
    """A live job. Units below ``cursor`` were leased at least once; ``redo`` are those to lease
    again; ``waiting`` are units that need a peer of another owner and have none."""

    signed: SignedManifest
    created: float
    state: JobState = JobState.ACTIVE
    cursor: int = 0
    redo: deque[int] = field(default_factory=deque)
    units: dict[int, Unit] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    accepted: int = 0
    failed: int = 0
    executions: int = 0
    wrong: int = 0
    paid: int = 0
    returned: int = 0
    reason: str = ""
    version: int = 0
    id: JobId = field(init=False)
    manifest: Manifest = field(init=False)
    agree: Agree = field(init=False)

    def __post_init__(self) -> None:
        self.id = self.signed.id
        self.manifest = self.signed.manifest
        self.agree = comparator(self.manifest.comparator)

    @property
    def done(self) -> bool:
        """Whether every unit has its verdict."""
        return self.accepted + self.failed == self.manifest.units

    @property
    def has_fresh(self) -> bool:
        """Whether a first execution can be leased; one too far ahead of its checks waits."""
        return bool(self.redo) or (
            self.cursor < self.manifest.units and len(self.units) < MAX_IN_FLIGHT
        )

    def take(self, peer: Peer, *, passed: bool) -> Unit | None:
        """The next unit for a first execution by ``peer``: given-up ones first, and last those
        that it passed itself, if those are wanted."""
        if unit := self._again(peer, passed=False):
            return unit
        if self.cursor < self.manifest.units and len(self.units) < MAX_IN_FLIGHT:
            unit = self.units[self.cursor] = Unit(self, self.cursor)
            self.cursor += 1
            return unit
        return self._again(peer, passed=True) if passed else None

    def _again(self, peer: Peer, *, passed: bool) -> Unit | None:
        for _ in range(min(len(self.redo), MAX_SEARCH)):
            unit = self.units[self.redo.popleft()]
            if unit.open_to(peer) and (passed or peer.key not in unit.passed):
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
