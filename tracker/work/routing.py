"""Routing: who answers what somebody waits for. Such units do not wait until a peer wants more:
they go at once to the best peer that has a core for them, on top of what it wanted to hold.

Who checks an answer is drawn as ever; only when is decided here.
"""

from dataclasses import dataclass

from tracker.work.floor import Floor
from tracker.work.leasing import Leasing
from tracker.work.query import Query
from tracker.work.state import MAX_BURDEN, Execution, Job, Peer, Unit
from tracker.work.table import Stage
from validators.electorate import Seat
from validators.policies import By
from workunits.ids import JobId, PeerKey, UnitId

WARM = 300.0
"""Seconds after an execution in which a peer counts as having the model in memory."""

PREFILL = 100.0
"""Tokens of a prompt that are read in a second before the first one of the answer is late."""

WEIGHT = 0.3
"""What the newest measurement of a peer's speed counts against all before it."""


@dataclass(slots=True)
class Pace:
    """How fast a peer answers in one job (tokens per 1,000 s, 0 if not known), and since when it
    was last seen doing so."""

    rate: float = 0.0
    last: float = float("-inf")


class Routing:
    """Leases units with a query; those for which nobody has a core wait in line.

    There are three lines, one after the other: units that a peer lost, urgent ones, all others.
    """

    def __init__(self, floor: Floor, leasing: Leasing) -> None:
        self._floor = floor
        self._leasing = leasing
        self._lines: tuple[dict[Job, dict[Unit, None]], ...] = ({}, {}, {})
        self._checks: dict[Peer, dict[Unit, None]] = {}
        self._paces: dict[JobId, dict[Peer, Pace]] = {}
        self._there: dict[Peer, None] = {}

    # -- first executions -------------------------------------------------------------------

    def place(self, unit: Unit, query: Query, now: float) -> None:
        """Lease an open unit, or have it wait."""
        if peer := self._best(unit, now):
            self._lease(peer, unit, query, now)
            return
        query.since = now
        line = 0 if query.leases and query.urgent else 1 if query.urgent else 2
        self._lines[line].setdefault(unit.job, {})[unit] = None

    def hedge(self, query: Query, now: float) -> None:
        """The first token is late: have another peer begin too, one that has the model."""
        unit = self._unit(query)
        if unit is None or len(unit.leased) != 1 or unit.committed or query.leader:
            return
        peer = self._best(unit, now, is_hedge=True)
        if peer:
            self._lease(peer, unit, query, now)
        else:
            self._floor.alarm(now + self._floor.patience.first, query, query.leases)

    def remove(self, unit: Unit) -> None:
        """A unit waits no more."""
        for line in self._lines:
            units = line.get(unit.job)
            if units is not None and unit in units:
                del units[unit]
                if not units:
                    del line[unit.job]

    def feed(self, now: float) -> None:
        """Serve the peers that have a core again."""
        floor = self._floor
        while floor.freed:
            peers, floor.freed = floor.freed, {}
            for peer in peers:
                self.serve(peer, now)

    def serve(self, peer: Peer, now: float) -> None:
        """Give a peer what it was drawn to check, and then what waits in line."""
        checks = self._checks.get(peer, {})
        while checks and _is_free(peer):
            check = next(iter(checks))
            del checks[check]
            if check.drawn is peer and check.stage is Stage.COMPUTING:
                check.drawn = None
                self._leasing.lease(peer, check, now)
        if not checks:
            self._checks.pop(peer, None)
        while any(self._lines) and _is_free(peer) and (unit := self._next(peer, now)):
            assert unit.query is not None
            self.remove(unit)
            self._lease(peer, unit, unit.query, now)

    def sweep(self, now: float) -> list[Unit]:
        """Serve whoever is free; returns the units for which nobody has been there for too long."""
        late: list[Unit] = []
        if not any(self._lines):
            return late
        for peer in self._there:
            self.serve(peer, now)
        before = now - self._floor.patience.alone
        for line in self._lines:
            for job, units in line.items():
                able = [peer for peer in self._there if self._may(peer, job, now)]
                for unit in units:
                    query = unit.query
                    if query and query.since <= before and not any(_takes(p, unit) for p in able):
                        if query.urgent:
                            late.append(unit)
                        else:  # whoever lost it before may try once more
                            unit.passed.clear()
                            query.since = now
        return late

    def waiting(self, job: Job) -> int:
        """How many units of a job wait in line."""
        return sum(len(line[job]) for line in self._lines if job in line)

    def is_answerable(self, job: Job, now: float) -> bool:
        """Whether any peer that is there could answer."""
        return any(self._may(peer, job, now) for peer in self._there)

    def is_checkable(self, job: Job, now: float) -> bool:
        """Whether any peer that is there could check what another owner's peer that is there
        answered."""
        tried: set[tuple[PeerKey, str]] = set()
        bound = job.manifest.demands.same_platform
        for worker in self._there:
            platform = worker.offerings.platform if bound and worker.offerings else ""
            if (worker.owner, platform) not in tried and self._may(worker, job, now):
                tried.add((worker.owner, platform))
                taken = {worker.key, worker.owner}
                seat = Seat(UnitId(job.id, 0), By.PEER, taken, frozenset(), platform)
                able = self._floor.electorate.able(job.manifest, seat)
                if any(_is_there(peer) and able(peer.key) for peer in self._there):
                    return True
        return False

    def refusals(self, unit: Unit, now: float) -> list[str]:
        """Why all peers that are there and could answer said that they cannot, and will not be
        able to; empty as long as any has not."""
        query, job = unit.query, unit.job
        able = [each for each in self._there if unit.open_to(each) and self._may(each, job, now)]
        if query is None or not all(peer.key in query.refused for peer in able):
            return []
        return [query.refused[peer.key] for peer in able]

    # -- checks -----------------------------------------------------------------------------

    def check(self, unit: Unit, peer: Peer, now: float) -> None:
        """A peer was drawn to check an answer: it gets it with its next free core."""
        if unit.drawn is not peer:
            unit.drawn = peer
            self._checks.setdefault(peer, {})[unit] = None
        self.serve(peer, now)

    def again(self, unit: Unit, peer: Peer, now: float) -> None:
        """A peer that was drawn to check a unit gets it once more."""
        self._leasing.lease(peer, unit, now)

    def drawn(self, peer: Peer) -> list[Unit]:
        """What a peer was drawn to check and will not come for."""
        return [unit for unit in self._checks.pop(peer, {}) if unit.drawn is peer]

    # -- what is known of peers -------------------------------------------------------------

    def welcome(self, peer: Peer) -> None:
        """A peer is there; what it lost before does not matter."""
        self._there[peer] = None
        for line in self._lines:
            for units in line.values():
                for unit in units:
                    unit.passed.discard(peer.key)
                    if unit.query:
                        unit.query.refused.pop(peer.key, None)

    def measure(self, execution: Execution, rate: int, now: float) -> None:
        """An execution ended, at ``rate`` tokens per 1,000 s; 0 if that is not known."""
        paces = self._paces.setdefault(execution.unit.job.id, {})
        pace = paces.setdefault(execution.peer, Pace())
        pace.last = now
        if rate:
            pace.rate += (rate - pace.rate) * (WEIGHT if pace.rate else 1)

    def leave(self, peer: Peer) -> None:
        """A peer is gone, and has no model in memory when it comes back."""
        self._there.pop(peer, None)
        for paces in self._paces.values():
            if pace := paces.get(peer):
                pace.last = float("-inf")

    def close(self, job: Job) -> None:
        """A job is over."""
        self._paces.pop(job.id, None)
        for line in self._lines:
            line.pop(job, None)

    # -- how --------------------------------------------------------------------------------

    def _lease(self, peer: Peer, unit: Unit, query: Query, now: float) -> None:
        self._leasing.lease(peer, unit, now)
        query.leases += 1
        if query.urgent and query.leader is None:
            patience = self._floor.patience.first + len(query.request.prompt) / PREFILL
            self._floor.alarm(now + patience, query, query.leases)

    def _best(self, unit: Unit, now: float, *, is_hedge: bool = False) -> Peer | None:
        job, leasing = unit.job, self._leasing
        having = {execution.peer for execution in unit.leased}
        paces = self._paces.get(job.id, {})
        best: tuple[tuple[float, ...], Peer] | None = None
        for peer in self._there:
            if peer in having or not _is_free(peer) or not _takes(peer, unit):
                continue
            if not self._may(peer, job, now) or not _has_room(peer, job):
                continue
            lack = leasing.lack(peer, job)
            if lack and is_hedge:
                continue
            pace = paces.get(peer)
            cold = pace is None or now - pace.last > WARM
            rate = pace.rate if pace else 0.0
            rank = (peer.doubtful, lack, cold, -rate, peer.seats, peer.leased)
            if best is None or rank < best[0]:
                best = rank, peer
        return best[1] if best else None

    def _next(self, peer: Peer, now: float) -> Unit | None:
        """What a peer that is free may answer, and has waited longest in its line."""
        for line in self._lines:
            found: list[tuple[float, Unit]] = []
            for job, units in line.items():
                if self._may(peer, job, now) and _has_room(peer, job):
                    unit = next((each for each in units if _takes(peer, each)), None)
                    if unit and unit.query:
                        found.append((unit.query.since, unit))
            if found:
                return min(found, key=lambda each: each[0])[1]
        return None

    def _may(self, peer: Peer, job: Job, now: float) -> bool:
        if not _is_there(peer) or peer.validator or not self._leasing.may(peer, job, now):
            return False
        lack = self._leasing.lack(peer, job)
        return not lack or peer.larder is None or peer.larder.fits(lack)

    def _unit(self, query: Query) -> Unit | None:
        at = query.units[-1]
        job = self._floor.jobs.get(at.job)
        return job.units.get(at.index) if job else None


def _is_there(peer: Peer) -> bool:
    """Whether a peer takes work now: one that wants to hold nothing drains."""
    return peer.connected and not peer.banned and peer.hold > 0


def _is_free(peer: Peer) -> bool:
    """Whether a peer has a core for one more unit that somebody waits for."""
    cores = peer.offerings.cores if peer.offerings else 1
    fits = peer.seats < cores and peer.leased < peer.hold + cores and peer.burden <= MAX_BURDEN
    return fits and _is_there(peer)


def _has_room(peer: Peer, job: Job) -> bool:
    """Whether one more model is likely to fit into a peer's memory; one always does."""
    memory = peer.offerings.memory_bytes if peer.offerings else 0
    return peer.seats == 0 or (peer.seats + 1) * job.manifest.limits.memory_bytes <= memory


def _takes(peer: Peer, unit: Unit) -> bool:
    """Whether a unit may go to a peer, which did not lose it before."""
    return peer.key not in unit.passed and unit.open_to(peer)
