"""A light model of a project server for the baselines: units, hosts, a clock, and nothing else.

Hosts behave as in ``simulator.attackers``, but send their results openly, as BOINC's do.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

from simulator.attackers import TRUE, Behaviour, Deed
from simulator.crew import Member, behaviour, crew, patience
from simulator.scene import Scene, Tally

DEADLINE = 300.0
"""Seconds after which a result that did not come is given up, as the desk's leases."""

RETRY = 5.0
"""Seconds after which an idle host asks again."""

_REPLAYED = -1
SCAN = 32
"""Units that are looked at for a host before it is sent away."""


@dataclass(slots=True, eq=False)
class Host:
    """One identity of a machine. ``valid`` is what the policy counts in its favour."""

    number: int
    member: Member
    life: int
    behaviour: Behaviour
    valid: int = 0
    banned: bool = False


@dataclass(frozen=True, slots=True)
class Vote:
    """A host's answer."""

    host: Host
    deed: Deed


@dataclass(slots=True, eq=False)
class Task:
    """A unit: ``wanted`` results in all, ``out`` are being computed, ``votes`` have come."""

    index: int
    wanted: int = 1
    out: int = 0
    votes: list[Vote] = field(default_factory=list)
    hosts: set[int] = field(default_factory=set)
    answer: int | None = None

    @property
    def short(self) -> bool:
        """Whether it needs another host."""
        return self.answer is None and self.out + len(self.votes) < self.wanted


class Rule(Protocol):
    """A verification policy from the literature."""

    failed: int

    def take(self, host: Host) -> Task | None:
        """The unit that ``host`` computes next."""
        ...

    def came(self, task: Task, vote: Vote) -> None:
        """A result came."""
        ...

    def late(self, task: Task, host: Host) -> None:
        """A result did not come."""
        ...

    @property
    def open(self) -> int:
        """Units without a verdict."""
        ...

    @property
    def tasks(self) -> list[Task]:
        """All units."""
        ...


@dataclass(slots=True)
class Line:
    """Units that wait for hosts, first come first served; each host gets a unit once."""

    _waiting: deque[Task] = field(default_factory=deque)

    def add(self, task: Task) -> None:
        """Let ``task`` wait until it is not short any more."""
        self._waiting.append(task)

    def next(self, host: Host) -> Task | None:
        """The first unit that ``host`` may compute."""
        skipped: list[Task] = []
        found = None
        while self._waiting and len(skipped) < SCAN:
            task = self._waiting[0]
            if not task.short:
                self._waiting.popleft()
            elif host.number in task.hosts:
                skipped.append(self._waiting.popleft())
            else:
                found = task
                break
        self._waiting.extendleft(reversed(skipped))
        return found


class Pool:
    """One run of a rule."""

    def __init__(self, scene: Scene, rule: Rule) -> None:
        self.scene, self.rule = scene, rule
        self.hosts: list[Host] = []
        self.now = 0.0
        self._events: list[tuple[float, int, Host, Task | None, Deed | None]] = []
        self._numbers = count()
        self._executions = self._lost = 0
        self._moved = 0.0

    def run(self) -> Tally:
        """Let everybody work until every unit has a verdict, or nothing moves any more."""
        for member in crew(self.scene):
            self._join(member, 0, 0.0)
        rule, left, stall = self.rule, inf, patience(self.scene)
        while rule.open and self.now - self._moved < stall:
            self.now, _, host, task, deed = heappop(self._events)
            if task is not None and deed is not None:
                self._end(host, task, deed)
            if rule.open < left:
                left, self._moved = rule.open, self.now
            if host.banned:
                if host.behaviour.returns:
                    self._join(host.member, host.life + 1, self.scene.rejoin)
            elif task is not None and deed is not None and not _comes(deed):
                self._later(2 * RETRY, host)  # whoever is idle already asks before it
            else:
                self._begin(host)
        return self._tally()

    def _join(self, member: Member, life: int, seconds: float) -> None:
        host = Host(len(self.hosts), member, life, behaviour(self.scene, member, life))
        self.hosts.append(host)
        self._later(seconds, host)

    def _later(
        self, seconds: float, host: Host, task: Task | None = None, deed: Deed | None = None
    ) -> None:
        heappush(self._events, (self.now + seconds, next(self._numbers), host, task, deed))

    def _begin(self, host: Host) -> None:
        task = self.rule.take(host)
        if task is None:
            self._later(RETRY, host)
            return
        task.out += 1
        task.hosts.add(host.number)
        deed = host.behaviour.meet(task.index)
        if deed.copies:  # there is nothing to see; what it replays belongs to another unit
            deed = Deed(_REPLAYED - host.number)
        seconds = host.member.seconds * deed.effort if _comes(deed) else DEADLINE
        self._later(seconds, host, task, deed)

    def _end(self, host: Host, task: Task, deed: Deed) -> None:
        task.out -= 1
        if _comes(deed):
            self._executions += 1
            self.rule.came(task, Vote(host, deed))
        else:
            self._lost += 1
            self.rule.late(task, host)

    def _tally(self) -> Tally:
        done = [task for task in self.rule.tasks if task.answer is not None]
        paid = [vote for task in done for vote in task.votes if vote.deed.answer == task.answer]
        banned = [host for host in self.hosts if host.banned]
        return Tally(
            accepted=len(done),
            wrong=sum(task.answer != TRUE for task in done),
            failed=self.rule.failed,
            unfinished=self.rule.open,
            executions=self._executions,
            lost=self._lost,
            banned=len(banned),
            honest_banned=sum(host.member.honest for host in banned),
            identities=len(self.hosts),
            paid=len(paid),
            unearned=sum(not vote.deed.earns for vote in paid),
            copies=0,
            copies_accepted=0,
            minted=len(paid),
            held=len(paid),
            makespan=round(self._moved, 1),
            head="",
        )


def _comes(deed: Deed) -> bool:
    return deed.commits and deed.reveals
