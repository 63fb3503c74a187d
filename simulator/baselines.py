"""What other systems do, from their published rules; they exist only here, to be compared with.

``quorum-2`` and ``quorum-3`` are BOINC's plain replication: ``min_quorum`` results are computed and
a strict majority of them, ``min_quorum / 2 + 1``, must agree (BOINC, ``sched/validate_util2.cpp``;
github.com/BOINC/boinc/wiki/Job-replication). ``boinc-adaptive`` and ``sarmenta``: see below.
"""

from collections.abc import Callable
from math import e, prod
from random import Random

from simulator.pool import Host, Line, Pool, Rule, Task, Vote
from simulator.scene import Scene, Tally

MOST = 12
"""Results of one unit after which it is given up, as the desk does."""


class Replication:
    """A unit is given to ``quorum`` hosts, and to one more as long as no majority agrees."""

    def __init__(self, scene: Scene, quorum: int) -> None:
        self.failed = 0
        self._tasks = [Task(index) for index in range(scene.units)]
        self._fresh = iter(self._tasks)
        self._line = Line()
        self._quorum = quorum
        self._open = scene.units

    @property
    def open(self) -> int:
        return self._open

    @property
    def tasks(self) -> list[Task]:
        return self._tasks

    def take(self, host: Host) -> Task | None:
        trusted = self._trusts(host)
        if trusted:
            return self._start(trusted=True) or self._line.next(host)
        task = self._line.next(host)
        if task is not None and task.wanted < self._quorum:
            self._replicate(task)
        return task or self._start(trusted=False)

    def came(self, task: Task, vote: Vote) -> None:
        task.votes.append(vote)
        if len(task.votes) < task.wanted:
            return
        if task.wanted < self._quorum:
            self._settle(task, vote.deed.answer)
            return
        answers = [each.deed.answer for each in task.votes]
        best = max(answers, key=answers.count)
        if answers.count(best) >= self._quorum // 2 + 1:
            for each in task.votes:
                self._judge(each.host, valid=each.deed.answer == best)
            self._settle(task, best)
        elif len(task.votes) >= MOST:
            self.failed += 1
            self._open -= 1
        else:
            task.wanted += 1
            self._line.add(task)

    def late(self, task: Task, host: Host) -> None:
        self._line.add(task)

    def _trusts(self, host: Host) -> bool:
        return False

    def _judge(self, host: Host, *, valid: bool) -> None:
        pass

    def _start(self, *, trusted: bool) -> Task | None:
        task = next(self._fresh, None)
        if task is not None and not trusted:
            self._replicate(task)
        return task

    def _replicate(self, task: Task) -> None:
        task.wanted = self._quorum
        self._line.add(task)

    def _settle(self, task: Task, answer: int) -> None:
        task.answer = answer
        self._open -= 1


class Adaptive(Replication):
    """BOINC's adaptive replication (boinc.berkeley.edu/trac/wiki/AdaptiveReplication, version 10).

    A host with CV consecutive valid results is trusted with a single copy, never if CV < 10, else
    with probability 1 - 1/CV; the others' units are replicated twice. CV counts replicated units
    that were validated, and an invalid one makes it zero. Trusted hosts are preferably sent
    unreplicated units, the others replicated ones.
    """

    TRUSTED = 10

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, quorum=2)
        self._rng = Random(f"boinc {scene.seed}")  # noqa: S311 - chance that can be replayed

    def _trusts(self, host: Host) -> bool:
        return host.valid >= self.TRUSTED and self._rng.random() < 1 - 1 / host.valid

    def _judge(self, host: Host, *, valid: bool) -> None:
        host.valid = host.valid + 1 if valid else 0


