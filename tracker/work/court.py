"""The court: what happens to a unit after a commit, a reveal or a loss.

It applies what ``validators.policies`` decides: draws a peer to check, asks for results, settles
units, and has those punished who were wrong.
"""

from collections import deque
from collections.abc import Sequence

from tracker.rows import ContentRow
from tracker.work.comparing import Comparing
from tracker.work.dispute import Question
from tracker.work.docket import Docket
from tracker.work.finality import Finality
from tracker.work.findings import read_finding
from tracker.work.floor import MAX_ATTEMPTS, Floor
from tracker.work.leasing import Leasing
from tracker.work.query import LASTING, Cause
from tracker.work.routing import Routing
from tracker.work.sanctions import Sanctions, banned
from tracker.work.state import Execution, Job, JobState, Peer, Unit
from tracker.work.table import Act, Asking, Doing, Stage, Turn
from validators import policies
from validators.electorate import Seat
from validators.policies import Accept, Another, By, Verdict
from workunits.entries import Draw
from workunits.errors import RefusedError
from workunits.ids import NOBODY, LeaseToken
from workunits.results import Result, commitment, seal
from workunits.statements import Statement
from workunits.wire.compare import Compared
from workunits.wire.work import Reveal


class Court:
    """Moves units towards their verdicts."""

    def __init__(self, floor: Floor, leasing: Leasing, routing: Routing, docket: Docket) -> None:
        self._floor = floor
        self._leasing = leasing
        self._routing = routing
        self._docket = docket
        self._sanctions = Sanctions(floor)
        self.finality = Finality(floor)
        self.comparing = Comparing(floor)

    def decide(self, unit: Unit, now: float) -> None:
        """Nothing more was shown: wait, draw a check, or ask for the results."""
        if unit.leased or unit.drawn:
            return
        if not unit.committed:
            self._reopen(unit, now)
            return
        if another := self._before_reveal(unit, now):
            self._another(unit, another.by, now)
            return
        unit.turn(Turn.REVEAL)
        self._floor.touch(unit)
        for execution in unit.committed:
            if execution.doing is Doing.COMMITTED:
                execution.act(Act.ASK)
                self._floor.touch(execution)
                self.ask(execution, now)
        self.settle(unit, now)

    def ask(self, execution: Execution, now: float) -> None:
        """Ask for a result; one that does not come in time is withheld."""
        seconds = self._floor.patience.reveal
        self._floor.outbox.ask(execution, seconds)
        self._floor.alarm(now + seconds, execution, 1)

    def draw(self, unit: Unit, now: float) -> None:
        """Draw who makes the next execution; where nobody can, the unit waits for somebody."""
        floor, job = self._floor, unit.job
        peer = self._elect(unit)
        patience = floor.patience.check if unit.query else floor.patience.draw
        unit.draws += 1
        floor.touch(unit)
        if peer is None:
            unit.drawn = None
            since = job.waiting.setdefault(unit.index, now)
            if now - since >= floor.patience.draw and self._lapse(unit, now):
                return
            floor.alarm(now + floor.patience.draw, unit, unit.draws)
            return
        job.waiting.pop(unit.index, None)
        floor.alarm(now + patience, unit, unit.draws)
        if unit.query:
            self._routing.check(unit, peer, now)
            return
        if unit.drawn is not peer:
            unit.drawn = peer
            peer.checks.append(unit)
        self._leasing.serve(peer, now)

    def _lapse(self, unit: Unit, now: float) -> bool:
        """Do without an audit that nobody is there to make; a dispute or a copy waits on."""
        if unit.by is not By.REFEREE or not unit.committed or unit.shown:
            return False
        if not self._floor.electorate:
            return False  # nobody at all: the tracker has just started, or is cut off
        another = self._before_reveal(unit, now)
        if another is None or not another.may_lapse or unit.leased:
            return False
        self._floor.book.drawn(Draw(unit.index, 1, NOBODY))
        unit.asked.append(NOBODY)
        unit.job.waiting.pop(unit.index, None)
        self.decide(unit, now)
        return True

    def _elect(self, unit: Unit) -> Peer | None:
        """Draw a peer; one that was shown results of the unit is drawn past at once."""
        floor, job = self._floor, unit.job
        while True:
            seat = Seat(unit.id, unit.by, unit.owners, frozenset(unit.asked), unit.platform)
            key = floor.electorate.draw(floor.book.draw_link(job.id), job.manifest, seat)
            if key is None:
                return None
            floor.book.drawn(Draw(unit.index, int(unit.by is By.REFEREE), key))
            again = key in unit.asked
            unit.asked.append(key)
            if unit.open_to(floor.peers[key]):
                return floor.peers[key]
            if again:
                return None

    def reveal(self, execution: Execution, reveal: Reveal, now: float) -> None:
        """Take a result. Raises ``RemoteError`` when it is not what was committed."""
        unit, floor = execution.unit, self._floor
        digest = Result.digest_of(reveal.result)
        if (
            commitment(unit.id, digest) != execution.commitment
            or seal(execution.peer.key, unit.id, digest) != execution.seal
        ):
            raise RefusedError(
                f"the result of unit {unit.id} is not what was committed",
                hint="A commitment that was copied from another peer cannot be revealed.",
            )
        known = next((each.finding for each in unit.committed if each.finding), None)
        query = unit.query
        asked = (query.request, query.halt) if query else (None, 0)
        finding = read_finding(unit.job.manifest, reveal, known, *asked)
        execution.act(Act.REVEAL)
        execution.finding = finding
        floor.touch(execution)
        if finding is not known and finding.contents and query is None:
            outputs = zip(finding.result.outputs, finding.contents, strict=True)
            floor.outbox.rows += [ContentRow(output.ref.v2, data) for output, data in outputs]
        self.settle(unit, now)

    def forget(self, unit: Unit, now: float) -> None:
        """What the votes on a unit claim is not known any more, and nobody can check it: others
        make it anew."""
        reason = "what was claimed of this answer is lost"
        for execution in list(unit.committed):
            self._floor.outbox.revoke(execution.peer, execution.token, reason)
            self._drop_committed(execution, Act.REVOKE, now)

    def withhold(self, execution: Execution, now: float) -> None:
        """A committed result did not come, or was not what was committed."""
        execution.peer.withheld += 1
        self._floor.touch(execution.peer)
        self._sanctions.reconsider(execution.peer)
        if execution.unit.job.is_repeatable:  # what it committed to can still be compared
            execution.unit.silent.append(execution)
            execution.unit.reopened = True
        self._drop_committed(execution, Act.WITHHOLD, now)

    def lose(self, execution: Execution, act: Act, now: float, reason: str = "") -> None:
        """A lease ended without a commitment. One that was given back is no attempt; ``reason`` is
        why it was."""
        unit, peer = execution.unit, execution.peer
        unit.passed.add(peer.key)
        if unit.query and reason in LASTING:
            unit.query.refused[peer.key] = reason
        unit.attempts -= act is Act.RELEASE
        if act is Act.EXPIRE:
            peer.late += 1
            self._floor.touch(peer)
            self._sanctions.reconsider(peer)
        self._floor.drop(execution, act)
        self._floor.touch(unit)
        self.decide(unit, now)

    def tell(self, peer: Peer, batch: Compared, now: float) -> None:
        """Take what a peer says of results that it was asked to compare."""
        for judgement in batch:
            self._compared(self.comparing.tell(peer, batch.job, judgement, now), now)

    def decline(self, peer: Peer, token: LeaseToken, now: float) -> None:
        """A peer gives back what is no lease: perhaps a comparison."""
        self._compared(self.comparing.decline(peer, token, now), now)

    def overdue(self, question: Question, now: float) -> None:
        """A comparison did not come in time."""
        if question.asking is Asking.ASKED:
            question.peer.late += 1
            self._floor.touch(question.peer)
            self._sanctions.reconsider(question.peer)
        self._compared(self.comparing.overdue(question, now), now)

    def _compared(self, unit: Unit | None, now: float) -> None:
        if unit is not None:
            self.settle(unit, now)

    def redraw(self, peer: Peer, now: float) -> None:
        """``peer`` will not come for what it was drawn for."""
        checks, peer.checks = peer.checks, deque()
        for unit in (*self._routing.drawn(peer), *checks):
            if unit.drawn is peer and unit.stage is Stage.COMPUTING:
                unit.drawn = None
                self.draw(unit, now)

    def cancel(self, job: Job, statement: Statement, now: float) -> None:
        """Pay what was settled, revoke all that is live of a job, and close it."""
        self.finality.close(job)
        for unit in list(job.units.values()):
            for execution in (*unit.leased, *unit.committed):
                reason = "the job was cancelled"
                self._floor.outbox.revoke(execution.peer, execution.token, reason)
                self._floor.drop(execution, Act.REVOKE)
            self.comparing.drop(unit, now)
            unit.turn(Turn.CANCEL)
            unit.drawn = None
            self._floor.disclose(unit)
            self._floor.touch(unit)
            if unit.query:
                self._docket.failed(unit, unit.query, "the job was cancelled")
        self._routing.close(job)
        self._floor.close_job(job, JobState.CANCELLED, statement)

    def _before_reveal(self, unit: Unit, now: float) -> Another | None:
        job = unit.job
        if unit.index in job.answers:
            return None  # the answer is known: one result is enough, right or wrong
        return policies.before_reveal(
            job.settings,
            unit.demand(self._floor.wall(now)),
            [each.commitment for each in unit.committed],
            [each.referee for each in unit.committed],
            exact=job.is_exact,
        )

    def _another(self, unit: Unit, by: By, now: float) -> None:
        if unit.attempts >= MAX_ATTEMPTS:
            self.fail(unit, f"given up after {unit.attempts} executions")
        else:
            unit.by = by
            self.draw(unit, now)

    def _reopen(self, unit: Unit, now: float) -> None:
        if unit.attempts >= MAX_ATTEMPTS:
            self.fail(unit, f"given up after {unit.attempts} lost executions")
            return
        unit.turn(Turn.LOSE)
        unit.job.waiting.pop(unit.index, None)
        self._floor.touch(unit)
        if unit.query:
            if cause := self._docket.again(unit, unit.query, now):
                self.fail(unit, cause)
            return
        unit.job.redo.append(unit.index)
        self._leasing.feed(now)

    def settle(self, unit: Unit, now: float) -> None:
        """Judge a unit whose results are all there, once it is known which of them are the same."""
        if unit.stage is not Stage.REVEALING:
            return
        if not all(each.finding for each in unit.committed):
            return
        if not self.comparing.is_ready(unit, now):
            return
        verdict = self._judge(unit, now)
        if isinstance(verdict, Accept):
            self._accept(unit, verdict, now)
        elif isinstance(verdict, Another):
            unit.turn(Turn.CONTINUE)
            self._floor.touch(unit)
            self._another(unit, verdict.by, now)
        else:
            for execution in unit.committed:
                execution.peer.alone += 1
                self._floor.touch(execution.peer)
                self._sanctions.reconsider(execution.peer)
            self.fail(unit, verdict.reason)

    def _judge(self, unit: Unit, now: float) -> Verdict:
        job = unit.job
        everyone = range(len(unit.committed))
        if (answer := job.answers.get(unit.index)) is not None:
            right = tuple(at for at in everyone if unit.committed[at].commitment == answer)
            return Accept(right, tuple(at for at in everyone if at not in right))
        findings = [each.finding for each in unit.committed if each.finding]
        groups = [
            tuple(at for at, other in enumerate(findings) if self.comparing.agree(unit, one, other))
            for one in findings
        ]
        referees = [each.referee for each in unit.committed]
        wanted = unit.demand(self._floor.wall(now))
        return policies.decide(job.settings, wanted, groups, referees)

    def _accept(self, unit: Unit, verdict: Accept, now: float) -> None:
        job, cast = unit.job, unit.committed
        right, wrong = ([cast[at] for at in places] for places in (verdict.right, verdict.wrong))
        known = unit.index in job.answers
        verified = known or policies.is_verified(verdict.right, [each.referee for each in cast])
        judges = [each.peer.owner for each in right if each.referee]
        silent = self._contradicted(unit, right[0]) if right and verified else []
        unit.committed, unit.confirmed = right, known or bool(judges)
        finding = right[0].finding if right else None
        unit.meter = finding.result.meter if finding else 0
        entry = self._write(unit, cast, verdict, silent)
        if finding:
            unit.result = finding.result.encode()
            unit.reason = finding.result.failure(job.manifest.outputs)
        for execution in wrong:
            self._end(execution, Act.LOSE)
            execution.peer.wrong += 1
            job.wrong += 1
        for execution in right:
            self._end(execution, Act.HOLD)
            execution.peer.right += 1
            if verified:
                self._sanctions.verify(execution.peer, unit, now)
            self._sanctions.reconsider(execution.peer)
        private = policies.is_private(judges, self._floor.electorate.operator, known=known)
        by = job.manifest.submitter if private else None
        cheats = [each.peer for each in (*wrong, *silent)]
        out = self._sanctions.strike(cheats, by, now)
        # what rests on a cheat is opened before this unit can complete its batch
        again = self.finality.reopen(cheats, by)
        if right:
            self.finality.settle(unit, now)
            if unit.query:
                self._docket.answered(unit, unit.query, entry, now)
        else:
            unit.turn(Turn.CONTINUE)
            again.append(unit)
        for each in again:
            if each.stage is Stage.COMPUTING:
                self.decide(each, now)
        for peer in out:
            self._ban(peer, now)

    def _write(
        self, unit: Unit, cast: Sequence[Execution], verdict: Accept, silent: Sequence[Execution]
    ) -> int:
        job = unit.job
        paid = dict(unit.awards()) if job.settings.at_once else {}
        said = [
            (each.peer.key, each.token, each.finding.result.encode())
            for each in cast
            if each.finding
        ]
        self._floor.book.verdict(
            *(job.id, unit.index, said, verdict.right, verdict.wrong, paid),
            silent=tuple(sorted(each.token for each in silent)),
            known=unit.index in job.answers,
        )
        return self._floor.book.entries - 1

    def _end(self, execution: Execution, act: Act) -> None:
        execution.act(act)
        self._floor.end(execution)
        self._floor.touch(execution.peer)

    def _contradicted(self, unit: Unit, right: Execution) -> list[Execution]:
        """Those who withheld a result that was not the right one: their commitments prove it.

        A peer that is not asked at once knows that somebody checks it, and could otherwise take a
        lie back.
        """
        found = [each for each in unit.silent if each.commitment != right.commitment]
        for execution in found:
            execution.act(Act.LOSE)
            execution.peer.wrong += 1
            unit.job.wrong += 1
            self._floor.touch(execution, execution.peer)
        unit.silent = [each for each in unit.silent if each not in found]
        return found

    def fail(self, unit: Unit, cause: Cause) -> None:
        """End a unit without a result."""
        reason = str(cause)
        for execution in (*unit.leased, *unit.committed):
            self._floor.outbox.revoke(execution.peer, execution.token, reason)
            self._floor.drop(execution, Act.REVOKE)
        unit.turn(Turn.FAIL)
        unit.reason = reason
        self._floor.book.failed(unit.job.id, unit.index, reason)
        unit.job.failed += 1
        self._floor.retire(unit)
        self.finality.failed(unit)
        if unit.query:
            self._docket.failed(unit, unit.query, cause)

    def _ban(self, peer: Peer, now: float) -> None:
        if peer.banned:
            return
        peer.banned = True
        floor = self._floor
        floor.electorate.leave(peer.key)
        floor.book.ban(peer.key)
        floor.isolate(peer.owner, now)
        floor.hungry.pop(peer, None)
        floor.touch(peer)
        reason = f"this peer was banned after {peer.wrong} wrong results"
        for execution in list(peer.live.values()):
            if execution.token not in peer.live:
                continue  # another unit's end took it along
            floor.outbox.revoke(peer, execution.token, reason)
            if execution.doing is Doing.LEASED:
                self.lose(execution, Act.REVOKE, now)
            else:
                self._drop_committed(execution, Act.REVOKE, now)
        self.redraw(peer, now)
        self.comparing.gone(peer, now, reason)
        floor.outbox.fault(peer, banned(peer))
        self._leasing.feed(now)

    def _drop_committed(self, execution: Execution, act: Act, now: float) -> None:
        unit = execution.unit
        self._floor.drop(execution, act)
        if unit.stage is Stage.REVEALING:
            self.comparing.drop(unit, now)
            unit.turn(Turn.CONTINUE)
        self._floor.touch(unit)
        self.decide(unit, now)
