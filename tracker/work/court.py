"""The court: what happens to a unit after a commit, a reveal or a loss.

It applies what ``validators.policies`` decides: draws a peer to check, asks for results, pays
those who were right, bans those who were wrong too often.
"""

from collections import deque

from tracker.rows import ContentRow
from tracker.work.findings import read_finding
from tracker.work.floor import MAX_ATTEMPTS, Floor
from tracker.work.leasing import Leasing
from tracker.work.state import Execution, Job, JobState, Peer, Unit
from tracker.work.table import Act, Doing, Stage, Turn
from validators import policies
from validators.draw import draw
from validators.policies import Accept, Another, Next
from workunits.errors import RefusedError
from workunits.ids import PeerKey
from workunits.results import Result, commitment, seal
from workunits.statements import Statement
from workunits.wire.work import Reveal


class Court:
    """Moves units towards their verdicts."""

    def __init__(self, floor: Floor, leasing: Leasing) -> None:
        self._floor = floor
        self._leasing = leasing

    def decide(self, unit: Unit, now: float) -> None:
        """Nothing was shown yet: wait, draw a check, or ask for the results."""
        if unit.leased or unit.drawn:
            return
        if not unit.committed:
            self._reopen(unit, now)
            return
        commitments = [each.commitment for each in unit.committed]
        if policies.after_commit(unit.job.manifest, commitments) is Next.ANOTHER:
            self._another(unit, now)
            return
        unit.turn(Turn.REVEAL)
        self._floor.touch(unit)
        for execution in unit.committed:
            if execution.doing is Doing.COMMITTED:
                execution.act(Act.ASK)
                self._floor.touch(execution)
                self.ask(execution, now)
        self._settle(unit, now)

    def ask(self, execution: Execution, now: float) -> None:
        """Ask for a result; one that does not come in time is withheld."""
        seconds = self._floor.patience.reveal
        self._floor.outbox.ask(execution, seconds)
        self._floor.alarm(now + seconds, execution, 1)

    def draw(self, unit: Unit, now: float) -> None:
        """Draw who makes the next execution: a validator, or else a volunteer, of another owner.

        Where there is none the unit waits for one to connect.
        """
        floor, job = self._floor, unit.job

        def eligible(key: PeerKey) -> bool:
            peer = floor.peers[key]
            return unit.open_to(peer) and peer.can_run(job.manifest)

        def sound(key: PeerKey) -> bool:
            return not floor.peers[key].doubtful and eligible(key)

        def fresh(key: PeerKey) -> bool:
            return key not in unit.passed and sound(key)

        unit.checkpoint = floor.book.head
        unit.draws += 1
        for roster, wanted in (
            (floor.validators, fresh),
            (floor.validators, sound),
            (floor.volunteers, fresh),
            (floor.volunteers, sound),
            (floor.validators, eligible),
            (floor.volunteers, eligible),
        ):
            key = draw(unit.checkpoint, unit.id, unit.draws, roster, wanted)
            if key is None:
                continue
            peer = floor.peers[key]
            job.waiting.discard(unit.index)
            if unit.drawn is not peer:
                unit.drawn = peer
                peer.checks.append(unit)
            floor.touch(unit)
            floor.alarm(now + floor.patience.draw, unit, unit.draws)
            self._leasing.serve(peer, now)
            return
        unit.drawn = None
        job.waiting.add(unit.index)

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
        finding = read_finding(unit.job.manifest, reveal, known)
        execution.act(Act.REVEAL)
        execution.finding = finding
        floor.touch(execution)
        if finding is not known and finding.contents:
            outputs = zip(finding.result.outputs, finding.contents, strict=True)
            floor.outbox.rows += [ContentRow(output.ref.v2, data) for output, data in outputs]
        self._settle(unit, now)

    def withhold(self, execution: Execution, now: float) -> None:
        """A committed result did not come, or was not what was committed."""
        execution.peer.withheld += 1
        self._floor.touch(execution.peer)
        self._drop_committed(execution, Act.WITHHOLD, now)

    def lose(self, execution: Execution, act: Act, now: float) -> None:
        """A lease ended without a commitment. One that was given back is no attempt."""
        unit = execution.unit
        unit.passed.add(execution.peer.key)
        unit.attempts -= act is Act.RELEASE
        self._floor.drop(execution, act)
        self._floor.touch(unit)
        self.decide(unit, now)

    def redraw(self, peer: Peer, now: float) -> None:
        """``peer`` will not come for what it was drawn for."""
        checks, peer.checks = peer.checks, deque()
        for unit in checks:
            if unit.drawn is peer and unit.stage is Stage.COMPUTING:
                unit.drawn = None
                self.draw(unit, now)

    def cancel(self, job: Job, statement: Statement) -> None:
        """Revoke all that is live of a job, and close it."""
        for unit in list(job.units.values()):
            for execution in (*unit.leased, *unit.committed):
                reason = "the job was cancelled"
                self._floor.outbox.revoke(execution.peer, execution.token, reason)
                self._floor.drop(execution, Act.REVOKE)
            unit.turn(Turn.CANCEL)
            unit.drawn = None
            self._floor.touch(unit)
        self._floor.close_job(job, JobState.CANCELLED, statement)

    def _another(self, unit: Unit, now: float) -> None:
        if unit.attempts >= MAX_ATTEMPTS:
            self._fail(unit, f"given up after {unit.attempts} executions")
        else:
            self.draw(unit, now)

    def _reopen(self, unit: Unit, now: float) -> None:
        if unit.attempts >= MAX_ATTEMPTS:
            self._fail(unit, f"given up after {unit.attempts} lost executions")
            return
        unit.turn(Turn.LOSE)
        unit.job.waiting.discard(unit.index)
        unit.job.redo.append(unit.index)
        self._floor.touch(unit)
        self._leasing.feed(now)

    def _settle(self, unit: Unit, now: float) -> None:
        if unit.stage is not Stage.REVEALING:
            return
        findings = [each.finding for each in unit.committed if each.finding]
        if len(findings) < len(unit.committed):
            return
        verdict = policies.after_reveal(unit.job.manifest, findings, unit.job.agree)
        if isinstance(verdict, Accept):
            self._accept(unit, verdict, now)
        elif isinstance(verdict, Another):
            unit.turn(Turn.CONTINUE)
            self._floor.touch(unit)
            self._another(unit, now)
        else:
            for execution in unit.committed:
                execution.peer.alone += 1
                self._floor.touch(execution.peer)
            self._fail(unit, verdict.reason)

    def _accept(self, unit: Unit, verdict: Accept, now: float) -> None:
        job, floor = unit.job, self._floor
        cheats = []
        for at, execution in enumerate(unit.committed):
            peer = execution.peer
            if at in verdict.losers:
                execution.act(Act.LOSE)
                peer.wrong += 1
                job.wrong += 1
                if policies.is_banned(peer.wrong):
                    cheats.append(peer)
            else:
                execution.act(Act.WIN if at in verdict.winners else Act.SPARE)
                peer.right += 1
            floor.end(execution)
            floor.touch(peer)
        price = job.manifest.price
        cast = [
            (each.peer.key, each.token, each.finding.result.encode())
            for each in unit.committed
            if each.finding
        ]
        floor.book.verdict(job.id, unit.index, cast, verdict.winners, verdict.losers, price)
        job.paid += price * len(verdict.winners)
        finding = unit.committed[verdict.winners[0]].finding
        assert finding is not None
        unit.result = finding.result.encode()
        unit.reason = finding.result.failure(job.manifest.outputs)
        unit.turn(Turn.FAIL if unit.reason else Turn.ACCEPT)
        job.failed += bool(unit.reason)
        job.accepted += not unit.reason
        floor.retire(unit)
        for peer in cheats:
            self._ban(peer, now)

    def _fail(self, unit: Unit, reason: str) -> None:
        for execution in list(unit.committed):
            self._floor.outbox.revoke(execution.peer, execution.token, reason)
            self._floor.drop(execution, Act.REVOKE)
        unit.turn(Turn.FAIL)
        unit.reason = reason
        unit.job.failed += 1
        self._floor.retire(unit)

    def _ban(self, peer: Peer, now: float) -> None:
        if peer.banned:
            return
        peer.banned = True
        floor = self._floor
        floor.validators.discard(peer.key)
        floor.volunteers.discard(peer.key)
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
        floor.outbox.fault(peer, banned(peer))
        self._leasing.feed(now)

    def _drop_committed(self, execution: Execution, act: Act, now: float) -> None:
        unit = execution.unit
        self._floor.drop(execution, act)
        if unit.stage is Stage.REVEALING:
            unit.turn(Turn.CONTINUE)
        self._floor.touch(unit)
        self.decide(unit, now)


class BannedError(RefusedError):
    """The peer is a proven cheat."""

    code = "banned"


def banned(peer: Peer) -> BannedError:
    """The refusal that a banned peer gets."""
    return BannedError(
        f"this peer was banned after {peer.wrong} wrong results",
        hint="If its hardware is at fault, repair it and start with a new key.",
    )
