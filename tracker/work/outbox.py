"""What a call leaves behind: rows to keep, then messages to send, gathered into batches."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tracker.rows import Row
from tracker.work.state import Execution, Job, Peer, Unit
from workunits.errors import Blame, SwarmError
from workunits.ids import LeaseToken, PeerKey
from workunits.wire.compare import MAX_PAIRS, Compare, Pair
from workunits.wire.models import Ask, Halt
from workunits.wire.work import (
    MAX_HOLD,
    Failure,
    FromTracker,
    JobOffer,
    Lease,
    Leases,
    RevealRequest,
    Revoked,
)


@dataclass(slots=True)
class Effects:
    """Rows to keep, then messages to send; these may leave only when the rows are on disk, and
    then ``told`` are to be called."""

    rows: list[Row] = field(default_factory=list)
    sends: list[tuple[PeerKey, FromTracker]] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.sends or self.told)


@dataclass(slots=True)
class Outbox:
    """The effects of one call, by peer and kind, so that a batch stays a batch."""

    dirty: dict[Unit | Execution | Peer | Job, None] = field(default_factory=dict)
    scores: dict[tuple[Peer, bytes], None] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    sends: list[tuple[PeerKey, FromTracker]] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)
    _leases: dict[tuple[Peer, Job], tuple[float, list[Lease]]] = field(default_factory=dict)
    _prompts: dict[LeaseToken, Ask] = field(default_factory=dict)
    _halts: dict[tuple[Peer, LeaseToken], int] = field(default_factory=dict)
    _asks: dict[Peer, tuple[float, list[LeaseToken]]] = field(default_factory=dict)
    _compares: dict[tuple[Peer, Job], tuple[float, list[Pair]]] = field(default_factory=dict)
    _revokes: dict[tuple[Peer, str], list[LeaseToken]] = field(default_factory=dict)

    def send(self, peer: Peer, message: FromTracker) -> None:
        """Send ``message`` as it is."""
        self.sends.append((peer.key, message))

    def fault(self, peer: Peer, error: SwarmError) -> None:
        """Tell a peer what it did wrong."""
        self.send(peer, Failure(error.code, error.message, error.hint, Blame.THEIRS))

    def lease(self, execution: Execution, seconds: float, ask: Ask | None = None) -> None:
        """Hand out a lease, and ``ask`` before it; a batch has the deadline of its longest."""
        if ask:
            self._prompts[ask.token] = ask
        key = (execution.peer, execution.unit.job)
        before, leases = self._leases.get(key, (0.0, []))
        leases.append(Lease(execution.unit.index, execution.token))
        self._leases[key] = (max(before, seconds), leases)

    def ask(self, execution: Execution, seconds: float) -> None:
        """Ask for a result."""
        self._asks.setdefault(execution.peer, (seconds, []))[1].append(execution.token)

    def compare(self, peer: Peer, job: Job, pair: Pair, seconds: float) -> None:
        """Ask for an opinion of two results; all of one job have the same ``seconds``."""
        self._compares.setdefault((peer, job), (seconds, []))[1].append(pair)

    def halt(self, execution: Execution, after: int) -> None:
        """End an answer after so many tokens."""
        self._halts[execution.peer, execution.token] = after

    def revoke(self, peer: Peer, token: LeaseToken, reason: str) -> None:
        """Tell a peer that a lease is over."""
        self._revokes.setdefault((peer, reason), []).append(token)

    def take(self) -> Effects:
        """Turn what was gathered into effects, and start anew."""
        rows = self.rows + [thing.row() for thing in self.dirty]
        effects = Effects(rows, self.sends, self.told)
        effects.rows += [peer.score_row(kind) for peer, kind in self.scores]
        sends = effects.sends
        for (peer, job), (seconds, leases) in self._leases.items():
            sends += _offer(peer, job)
            if job.manifest.program.model:
                asks = (self._prompts.get(lease.token) for lease in leases)
                sends += [(peer.key, ask) for ask in asks if ask]
            sends.append((peer.key, Leases(job.id, math.ceil(seconds), tuple(leases))))
        for (peer, token), after in self._halts.items():
            sends.append((peer.key, Halt(token, after)))
        for peer, (seconds, tokens) in self._asks.items():
            for some in _batches(tokens):
                sends.append((peer.key, RevealRequest(math.ceil(seconds), some)))
        for (peer, job), (seconds, pairs) in self._compares.items():
            sends += _offer(peer, job)
            for at in range(0, len(pairs), MAX_PAIRS):
                compare = Compare(job.id, math.ceil(seconds), tuple(pairs[at : at + MAX_PAIRS]))
                sends.append((peer.key, compare))
        for (peer, reason), tokens in self._revokes.items():
            for some in _batches(tokens):
                sends.append((peer.key, Revoked(reason, some)))
        self.dirty, self.scores, self.rows, self.sends, self.told = {}, {}, [], [], []
        self._prompts, self._halts = {}, {}
        self._leases, self._asks, self._compares, self._revokes = {}, {}, {}, {}
        return effects


def _offer(peer: Peer, job: Job) -> Iterator[tuple[PeerKey, FromTracker]]:
    """The job itself, before anything else of it."""
    if job.id not in peer.jobs:
        peer.jobs.add(job.id)
        yield peer.key, JobOffer(job.signed.raw, job.signed.signature)


def _batches(tokens: list[LeaseToken]) -> Iterator[tuple[LeaseToken, ...]]:
    for at in range(0, len(tokens), MAX_HOLD):
        yield tuple(tokens[at : at + MAX_HOLD])
