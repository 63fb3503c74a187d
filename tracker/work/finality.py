"""Finality: when a verdict is not taken back any more, and what is done again until then.

A unit with a verdict is settled. It becomes final, and is paid, with the last unit of its batch or
after a time. When one of its peers is proven wrong before that, it is opened again.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tracker.work.floor import Floor
from tracker.work.state import Execution, Job, Peer, Unit
from tracker.work.table import Act, Turn
from validators.comparators import Finding
from workunits.ids import PeerKey
from workunits.results import Result

CHUNK = 500
"""Units that one ledger entry makes final: at two payees each it stays within its limits."""


class Finality:
    """Keeps settled units until they are final, or opens them again."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def settle(self, unit: Unit, now: float) -> None:
        """A unit has its verdict; what is in ``committed`` is right."""
        job, floor = unit.job, self._floor
        unit.turn(Turn.SETTLE)
        unit.drawn = None
        floor.disclose(unit)
        job.waiting.pop(unit.index, None)
        if job.settings.at_once:
            self._finish(unit)
            return
        unit.since = now
        for execution in unit.committed:
            execution.peer.held[execution] = None
            execution.finding = None
        unit.passed, unit.opinions = set(), {}
        del job.units[unit.index]
        job.settled[unit.index] = unit
        job.version += 1
        floor.touch(unit)
        if job.count(unit.index, -1):
            self._close(job, job.batch(unit.index))
        elif not job.watched:
            self._watch(job)

    def failed(self, unit: Unit) -> None:
        """A unit of a job failed without a verdict: that may complete its batch."""
        job = unit.job
        if not job.settings.at_once and job.count(unit.index, -1):
            self._close(job, job.batch(unit.index))

    def due(self, job: Job, now: float) -> None:
        """Time has passed: make final what was settled long enough ago."""
        job.watched = False
        before = now - job.settings.final_after
        old = [unit for unit in job.settled.values() if unit.since <= before]
        self._finalize(job, sorted(unit.index for unit in old))
        if job.settled:
            self._watch(job)

    def close(self, job: Job) -> None:
        """The job ends now: pay what was settled."""
        self._finalize(job, sorted(job.settled))

    def reopen(self, cheats: Sequence[Peer], submitter: PeerKey | None) -> list[Unit]:
        """Take back every settled verdict that rests on the word of ``cheats``, and strike it.

        With ``submitter`` only those of its jobs. What a referee confirmed stands. Returns the
        units, which need a decision now.
        """
        units = {
            execution.unit
            for peer in cheats
            for execution in peer.held
            if not execution.unit.confirmed
            and submitter in (None, execution.unit.job.manifest.submitter)
        }
        ordered = sorted(units, key=lambda unit: unit.id)
        for unit in ordered:
            self._reopen(unit, cheats)
        return ordered

    def _reopen(self, unit: Unit, cheats: Sequence[Peer]) -> None:
        job, floor = unit.job, self._floor
        left: list[Execution] = []
        for execution in unit.committed:
            del execution.peer.held[execution]
            if execution.peer in cheats:
                execution.act(Act.STRIKE)
            elif job.is_repeatable:
                execution.act(Act.REOPEN)
                execution.finding = Finding(Result.parse(unit.result))
                floor.executions[execution.token] = execution
                execution.peer.live[execution.token] = execution
                left.append(execution)
            else:
                execution.act(Act.SPARE)
            floor.touch(execution)
        unit.turn(Turn.REOPEN)
        unit.committed, unit.result, unit.reason, unit.meter = left, b"", "", 0
        unit.reopened, unit.attempts = bool(left or unit.silent), len(left)
        del job.settled[unit.index]
        job.units[unit.index] = unit
        job.count(unit.index, 1)
        job.version += 1
        floor.touch(unit)

    def _watch(self, job: Job) -> None:
        oldest = next(iter(job.settled.values()))
        job.watched = True
        self._floor.alarm(oldest.since + job.settings.final_after, job, 0)

    def _close(self, job: Job, batch: range) -> None:
        self._finalize(job, [index for index in batch if index in job.settled])

    def _finalize(self, job: Job, indices: Sequence[int]) -> None:
        for some in _chunks(indices):
            units = [job.settled.pop(index) for index in some]
            paid: dict[PeerKey, int] = {}
            for unit in units:
                for key, amount in unit.awards():
                    paid[key] = paid.get(key, 0) + amount
            self._floor.book.final(job.id, some, paid)
            for unit in units:
                self._finish(unit)

    def _finish(self, unit: Unit) -> None:
        job, floor = unit.job, self._floor
        payees = unit.payees()
        for execution in unit.committed:
            execution.peer.held.pop(execution, None)
            execution.act(Act.WIN if execution in payees else Act.SPARE)
            floor.touch(execution)
        job.paid += sum(amount for _, amount in unit.awards())
        unit.turn(Turn.FAIL if unit.reason else Turn.ACCEPT)
        job.failed += bool(unit.reason)
        job.accepted += not unit.reason
        floor.retire(unit)


def _chunks(indices: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(indices)
    while some := list(islice(rest, CHUNK)):
        yield some
