"""Asking: what the desk does for who waits for an answer, while it is made."""

from tracker.work.court import Court
from tracker.work.docket import Docket
from tracker.work.floor import Floor
from tracker.work.query import Listener, Query, Ruling, Unanswerable
from tracker.work.routing import Routing
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Act, Doing
from workunits.errors import RefusedError
from workunits.models.request import Request
from workunits.wire.models import Tokens

__all__ = ("Asking", "Listener", "Ruling")

MAX_CLAIMED = 1 << 22
"""Tokens of claimed answers that are kept; of those beyond it there are no hints, and who
measures margins gets no units."""


class Asking:
    """Takes requests, and the tokens that peers say."""

    def __init__(self, floor: Floor, routing: Routing, docket: Docket, court: Court) -> None:
        self._floor = floor
        self._routing = routing
        self._docket = docket
        self._court = court

    def ask(
        self,
        job: Job,
        request: Request,
        listener: Listener,
        now: float,
        *,
        stream: bool,
        top: int,
        urgent: bool,
    ) -> Unit:
        """Begin a request. Raises ``RefusedError``."""
        query = self._docket.open(job, request, listener, stream=stream, top=top, urgent=urgent)
        return self._docket.place(job, query, now)

    def said(self, peer: Peer, tokens: Tokens, now: float) -> None:
        """Take tokens of an answer. Raises ``MalformedError`` or ``LimitError`` when they are not
        the next ones; those under a lease that is over change nothing."""
        execution = peer.live.get(tokens.token)
        if execution is None or execution.doing is not Doing.LEASED:
            return
        unit, query = execution.unit, execution.unit.query
        model = unit.job.manifest.program.model
        if model is None:
            raise RefusedError(f"unit {unit.id} asks no model")
        claim = execution.claim
        if claim is None or claim.lost:
            return
        before = len(claim.ids)
        claim.hear(tokens, min(model.most, query.request.most) if query else model.most)
        self._floor.claimed += len(claim.ids) - before
        if self._floor.claimed > MAX_CLAIMED and query is None:
            if unit.job.manifest.comparator.by_margin:
                reason = "too many answers wait for their checks"
                self._floor.outbox.revoke(peer, execution.token, reason)
                self._court.lose(execution, Act.RELEASE, now)
                return
            self._floor.claimed -= len(claim.ids)
            claim.lose()
        if tokens.finish:
            self._routing.measure(execution, tokens.rate, now)
        if query and not unit.committed:
            if query.leader is None:
                self._lead(execution, query, now)
            if query.leader == execution.token:
                query.tell(tokens)

    def committed(self, execution: Execution, query: Query, now: float) -> None:
        """An execution was committed: nobody else need make the same one."""
        if len(execution.unit.committed) == 1:
            self._lead(execution, query, now)
        self._routing.measure(execution, 0, now)

    def anew(self, execution: Execution, now: float) -> None:
        """A checker refused a hint that was altered, as it should: it gets another one."""
        unit, peer = execution.unit, execution.peer
        self._floor.outbox.revoke(peer, execution.token, "the hint was altered; check another one")
        self._floor.drop(execution, Act.REVOKE)
        unit.attempts -= 1
        self._routing.again(unit, peer, now)

    def late(self, query: Query, now: float) -> None:
        """Nothing was said for too long."""
        self._routing.hedge(query, now)

    def halt(self, unit: Unit, after: int) -> None:
        """No more than ``after`` tokens are needed; too late where the answer has its end."""
        query = unit.query
        at = self._at(query) if query else None
        if query is None or at is None or at.committed:
            return
        live = [each for each in at.leased if each.claim and each.claim.finish is None]
        if at.leased and not live:
            return
        query.halt = max(1, min(after, query.halt or after))
        for execution in live:
            self._floor.outbox.halt(execution, query.halt)

    def dismiss(self, unit: Unit) -> None:
        """Nobody listens to tokens any more; ``settled`` or ``failed`` are still called."""
        query = unit.query
        if query is None or query.over:
            return
        query.dismissed = True
        at = self._at(query)
        if at is None:
            return
        if not at.committed and (not query.told or not at.leased):
            self._docket.cancel(at, query)
        else:
            self.halt(unit, len(query.told))

    def sweep(self, now: float) -> None:
        """Time has passed: serve who can be served, and give up the others."""
        for unit in self._routing.sweep(now):
            self._court.fail(unit, Unanswerable.of(self._routing.refusals(unit, now)))

    def gone(self, peer: Peer, now: float) -> None:
        """A peer lost its connection: what somebody waits for goes to others at once."""
        self._routing.leave(peer)
        for execution in list(peer.live.values()):
            if execution.doing is Doing.LEASED and execution.unit.query:
                self._court.lose(execution, Act.REVOKE, now)
        for unit in self._routing.drawn(peer):
            unit.drawn = None
            self._court.draw(unit, now)

    def _lead(self, execution: Execution, query: Query, now: float) -> None:
        """The first that says or commits anything leads; a hedge against it is over."""
        query.leader = execution.token
        for other in [each for each in execution.unit.leased if each is not execution]:
            reason = "another peer was faster"
            self._floor.outbox.revoke(other.peer, other.token, reason)
            self._floor.drop(other, Act.REVOKE)

    def _at(self, query: Query) -> Unit | None:
        """The unit that a query has now; None when it is over."""
        at = query.units[-1]
        job = self._floor.jobs.get(at.job)
        return job.units.get(at.index) if job else None
