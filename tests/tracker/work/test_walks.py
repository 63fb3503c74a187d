"""Long walks: 10,000 random steps from each of 20 seeds, and after every step the books hold.

The state machine beside this tries short stories and shrinks them; here jobs of every policy run
side by side for long, with cheats of every kind, so that bans, reopened units, batches and
restarts meet each other.
"""

from collections import Counter
from random import Random

import pytest

from tests.tracker.work.world import PATIENCE, Actor, World, manifest, outcome
from tracker.rows import EntryRow, ExecutionRow, UnitRow
from tracker.work.state import Job
from tracker.work.table import EXECUTION, UNIT, Doing, Stage
from validators.reputation import STRIKES
from workunits import entries
from workunits.entries import Final, Verdict
from workunits.errors import RefusedError
from workunits.results import Result
from workunits.ringers import Ringers
from workunits.verification import Comparator, Comparison, Demands, Policy

SEEDS = 20
STEPS = 10_000
MOST_JOBS = 4
RARE = ("cancel", "restart")
OVER = {stage.value for stage in Stage if not any(one is stage for one, _ in UNIT)}
ENDED = {doing.value for doing in Doing if not any(one is doing for one, _ in EXECUTION)}
KINDS = {
    **{f"honest {at}": "honest" for at in range(5)},
    "liar": "liar",
    "clique 1": "clique",
    "clique 2": "clique",
    "copycat": "copycat",
    "silent": "silent",
    "recanter": "recanter",
}
DEMANDS = (
    Demands(),
    Demands((("batch", 3), ("probation", 5))),
    Demands((("audit", 500), ("batch", 2), ("final_after", 60), ("probation", 5))),
    Demands((("probation", 5), ("referee", 500)), same_platform=True),
)


