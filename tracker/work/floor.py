"""The floor: everything that the desk knows, and the book-keeping that every move shares."""

from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from tracker.ledger import Book, Entered
from tracker.work.concealed import Concealed
from tracker.work.dispute import Question
from tracker.work.outbox import Effects, Outbox
from tracker.work.query import Query
from tracker.work.state import Execution, Job, JobState, Peer, Unit
from tracker.work.table import Act, Asking, Doing, Stage
from validators.draw import lot
from validators.electorate import Electorate
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.statements import Statement
from workunits.wire.work import Commit

MAX_ATTEMPTS = 24
"""Executions of one unit, lost ones included, after which it is given up."""

SPARE_ALARMS = 10_000
"""Alarms of things that are over, beyond as many as are pending, before they are swept out."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the desk waits, in seconds."""

    away: float = 30.0
    """A peer that lost its connection keeps its leases for as long."""

    reveal: float = 60.0
    """Between the request to reveal and the result."""

    draw: float = 300.0
    """A drawn peer that has not come for the unit is drawn past."""

    quarantine: float = 600.0
    """After a ban its owner, mostly a network, brings no new key for as long: what a new identity
    costs, beside the credit that is lost with the old one."""

    lease: float = 60.0
    """Grace on top of a lease's own wall limit, for fetching blobs and queueing."""

    first: float = 2.0
    """For the first token of an answer that somebody waits for, beside the time to read the prompt;
    then another peer is asked too, as soon as one that has the model has a core for it."""

    answer: float = 20.0
    """Grace on top of the time that the tokens of such an answer may take."""

    check: float = 15.0
    """A peer that was drawn to check such an answer, and has not come for it, is drawn past."""

    alone: float = 30.0
    """Such an answer fails when for as long nobody was there who could give it; at once when all
    who could gave it back for a reason that lasts."""


Alarmed: TypeAlias = Execution | Question | Unit | Peer | Job | Query


