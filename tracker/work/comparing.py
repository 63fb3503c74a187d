"""Comparing: who is asked whether two results are the same, where the job brings a comparator.

A referee's opinion decides; where there is none, two opinions of different owners that agree. Who
was shown results of a unit, other than a referee, never computes it.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

from tracker.work.dispute import Couple, Dispute, Question, couple
from tracker.work.floor import Floor
from tracker.work.state import Job, Peer, Unit
from tracker.work.table import Asking, Hearing
from validators.comparators import Finding
from validators.electorate import Seat
from validators.policies import By
from workunits.errors import RefusedError
from workunits.ids import Digest, JobId, LeaseToken
from workunits.wire.compare import MAX_PAIRS, Judgement, Opinion

ROUNDS = 2
"""Comparisons that a peer is asked for at once, for each of its cores."""

_DRAW = b"openswarm comparison\n"


@dataclass(slots=True, eq=False)
class _Tray:
    """What one peer was drawn to compare: ``asked`` is with it, ``drawn`` waits its turn."""

    asked: dict[LeaseToken, Question] = field(default_factory=dict)
    drawn: deque[Question] = field(default_factory=deque)


class Comparing:
    """Gathers the opinions that a verdict needs.

    A method that returns a unit has just got the last of them.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._disputes: dict[Unit, dict[Couple, Dispute]] = {}
        self._trays: dict[Peer, _Tray] = {}
        self._waiting: dict[Dispute, None] = {}

    def waiting(self, job: Job) -> int:
        """Comparisons of a job for which nobody is there."""
        return sum(each.unit.job is job for each in self._waiting)

    def is_open(self, unit: Unit) -> bool:
        """Whether opinions on results of a unit are missing."""
        return unit in self._disputes

    def agree(self, unit: Unit, one: Finding, other: Finding) -> bool:
        """Whether two results of a unit are the same, as far as that is known."""
        if not unit.job.is_program:
            return unit.job.agree(one, other)
        if one.result.digest == other.result.digest:
            return True
        return unit.opinions.get(couple(one, other), False)

    def is_ready(self, unit: Unit, now: float) -> bool:
        """Whether every opinion on the results of a unit is there; the others are asked for."""
        if not unit.job.is_program:
            return True
        disputes = self._disputes.setdefault(unit, {})
        for one, other in _differing(unit):
            names = couple(one, other)
            if names not in unit.opinions and names not in disputes:
                disputes[names] = Dispute(unit, one, other)
                self._ask(disputes[names], now)
        if not disputes:
            del self._disputes[unit]
        return not disputes

    def tell(self, peer: Peer, job: JobId, judgement: Judgement, now: float) -> Unit | None:
        """Take an opinion. One that was not asked for, or is not any more, changes nothing."""
        tray = self._trays.get(peer)
        question = tray.asked.get(judgement.token) if tray else None
        if question is None:
            return None
        if not question.is_answered(job, judgement):
            error = RefusedError(f"comparison {judgement.token} is of other results than were sent")
            self._floor.outbox.fault(peer, error)
            return self._lose(question, now)
        if judgement.opinion is Opinion.FAILED:
            return self._lose(question, now)
        self._end(question, Hearing.TELL)
        dispute, same = question.dispute, judgement.opinion is Opinion.SAME
        dispute.hear(peer, same=same, referee=question.referee)
        return self._go_on(question, now)

    def decline(self, peer: Peer, token: LeaseToken, now: float) -> Unit | None:
        """A peer will not compare."""
        tray = self._trays.get(peer)
        question = tray.asked.get(token) if tray else None
        return self._lose(question, now) if question else None

    def overdue(self, question: Question, now: float) -> Unit | None:
        """A peer did not answer in time, or others were before this comparison for too long."""
        if question.asking is Asking.ASKED:
            reason = "the comparison is over its deadline"
            self._floor.outbox.revoke(question.peer, question.token, reason)
            return self._lose(question, now)
        self._end(question, Hearing.SKIP)
        return self._go_on(question, now)

    def gone(self, peer: Peer, now: float, reason: str = "") -> None:
        """A peer forgot what it was asked for, or is told to for a ``reason``: ask others."""
        tray = self._trays.pop(peer, None)
        questions = [*tray.asked.values(), *tray.drawn] if tray else []
        for question in questions:
            if question.asking in (Asking.DRAWN, Asking.ASKED):
                if reason and question.asking is Asking.ASKED:
                    self._floor.outbox.revoke(peer, question.token, reason)
                question.act(Hearing.SKIP)
                self._ask(question.dispute, now)

    def catch_up(self, peer: Peer, now: float) -> None:
        """A peer is there: ask for what waited for it."""
        for dispute in list(self._waiting):
            if peer.can_run(dispute.unit.job.manifest):
                self._ask(dispute, now)

    def drop(self, unit: Unit, now: float) -> None:
        """The results of a unit are not compared any more."""
        for dispute in self._disputes.pop(unit, {}).values():
            self._waiting.pop(dispute, None)
            question = dispute.question
            if question is None:
                continue
            if question.asking is Asking.ASKED:
                reason = "the comparison is not needed any more"
                self._floor.outbox.revoke(question.peer, question.token, reason)
            self._end(question, Hearing.REVOKE)
            self._send(question.peer, now)

    def _ask(self, dispute: Dispute, now: float) -> None:
        floor, unit = self._floor, dispute.unit
        token = LeaseToken(floor.next_token)
        if dispute.question is not None:
            before = dispute.question.peer
            dispute.passed |= {before.key, before.owner}
        dispute.question = None
        link = hashlib.sha256(_DRAW + floor.book.draw_link(unit.job.id) + b"%d" % token).digest()
        taken = unit.owners | dispute.heard
        key = None
        for out in (taken | dispute.passed, taken):
            seat = Seat(unit.id, By.REFEREE, out, frozenset(), "")
            key = key or floor.electorate.draw(link, unit.job.manifest, seat)
        if key is None:
            self._waiting[dispute] = None
            return
        self._waiting.pop(dispute, None)
        floor.next_token += 1
        peer = floor.peers[key]
        referee = floor.electorate.is_referee(key, unit.job.manifest)
        if not referee:
            unit.shown |= {key, peer.owner}
            floor.touch(unit)
        dispute.question = Question(token, dispute, peer, referee)
        self._trays.setdefault(peer, _Tray()).drawn.append(dispute.question)
        floor.alarm(now + floor.patience.draw, dispute.question, 0)
        self._send(peer, now)

    def _send(self, peer: Peer, now: float) -> None:
        """Ask a peer for as many comparisons as it may have at once."""
        floor, tray = self._floor, self._trays.get(peer)
        if tray is None:
            return
        cores = peer.offerings.cores if peer.offerings else 1
        while tray.drawn and len(tray.asked) < min(ROUNDS * cores, MAX_PAIRS):
            question = tray.drawn.popleft()
            if question.asking is not Asking.DRAWN:
                continue
            question.act(Hearing.SEND)
            tray.asked[question.token] = question
            job = question.dispute.unit.job
            # what it computes may come first
            seconds = floor.patience.reveal + (ROUNDS + 1) * job.manifest.limits.wall_seconds
            floor.outbox.compare(peer, job, question.pair, seconds)
            floor.alarm(now + seconds, question, 1)
        if not tray.asked and not tray.drawn:
            del self._trays[peer]

    def _lose(self, question: Question, now: float) -> Unit | None:
        self._end(question, Hearing.LOSE)
        question.dispute.lose()
        return self._go_on(question, now)

    def _end(self, question: Question, hearing: Hearing) -> None:
        question.act(hearing)
        self._trays[question.peer].asked.pop(question.token, None)

    def _go_on(self, question: Question, now: float) -> Unit | None:
        dispute = question.dispute
        unit = dispute.unit
        self._send(question.peer, now)
        if dispute.ruling is None:
            self._ask(dispute, now)
            return None
        names = couple(dispute.one, dispute.other)
        unit.opinions[names] = dispute.ruling
        del self._disputes[unit][names]
        if self._disputes[unit]:
            return None
        del self._disputes[unit]
        return unit


def _differing(unit: Unit) -> Iterator[tuple[Finding, Finding]]:
    """The results that somebody must compare; one that is no result is like no other.

    Where a referee voted, only what agrees with it matters.
    """
    judge = next((each.finding for each in unit.committed if each.referee), None)
    findings: dict[Digest, Finding] = {}
    for execution in unit.committed:
        finding = execution.finding
        assert finding is not None
        if not finding.result.failure(unit.job.manifest.outputs):
            findings.setdefault(finding.result.digest, finding)
    for pair in combinations(findings.values(), 2):
        if judge is None or judge.result.digest in couple(*pair):
            yield pair
