"""What a volunteer holds: leases, their jobs, the cells and the blobs that they use. Pure.

Everything that a lease takes it gives back here, on whichever way it ends, and it ends once.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from client.scheduling import moves
from client.scheduling.asks import Asks
from client.scheduling.cells import CellRecord, Cells, Life
from client.scheduling.leases import EARLY, LAST, OVER, Held, State, step
from client.scheduling.moves import Command
from client.scheduling.needs import Need, Needs
from client.scheduling.pace import Tuning
from workunits.ids import JobId, LeaseToken
from workunits.manifest import SignedManifest
from workunits.models.program import ModelProgram
from workunits.wire.models import Ask
from workunits.wire.work import MAX_HOLD


@dataclass(slots=True, eq=False)
class JobRecord:
    """A job and how it fares here. ``blocked`` is the monotonic time until which it rests."""

    signed: SignedManifest
    program: tuple[Need, ...]
    common: tuple[Need, ...]
    early: set[LeaseToken] = field(default_factory=set)
    ready: deque[LeaseToken] = field(default_factory=deque)
    seconds: float | None = None
    strikes: int = 0
    blocked: float = -math.inf
    refused: str = ""
    """Why its leases are given back while it is blocked; empty while they are kept."""

    @classmethod
    def of(cls, signed: SignedManifest) -> "JobRecord":
        """A job that was just offered."""
        manifest = signed.manifest
        image = (manifest.shared,) if manifest.shared else ()
        program = tuple(dict.fromkeys((*image, *(blob.ref for blob in manifest.program.files))))
        return cls(signed, program, tuple(dict.fromkeys((*program, *manifest.common))))

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self.signed.id

    @property
    def memory(self) -> int:
        """Bytes that one of its units may use."""
        return self.signed.manifest.limits.memory_bytes

    @property
    def model(self) -> ModelProgram | None:
        """The model that its units ask, if they ask one."""
        return self.signed.manifest.program.model

    def flaw(self, index: int, ask: Ask | None) -> str:
        """Why unit ``index``, asking ``ask``, cannot be one of it; empty if it can."""
        if index >= self.signed.manifest.units or (ask and not self.model):
            return "malformed"
        if self.model and self.model.asked != bool(ask and ask.request):
            return "malformed"
        return ""

    def works(self) -> None:
        """Something of it ran to its end here."""
        self.strikes, self.refused = 0, ""

    def needs(self, index: int) -> tuple[Need, ...]:
        """Every blob that unit ``index`` reads, each once, and the image if the job shares it."""
        own = self.signed.manifest.own(index)
        return tuple(dict.fromkeys((*self.common, *own))) if own else self.common


class Book:
    """Leases, jobs, cells and needs, kept consistent. ``out`` gathers the commands."""

    def __init__(self, tuning: Tuning) -> None:
        self.jobs: dict[JobId, JobRecord] = {}
        self.leases: dict[LeaseToken, Held] = {}
        self.needs = Needs(tuning.fetches)
        self.cells = Cells(tuning.slots, tuning.memory_bytes, tuning.warm_cells)
        self.asks = Asks()
        self.connected = False
        self.out: list[Command] = []
        self.uncommitted = 0
        """Leases that count against our credit."""
        self.comparisons = 0
        """How many of ``leases`` are comparisons."""
        self._counts = dict.fromkeys(State, 0)

    def count(self, *states: State) -> int:
        """How many leases are in ``states``."""
        return sum(self._counts[state] for state in states)

    def known(self, tokens: Iterable[LeaseToken], state: State | None = None) -> list[Held]:
        """The leases of ``tokens`` that we hold, each once; only those in ``state``, if given."""
        found = (self.leases.get(token) for token in dict.fromkeys(tokens))
        return [lease for lease in found if lease and state in (None, lease.state)]

    def add(self, lease: Held) -> None:
        """A new lease, or one that was found on disk."""
        self.leases[lease.token] = lease
        self._counts[lease.state] += 1
        self.uncommitted += lease.counts
        self.comparisons += lease.pair is not None
        if lease.state in EARLY:
            self.jobs[lease.job].early.add(lease.token)

    def move(self, lease: Held, to: State) -> None:
        """Take a step of the table in ``client.scheduling.leases``."""
        before, counted = lease.state, lease.counts
        step(lease, to)
        self._counts[before] -= 1
        self._counts[to] += to not in OVER
        self.uncommitted += lease.counts - counted
        if before in EARLY and to not in EARLY:
            self.jobs[lease.job].early.discard(lease.token)

    def commit_stands(self, lease: Held) -> None:
        """The tracker has the commit of ``lease`` on disk."""
        self.move(lease, State.COMMITTED)
        self.out.append(moves.Committed(lease.unit))

    def ready(self, lease: Held) -> None:
        """All that ``lease`` reads is here. Those go first for whom somebody waits, then
        comparisons: theirs waited long."""
        self.move(lease, State.READY)
        ready = self.jobs[lease.job].ready
        at = len(ready)
        if lease.rank < LAST:
            later = (at for at, token in enumerate(ready) if self._rank(token) > lease.rank)
            at = next(later, at)
        ready.insert(at, lease.token)

    def end(self, lease: Held, to: State, reason: str = "") -> None:
        """The last step of ``lease``."""
        if lease.state is State.RUNNING and to is not State.JUDGED:
            assert lease.cell is not None
            cell = self.cells[lease.cell]
            if cell.life is Life.OPENING:
                cell.token = None
            elif cell.heavy and to is State.REVOKED:
                self.cells.stopping(cell)
                self.out.append(moves.Stop(cell.id))
            else:
                self.close(cell)
        self.move(lease, to)
        self.release_needs(lease)
        del self.leases[lease.token]
        self.comparisons -= lease.pair is not None
        self.out.append(moves.Over(lease.token, lease.unit, to, reason))

    def give_back(self, tokens: Iterable[LeaseToken], reason: str) -> None:
        """End leases as released and say so to the tracker."""
        tokens = list(tokens)
        for token in tokens:
            self.end(self.leases[token], State.RELEASED, reason)
        self.send_release(tokens, reason)

    def send_release(self, tokens: list[LeaseToken], reason: str) -> None:
        """Tell the tracker. Without a session nothing is said: the next welcome settles it."""
        if self.connected:
            for at in range(0, len(tokens), MAX_HOLD):
                self.out.append(moves.SendRelease(tuple(tokens[at : at + MAX_HOLD]), reason))

    def forget_jobs(self, now: float) -> None:
        """Let go of jobs that nothing here is of, but not of those that rest."""
        used = self.cells.jobs() | {lease.job for lease in self.leases.values()}
        for job in list(self.jobs.values()):
            if job.id not in used and now >= job.blocked:
                del self.jobs[job.id]

    def close(self, cell: CellRecord) -> None:
        """Start to end a cell."""
        self.cells.closing(cell)
        self.out.append(moves.Close(cell.id))

    def gone(self, cell: CellRecord) -> None:
        """A cell has ended."""
        self.cells.gone(cell)
        self._drop(cell.needs)

    def release_needs(self, lease: Held) -> None:
        """``lease`` reads nothing any more, and what it asks is forgotten."""
        self.asks.drop(lease.token)
        self._drop(lease.needs, lease.token)
        lease.needs = ()
        lease.missing = set()

    def _rank(self, token: LeaseToken) -> int:
        lease = self.leases.get(token)
        return lease.rank if lease else 0

    def _drop(self, refs: Iterable[Need], token: LeaseToken | None = None) -> None:
        self.out.extend(moves.Drop(ref) for ref in self.needs.let_go(refs, token))
