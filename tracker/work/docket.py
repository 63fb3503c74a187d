"""The docket: units that somebody waits for, from the question to the one word that ends it.

Requests and answers are in memory only. What a listener is told at the end is told when the rows
that say so are on disk.
"""

from functools import partial

from tracker.work.floor import MAX_ATTEMPTS, Floor
from tracker.work.query import Cause, Listener, Query, Ruling, Unanswerable
from tracker.work.routing import Routing
from tracker.work.state import Job, JobState, Unit
from tracker.work.table import Act, Turn
from workunits.errors import RefusedError
from workunits.models.answer import REJECTED, Answer, meter
from workunits.models.request import Request
from workunits.results import Result

MAX_UNITS = 3
"""Units that are made of one query, because two peers refused the answer of a third."""


class Docket:
    """Keeps queries, and their budgets."""

    def __init__(self, floor: Floor, routing: Routing) -> None:
        self._floor = floor
        self._routing = routing

    def open(
        self,
        job: Job,
        request: Request,
        listener: Listener,
        *,
        stream: bool,
        top: int,
        urgent: bool,
    ) -> Query:
        """A query to a job that is asked. Raises ``RefusedError`` when it cannot be one."""
        model = job.manifest.program.model
        if model is None or not model.asked or job.state is not JobState.ACTIVE:
            raise RefusedError(f"job {job.id.hex()[:12]} takes no requests")
        if request.most > model.most or len(request.prompt) >= model.context:
            raise RefusedError(
                f"{len(request.prompt):,} tokens and an answer of {request.most:,} are more than "
                f"the {model.context:,} and {model.most:,} that the job allows",
                hint="Ask for a shorter answer, or send a shorter prompt.",
            )
        most = meter(request, request.most)
        reserve = sum(job.manifest.award(most, place) for place in range(job.manifest.executions))
        left = self._floor.book.escrowed(job.id) - job.reserved
        if reserve > left or not job.fresh:
            raise RefusedError(
                f"the job has {left:,} credits left, and this request may cost {reserve:,}",
                hint="Its submitter can publish a new one with a larger budget.",
            )
        job.reserved += reserve
        return Query(request, listener, stream, top, urgent, reserve)

    def place(self, job: Job, query: Query, now: float) -> Unit:
        """Make a unit of a query, and find it a peer."""
        index = job.fresh.first
        job.fresh.take(index)
        unit = job.units[index] = Unit(job, index, query=query)
        query.units.append(unit.id)
        job.version += 1
        self._floor.touch(unit)
        self._routing.place(unit, query, now)
        return unit

    def again(self, unit: Unit, query: Query, now: float) -> Cause | None:
        """No execution of an open unit is alive: find it another peer. Returns why it is to fail
        instead, if it is."""
        query.leader = None
        if query.dismissed:
            self.cancel(unit, query)
        elif query.leases >= MAX_ATTEMPTS:
            return f"given up after {query.leases} leases"
        elif query.urgent and (reasons := self._routing.refusals(unit, now)):
            return Unanswerable.of(reasons)
        else:
            self._routing.place(unit, query, now)
        return None

    def cancel(self, unit: Unit, query: Query) -> None:
        """Nobody needs a unit to which nobody committed: it costs nothing."""
        self._routing.remove(unit)
        for execution in list(unit.leased):
            self._floor.outbox.revoke(execution.peer, execution.token, "nobody needs the answer")
            self._floor.drop(execution, Act.REVOKE)
        unit.turn(Turn.CANCEL)
        unit.reason = "nobody needs the answer"
        self._floor.retire(unit)
        self._end(unit, query, unit.reason)

    def answered(self, unit: Unit, query: Query, entry: int, now: float) -> None:
        """A unit is settled, by the ledger's ``entry``; what is in ``committed`` is right."""
        finding = unit.committed[0].finding
        assert finding is not None
        if unit.reason:
            self._refused(unit, query, finding.result, now)
            return
        self._close(unit, query)
        worker, *others = unit.committed
        ruling = Ruling(
            Answer.parse(finding.contents[0]),
            worker.peer.key,
            tuple(each.peer.key for each in others),
            entry,
            unit.id,
            sum(amount for _, amount in unit.awards()),
        )
        self._floor.outbox.told.append(partial(query.listener.settled, ruling))

    def failed(self, unit: Unit, query: Query, cause: Cause) -> None:
        """A unit ends without a verdict."""
        self._routing.remove(unit)
        self._end(unit, query, cause)

    def _refused(self, unit: Unit, query: Query, result: Result, now: float) -> None:
        is_refused = result.exit_status == REJECTED and not query.dismissed
        if is_refused and len(query.units) < MAX_UNITS and unit.job.fresh:
            query.leader = None
            self.place(unit.job, query, now)
        else:
            self._end(unit, query, f"the model gave no answer: {unit.reason}")

    def _end(self, unit: Unit, query: Query, cause: Cause) -> None:
        self._close(unit, query)
        self._floor.outbox.told.append(partial(query.listener.failed, cause))

    @staticmethod
    def _close(unit: Unit, query: Query) -> None:
        unit.job.reserved -= query.reserve
        query.over = True