class Floor:
    """Jobs, peers and executions of one tracker, and what is to be said and kept about them."""

    def __init__(self, book: Book, patience: Patience) -> None:
        self.book = book
        self.patience = patience
        self.jobs: dict[JobId, Job] = {}
        self.peers: dict[PeerKey, Peer] = {}
        self.executions: dict[LeaseToken, Execution] = {}
        self.turns: deque[Job] = deque()
        self.electorate = Electorate(book.operator)
        self.concealed = Concealed()
        self.epoch = 0.0
        self.quarantine: dict[PeerKey, float] = {}
        self.hungry: dict[Peer, None] = {}
        self.outbox = Outbox()
        self.next_token = 1
        self.freed: dict[Peer, None] = {}
        self.claimed = 0
        self._alarms: list[tuple[float, int, Alarmed, int]] = []
        self._alarm_count = 0
        self._sweep_at = SPARE_ALARMS

    def wall(self, now: float) -> float:
        """Unix seconds, as far as anybody told us: ``epoch`` is when ``now`` was 0."""
        return self.epoch + now

    def take(self) -> Effects:
        """Everything that happened since the last call."""
        self.outbox.rows += self.book.take()
        return self.outbox.take()

    def touch(self, *things: Unit | Execution | Peer | Job) -> None:
        """Have the new state of ``things`` kept."""
        for thing in things:
            self.outbox.dirty[thing] = None

    def isolate(self, owner: PeerKey, now: float) -> None:
        """Let an owner bring no new keys for a while."""
        self.quarantine = {key: end for key, end in self.quarantine.items() if end > now}
        self.quarantine[owner] = now + self.patience.quarantine

    def score(self, peer: Peer, kind: bytes) -> None:
        """Have a peer's score kept."""
        self.outbox.scores[peer, kind] = None

    def alarm(self, when: float, thing: Alarmed, stamp: int) -> None:
        """Look at ``thing`` again at ``when``; ``stamp`` tells whether it is still the same."""
        self._alarm_count += 1
        heappush(self._alarms, (when, self._alarm_count, thing, stamp))
        if len(self._alarms) >= self._sweep_at:
            self._alarms = [each for each in self._alarms if _is_pending(each[2], each[3])]
            heapify(self._alarms)
            self._sweep_at = 2 * len(self._alarms) + SPARE_ALARMS

    def due(self, now: float) -> Alarmed | None:
        """The next thing to look at now."""
        while self._alarms and self._alarms[0][0] <= now:
            _, _, thing, stamp = heappop(self._alarms)
            if _is_pending(thing, stamp):
                return thing
        return None

    def open_job(self, job: Job) -> None:
        """Let peers lease units of a job that was paid for."""
        self.jobs[job.id] = job
        if not job.asked:
            self.turns.append(job)

    def close_job(self, job: Job, state: JobState, statement: Statement | None = None) -> None:
        """End a job and give back what is left of its escrow; ``statement`` cancelled it."""
        job.state = state
        if job.ringers:
            self.book.known(job.id, job.ringers.encode())
        job.returned = self.book.refund(job.id, job.manifest.submitter, statement)
        job.version += 1
        del self.jobs[job.id]
        if not job.asked:
            self.turns.remove(job)
        self.touch(job)

    def begin(self, execution: Execution) -> None:
        """Count a new lease."""
        execution.unit.leased.append(execution)
        execution.peer.leased += 1
        execution.peer.seats += execution.unit.query is not None
        execution.peer.live[execution.token] = execution
        self.executions[execution.token] = execution
        execution.unit.job.version += 1
        self.touch(execution, execution.unit)

    def commit(self, execution: Execution, commit: Commit, entered: Entered, now: float) -> None:
        """A lease turned into a commitment, which was ``entered`` into the ledger."""
        unit, peer = execution.unit, execution.peer
        execution.act(Act.COMMIT)
        execution.commitment, execution.seal = commit.commitment, commit.seal
        execution.entry = entered.number
        self.conceal(unit, execution.entry, now)
        execution.lot = lot(entered.link, unit.id)
        execution.proven = peer.is_proven(unit.job, self.wall(now))
        execution.referee = self.electorate.is_referee(peer.key, unit.job.manifest)
        execution.platform = peer.offerings.platform if peer.offerings else ""
        unit.leased.remove(execution)
        unit.committed.append(execution)
        unit.owners |= {peer.key, peer.owner}
        peer.leased -= 1
        self._free(execution)
        unit.job.executions += 1
        unit.job.version += 1
        self.touch(execution)

    def conceal(self, unit: Unit, entry: int, now: float) -> None:
        """Do not show a ledger entry before ``unit`` has its verdict."""
        unit.hidden.append(entry)
        self.concealed.hide(entry, now)

    def disclose(self, unit: Unit) -> None:
        """The unit has its verdict, or needs none."""
        for entry in unit.hidden:
            self.concealed.show(entry)
        unit.hidden = []

    def drop(self, execution: Execution, act: Act) -> None:
        """An execution ends without deciding anything."""
        unit, peer = execution.unit, execution.peer
        if execution.doing is Doing.LEASED:
            unit.leased.remove(execution)
            peer.leased -= 1
            self._free(execution)
            if peer.hungry:
                self.hungry[peer] = None
        else:
            unit.committed.remove(execution)
        execution.act(act)
        self.end(execution)

    def end(self, execution: Execution) -> None:
        """Forget an execution; its row stays."""
        if execution.claim:
            self.claimed -= len(execution.claim.ids)
            execution.claim = None
        self.executions.pop(execution.token, None)
        execution.peer.live.pop(execution.token, None)
        self.touch(execution)

    def _free(self, execution: Execution) -> None:
        peer = execution.peer
        if execution.claim:
            peer.burden -= execution.claim.weight
            execution.claim.weight = 0
        if execution.unit.query:
            peer.seats -= 1
            self.freed[peer] = None

    def retire(self, unit: Unit) -> None:
        """Forget a unit that has its verdict, and close its job with the last one."""
        job = unit.job
        unit.drawn = None
        self.disclose(unit)
        job.waiting.pop(unit.index, None)
        job.units.pop(unit.index, None)
        job.version += 1
        self.touch(unit)
        if job.done and job.state is JobState.ACTIVE:
            self.close_job(job, JobState.FINISHED)


def _is_pending(thing: Alarmed, stamp: int) -> bool:
    if isinstance(thing, Execution):
        return thing.doing is (Doing.ASKED if stamp else Doing.LEASED)
    if isinstance(thing, Question):
        return thing.asking is (Asking.ASKED if stamp else Asking.DRAWN)
    if isinstance(thing, Job):
        return bool(thing.settled)
    if isinstance(thing, Query):
        return thing.leader is None and thing.leases == stamp and not thing.over
    if isinstance(thing, Unit):
        waits = thing.drawn is not None or thing.index in thing.job.waiting
        return thing.stage is Stage.COMPUTING and waits and thing.draws == stamp
    return not thing.connected and thing.session == stamp