class Credibility:
    """Credibility-based fault tolerance with spot-checks, blacklisting and backtracking.

    Sarmenta, "Sabotage-tolerance mechanisms for volunteer computing systems", Future Generation
    Computer Systems 18(4), 2002, sections 3.2 and 4. A worker that passed k spot-checks has the
    credibility ``1 - f/(1-f) / (k e)``, and ``1 - f`` before the first; a group of equal results
    the probability that it is right and all other groups are wrong, given that at most one is
    right. A unit is accepted when its best group reaches the threshold. Who fails a spot-check is
    blacklisted and everything it did is forgotten; units that lose their credibility by that are
    open again.

    Workers cannot tell spot-checks from units. Their own execution is counted, the master's, which
    serves for many workers, is not.
    """

    THRESHOLD = 0.999
    """The error rate that is aimed at is 1e-3."""

    FAULTY = 0.2
    """The share of saboteurs that is assumed."""

    SPOT = 0.1
    """Share of the work that is spot-checks, as in the paper's experiments."""

    def __init__(self, scene: Scene) -> None:
        self.failed = 0
        self._tasks = [Task(index) for index in range(scene.units)]
        self._rng = Random(f"sarmenta {scene.seed}")  # noqa: S311 - chance that can be replayed
        self._round = Line()
        self._done: dict[int, list[Task]] = {}
        self._open = scene.units
        for task in self._tasks:
            self._round.add(task)

    @property
    def open(self) -> int:
        return self._open

    @property
    def tasks(self) -> list[Task]:
        return self._tasks

    def take(self, host: Host) -> Task | None:
        if self._rng.random() < self.SPOT:
            return Task(self._rng.randrange(len(self._tasks)), wanted=0)
        while (task := self._round.next(host)) is not None:
            self._weigh(task)
            if task.answer is None:
                return task
        return None

    def came(self, task: Task, vote: Vote) -> None:
        host = vote.host
        if task.wanted == 0:
            if vote.deed.answer:
                self._blacklist(host)
            else:
                host.valid += 1
            return
        task.votes.append(vote)
        self._done.setdefault(host.number, []).append(task)
        self._weigh(task)
        self._again(task)

    def late(self, task: Task, host: Host) -> None:
        if task.wanted:
            self._again(task)

    def _again(self, task: Task) -> None:
        if task.answer is None and not task.out:
            task.wanted = len(task.votes) + 1
            self._round.add(task)

    def _blacklist(self, host: Host) -> None:
        host.banned = True
        for task in self._done.pop(host.number, []):
            task.votes = [vote for vote in task.votes if vote.host is not host]
            self._weigh(task)
            self._again(task)

    def _weigh(self, task: Task) -> None:
        before = task.answer
        groups: dict[int, float] = {}
        for vote in task.votes:
            doubt = groups.get(vote.deed.answer, 1.0)
            groups[vote.deed.answer] = doubt * (1 - self.worker(vote.host.valid))
        goods = {
            answer: prod(
                self.worker(vote.host.valid) for vote in task.votes if vote.deed.answer == answer
            )
            for answer in groups
        }
        task.answer = None
        if groups:
            none_right = prod(groups.values())
            right = {answer: goods[answer] * none_right / groups[answer] for answer in groups}
            best = max(right, key=lambda answer: right[answer])
            if right[best] / (none_right + sum(right.values())) >= self.THRESHOLD:
                task.answer = best
        self._open += (task.answer is None) - (before is None)

    def worker(self, passed: int) -> float:
        """The credibility of a worker that passed so many spot-checks."""
        odds = self.FAULTY / (1 - self.FAULTY)
        return max(1 - self.FAULTY, 1 - odds / (passed * e)) if passed else 1 - self.FAULTY


BASELINES: dict[str, Callable[[Scene], Rule]] = {
    "quorum-2": lambda scene: Replication(scene, 2),
    "quorum-3": lambda scene: Replication(scene, 3),
    "boinc-adaptive": Adaptive,
    "sarmenta": Credibility,
}


def run(scene: Scene) -> Tally:
    """Run a baseline."""
    return Pool(scene, BASELINES[scene.policy](scene)).run()
