"""Leasing: which unit goes to which peer. Least covered first: a unit that was given up comes
before a fresh one, and a check that a peer was drawn for before both."""

import math

from tracker.work.floor import Floor
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Stage, Turn
from workunits.ids import LeaseToken

TURN = 16
"""Leases in a row from one job before the next job has its turn."""


class Leasing:
    """Hands out leases while peers want them and there is work."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._in_turn = 0

    def serve(self, peer: Peer, now: float, *, passed: bool = True) -> None:
        """Give ``peer`` as many leases as it wants and there are; with ``passed`` also on units
        that it passed before."""
        floor = self._floor
        while peer.hungry:
            unit = self._next_check(peer) or self._next_first(peer, passed, now)
            if unit is None:
                floor.hungry[peer] = None
                return
            self._lease(peer, unit, now)
        floor.hungry.pop(peer, None)

    def feed(self, now: float) -> None:
        """Serve the peers that went away empty-handed."""
        for passed in (False, True):
            for peer in list(self._floor.hungry):
                if peer.checks or any(job.has_fresh for job in self._floor.turns):
                    self.serve(peer, now, passed=passed)

    def seconds(self, execution: Execution) -> float:
        """How long the peer may take, given how much else it may hold: the same for every lease
        of a batch."""
        peer = execution.peer
        cores = peer.offerings.cores if peer.offerings else 1
        rounds = math.ceil(max(peer.hold, peer.leased, 1) / cores)
        limit = execution.unit.job.manifest.limits.wall_seconds
        return self._floor.patience.lease + rounds * limit

    def _next_check(self, peer: Peer) -> Unit | None:
        while peer.checks:
            unit = peer.checks.popleft()
            if unit.drawn is peer and unit.stage is Stage.COMPUTING:
                unit.drawn = None
                return unit
        return None

    def _next_first(self, peer: Peer, passed: bool, now: float) -> Unit | None:
        if peer.validator:
            return None
        turns = self._floor.turns
        for _ in range(len(turns)):
            job = turns[0]
            unit = job.take(peer, passed=passed) if self._may(peer, job, now) else None
            if unit is None or self._in_turn >= TURN:
                turns.rotate(-1)
                self._in_turn = 0
            if unit is not None:
                self._in_turn += 1
                return unit
        return None

    def _may(self, peer: Peer, job: Job, now: float) -> bool:
        manifest, floor = job.manifest, self._floor
        return (
            peer.can_run(manifest)
            and not floor.electorate.is_shunned(peer.key, manifest.submitter)
            and peer.verified(job.kind, manifest.demands.reputation, floor.wall(now))
        )

    def _lease(self, peer: Peer, unit: Unit, now: float) -> None:
        floor = self._floor
        execution = Execution(LeaseToken(floor.next_token), unit, peer)
        floor.next_token += 1
        unit.turn(Turn.LEASE)
        unit.attempts += 1
        floor.begin(execution)
        seconds = self.seconds(execution)
        floor.alarm(now + seconds, execution, 0)
        floor.outbox.lease(execution, seconds)