class Walk:
    """One world, and who is in it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World()
        self.made = self.lives = self.read = 0
        self.actors: dict[str, Actor] = {}
        self.kinds: dict[Actor, str] = {}
        self.ends: dict[tuple[object, ...], str] = {}
        self.rights: Counter[tuple[bytes, int]] = Counter()
        self.paid: set[tuple[bytes, int]] = set()
        self._join("referee", "honest", owner="operator", validator=True)
        for name, kind in KINDS.items():
            self._join(name, kind)

    def step(self) -> None:
        """Something happens."""
        rng, world = self.rng, self.world
        actor = rng.choice(list(self.actors.values()))
        jobs = list(world.desk.jobs.values())
        match rng.choices(
            (
                "work",
                "reveal",
                "submit",
                "connect",
                "leave",
                "release",
                "tick",
                "cancel",
                "restart",
            ),
            (40, 40, 6, 6, 2, 3, 3, 0.1, 0.05),
        )[0]:
            case "work" if actor.connected:
                self._work(actor)
            case "reveal" if actor.connected and self.kinds[actor] != "silent":
                actor.reveal()
            case "submit" if len(jobs) < MOST_JOBS:
                self._submit()
            case "connect":
                self._connect(actor)
            case "leave" if actor.connected:
                actor.disconnect()
            case "release" if actor.connected:
                actor.release(sorted(actor.leases)[:1])
            case "tick":
                world.tick(rng.choice((1.0, 5.0, PATIENCE.reveal + 1, 400.0)))
            case "cancel" if jobs:
                world.cancel(rng.choice(jobs))
            case "restart":
                world.restart()

    def check(self) -> None:
        """What must hold after every step."""
        book = self.world.desk.book
        assert book.total() == 0
        for job in self.world.desk.jobs.values():
            fresh = job.fresh.left
            kept = len(job.units) + len(job.settled)
            assert job.accepted + job.failed + kept + fresh == job.manifest.units, "a unit is lost"
            assert job.paid + book.escrowed(job.id) == job.manifest.escrow
            assert not job.done
        rows, self.read = self.world.rows[self.read :], len(self.world.rows)
        for row in rows:
            if isinstance(row, EntryRow):
                self._entry(row)
            elif isinstance(row, UnitRow) and row.stage in OVER:
                assert self.ends.setdefault((row.job, row.idx), row.stage) == row.stage
            elif isinstance(row, ExecutionRow) and row.doing in ENDED:
                known = self.ends.setdefault((row.token,), row.doing)
                assert known == row.doing
        for actor, kind in self.kinds.items():
            if kind in {"copycat", "silent"}:
                assert self.world.balance(actor) == 0

    def _entry(self, row: EntryRow) -> None:
        entry = entries.parse(row.entry)
        units = [entry.index] if isinstance(entry, Verdict) and entry.moves else []
        if isinstance(entry, Final):
            units = list(entry.indices)
        for index in units:
            assert isinstance(entry, Verdict | Final)
            key = (entry.job, index)
            assert key not in self.paid, "one unit was paid twice"
            self.paid.add(key)

    def _join(self, name: str, kind: str, *, owner: str = "", validator: bool = False) -> None:
        actor = self.world.actor(name, owner=owner, validator=validator, connect=False)
        self.actors[name], self.kinds[actor] = actor, kind
        actor.connect(hold=self.rng.randint(1, 6))

    def _connect(self, actor: Actor) -> None:
        try:
            actor.connect(hold=self.rng.randint(1, 6))
        except RefusedError:  # banned: it comes back under another name
            name = next(name for name, one in self.actors.items() if one is actor)
            kind = self.kinds[actor]
            if kind in {"honest", "silent"}:
                assert self._outvoted(actor) >= STRIKES, "an honest peer was banned"
            self.lives += 1
            del self.actors[name]
            self._join(f"{kind} again {self.lives}", kind)

    def _outvoted(self, actor: Actor) -> int:
        """How often a clique, and nobody else, had another answer when no referee was there."""
        kinds = {each.key: kind for each, kind in self.kinds.items()}
        tokens = {
            row.token
            for row in self.world.rows
            if isinstance(row, ExecutionRow) and row.peer == actor.key
        }
        count = 0
        for row in self.world.entries():
            entry = entries.parse(row.entry)
            if not isinstance(entry, Verdict):
                continue
            blamed = {entry.cast[at].token for at in entry.wrong} | set(entry.silent)
            right = {kinds[entry.cast[at].peer] for at in entry.right}
            count += bool(blamed & tokens) and right == {"clique"}
        return count

    def _work(self, actor: Actor) -> None:
        kind, rng = self.kinds[actor], self.rng
        tokens = sorted(actor.leases)[: rng.randint(1, 4)]
        answer = "right"
        if kind in {"liar", "recanter"} and rng.random() < 0.5:
            answer = f"wrong {rng.random()} "
        if kind == "clique" and tokens and actor.leases[tokens[0]].index % 2:
            tokens, answer = tokens[:1], "wrong"
        if kind == "copycat":
            honest = self.actors["honest 0"]
            actor.commit(tokens=tokens, sealer=honest.key)
            return
        actor.commit(answer, tokens=tokens)
        if kind == "recanter" and answer != "right":
            actor.release([token for token in tokens if token not in actor.asked])

    def _submit(self) -> None:
        rng = self.rng
        self.made += 1
        policy = rng.choice([each for each in Policy if each is not Policy.TRUSTED])
        comparator = Comparator()
        demands, ringers = rng.choice(DEMANDS), None
        units = rng.randint(1, 12)
        if rng.random() < 0.2:
            comparator = Comparator(Comparison.NUMERIC, 1e-6, 0.0)
        elif rng.random() < 0.2:
            known = tuple((at, Result.digest_of(outcome(at).result)) for at in range(0, units, 3))
            ringers = Ringers(bytes(32), known)
            demands = Demands(demands.settings, ringers=ringers.hash)
        made = manifest(
            units, policy=policy, comparator=comparator, nonce=self.made, demands=demands
        )
        self.world.submit(made, ringers)


def finish(walk: Walk) -> None:
    """With time enough, and peers that did not vote yet, every job ends."""
    world = walk.world
    for turn in range(200):
        if not world.desk.jobs:
            return
        if turn % 20 == 0:
            for number in range(4):
                walk._join(f"late {turn} {number}", "honest")
        world.tick(PATIENCE.reveal + 1)
        for actor in list(walk.actors.values()):
            if actor.connected and walk.kinds[actor] == "honest":
                actor.commit()
                actor.reveal()
        walk.check()
    left: list[Job] = list(world.desk.jobs.values())
    units = [unit for job in left for unit in job.units.values()]
    raise AssertionError(f"{len(left)} jobs never end: {[unit.row() for unit in units]}")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_credit_is_doubled_and_no_unit_lost_in_ten_thousand_steps(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
        walk.check()
    finish(walk)
    walk.world.audit()
    assert walk.made > 20
    assert len(walk.paid) > 100
