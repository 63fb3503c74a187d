"""Leasing: which unit goes to which peer. Least covered first: a unit that was given up comes
before a fresh one, and a check that a peer was drawn for before both.

Among jobs, and among fresh units with files of their own, a peer gets first what it need not fetch.
Nothing that a peer says of itself matters for checks: those go to whom they were drawn for.
"""

import math
from functools import partial

from tracker.work.floor import Floor
from tracker.work.hints import Hints
from tracker.work.larder import Need
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Doing, Stage, Turn
from workunits.ids import LeaseToken
from workunits.models.answer import meter
from workunits.wire.holds import Holds

TURN = 16
"""Leases of one job before the next job has its turn; as many may go past a job, to peers who hold
what another one reads, before it has its turn whoever asks."""

CHOICES = 8
"""Jobs of whose inputs a peer lacks something that are looked at for the one it lacks least of."""

FETCHING = 1 << 20
"""Bytes per second that a peer is given time for where it has to fetch what a unit reads."""

SLOWEST = 0.5
"""Seconds for each token that an answer counts (``meter``), on a machine that is just fast enough
to be waited for."""


class Leasing:
    """Hands out leases while peers want them and there is work."""

    def __init__(self, floor: Floor, hints: Hints) -> None:
        self._floor = floor
        self._hints = hints

    def serve(self, peer: Peer, now: float, *, passed: bool = True) -> None:
        """Give ``peer`` as many leases as it wants and there are; with ``passed`` also on units
        that it passed before."""
        floor = self._floor
        if peer.larder and peer.larder.expected and not peer.leased:
            peer.larder.recount(())
        while peer.hungry:
            unit = self._next_check(peer) or self._next_first(peer, passed, now)
            if unit is None:
                floor.hungry[peer] = None
                return
            self.lease(peer, unit, now)
        floor.hungry.pop(peer, None)

    def feed(self, now: float) -> None:
        """Serve the peers that went away empty-handed, first those that need to fetch least."""
        for passed in (False, True):
            for peer in self._in_order():
                if peer.checks or any(job.has_fresh for job in self._floor.turns):
                    self.serve(peer, now, passed=passed)

    def _in_order(self) -> list[Peer]:
        hungry = list(self._floor.hungry)
        heavy = [job for job in self._floor.turns if not job.cargo.is_light and job.has_fresh]
        if not heavy:
            return hungry
        some = heavy[:CHOICES]
        return sorted(hungry, key=lambda peer: min(map(partial(self.lack, peer), some)))

    def seconds(self, execution: Execution) -> float:
        """How long the peer may take, given how much else it may hold and what it has to fetch: the
        same for every lease of a batch."""
        peer, job, query = execution.peer, execution.unit.job, execution.unit.query
        if query:
            counted = SLOWEST * meter(query.request, query.request.most)
            fetch = sum(size for _, size in _shared_needs(peer, job)) / FETCHING
            wall = job.manifest.limits.wall_seconds
            return self._floor.patience.answer + min(counted, wall) + fetch
        cores = peer.offerings.cores if peer.offerings else 1
        rounds = math.ceil(max(peer.hold, peer.leased, 1) / cores)
        if job.cargo.is_light:
            return self._floor.patience.lease + rounds * job.manifest.limits.wall_seconds
        each = job.manifest.limits.wall_seconds + job.cargo.widest / FETCHING
        first = job.manifest.common_bytes
        if peer.offerings and job.manifest.program.image not in peer.offerings.images:
            first += job.manifest.image_bytes
        return self._floor.patience.lease + rounds * each + first / FETCHING

    def hear(self, peer: Peer, holds: Holds, now: float) -> None:
        """A peer says what it holds. Raises ``RefusedError`` or ``LimitError``."""
        if peer.larder is None:
            return
        peer.larder.hear(holds, now)
        leased = (each for each in peer.live.values() if each.doing is Doing.LEASED)
        peer.larder.recount(need for each in leased for need in _needs(peer, each.unit))
        self.serve(peer, now)

    def _next_check(self, peer: Peer) -> Unit | None:
        for _ in range(len(peer.checks)):
            unit = peer.checks.popleft()
            if unit.drawn is peer and unit.stage is Stage.COMPUTING:
                if self._fits(peer, unit):
                    unit.drawn = None
                    return unit
                peer.checks.append(unit)  # it may come for it later, or is drawn past
        return None

    def _fits(self, peer: Peer, unit: Unit) -> bool:
        larder = peer.larder
        return larder is None or larder.fits(larder.missing(_needs(peer, unit)))

    def _next_first(self, peer: Peer, passed: bool, now: float) -> Unit | None:
        if peer.validator:
            return None
        skipped: list[tuple[int, Job]] = []
        for job in self._floor.turns:
            if not job.has_fresh or not self.may(peer, job, now):
                continue
            lack = self.lack(peer, job)
            if lack and peer.larder and not peer.larder.fits(lack):
                continue
            if lack and job.skipped < TURN:
                skipped.append((lack, job))
                if len(skipped) == CHOICES:
                    break
            elif unit := self._take(peer, job, passed, lack):
                self._count(job, skipped)
                return unit
        for lack, job in sorted(skipped, key=lambda each: each[0]):
            if unit := self._take(peer, job, passed, lack):
                self._count(job, skipped[: skipped.index((lack, job))])
                return unit
        return None

    def _take(self, peer: Peer, job: Job, passed: bool, lack: int) -> Unit | None:
        larder, cargo = peer.larder, job.cargo
        if not cargo.run or larder is None:
            return job.take(peer, passed=passed)

        def cost(index: int) -> int | None:
            size = larder.missing(cargo.own(index))
            return size if larder.fits(lack + size) else None

        return job.take(peer, passed=passed, cost=cost)

    def _count(self, job: Job, skipped: list[tuple[int, Job]]) -> None:
        for _, each in skipped:
            each.skipped += 1
        job.had += 1
        if job.had >= TURN:
            job.had = job.skipped = 0
            if self._floor.turns[0] is job:
                self._floor.turns.rotate(-1)
            else:
                self._floor.turns.remove(job)
                self._floor.turns.append(job)

    def may(self, peer: Peer, job: Job, now: float) -> bool:
        """Whether a peer gets first executions of a job, if it wants any."""
        manifest, floor = job.manifest, self._floor
        return (
            peer.can_run(manifest)
            and not floor.electorate.is_shunned(peer.key, manifest.submitter)
            and peer.verified(job.kind, manifest.demands.reputation, floor.wall(now))
        )

    def lease(self, peer: Peer, unit: Unit, now: float) -> None:
        """Let a peer make an execution of a unit."""
        floor = self._floor
        execution = Execution(LeaseToken(floor.next_token), unit, peer)
        floor.next_token += 1
        unit.turn(Turn.LEASE)
        unit.attempts += 1
        floor.begin(execution)
        if peer.larder and not unit.job.cargo.is_light:
            peer.larder.expect(_needs(peer, unit))
        seconds = self.seconds(execution)
        floor.alarm(now + seconds, execution, 0)
        ask = self._hints.ask(execution) if unit.job.manifest.program.model else None
        if ask and execution.claim:
            execution.claim.weight = ask.weight
            peer.burden += ask.weight
        floor.outbox.lease(execution, seconds, ask)

    @staticmethod
    def lack(peer: Peer, job: Job) -> int:
        """Bytes that a peer has to fetch before any unit of a job."""
        if job.cargo.is_light:
            return 0
        needs = _shared_needs(peer, job)
        return peer.larder.lack(job.id, needs) if needs and peer.larder else 0


def _needs(peer: Peer, unit: Unit) -> tuple[Need, ...]:
    """All that a peer needs on its disk for a unit."""
    return (*_shared_needs(peer, unit.job), *unit.job.cargo.own(unit.index))


def _shared_needs(peer: Peer, job: Job) -> tuple[Need, ...]:
    cargo, offers = job.cargo, peer.offerings
    if cargo.image and offers and job.manifest.program.image not in offers.images:
        return cargo.common + cargo.image
    return cargo.common
