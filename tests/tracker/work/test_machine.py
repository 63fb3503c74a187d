"""The desk under random peers, random time, random crashes: what must hold, always holds."""

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.tracker.work.crowd import MANY, Crowd
from tests.tracker.work.world import (
    PATIENCE,
    PROGRAM,
    SECRET,
    SUBMITTER,
    Actor,
    World,
    manifest,
    same_number,
)
from tracker.rows import ExecutionRow, JobRow, UnitRow
from tracker.work.state import Job, JobState
from tracker.work.table import EXECUTION, HIDDEN, UNIT, Doing, Stage
from workunits.canonical import decode
from workunits.entries import escrow_account
from workunits.errors import RefusedError
from workunits.ids import LeaseToken
from workunits.verification import Comparator, Comparison, Policy
from workunits.wire.compare import Compare, Opinion, Pair
from workunits.wire.work import Commits, parse_from_tracker

COMPARATORS = (Comparator(), Comparator(Comparison.NUMERIC, 1e-6, 0.0), PROGRAM)
KINDS = ("honest", "honest", "honest", "liar", "copycat", "silent")
ENDED = {state.value for state in Doing if not any(one is state for one, _ in EXECUTION)}
OVER = {stage.value for stage in Stage if not any(one is stage for one, _ in UNIT)}


class Swarm(Crowd):
    """Any number of things happens in any order. After each, the invariants hold."""

    def __init__(self) -> None:
        super().__init__(World())
        self.jobs = 0
        self.seen = 0
        self.ends: dict[tuple[object, ...], str] = {}

    @initialize()
    def start(self) -> None:
        """Somebody is there from the start."""
        self.world.submit(manifest(3))
        for at, kind in enumerate(KINDS):
            actor = self.world.actor(
                f"{kind}{at}", owner="rich" * (at < 2), validator=bool(at % 2), connect=False
            )
            self.kinds[actor] = kind

    @rule(
        units=st.integers(1, 6),
        policy=st.sampled_from(Policy),
        comparator=st.sampled_from(COMPARATORS),
        price=st.integers(0, 3),
    )
    def submit(self, units: int, policy: Policy, comparator: Comparator, price: int) -> None:
        """A job comes."""
        self.jobs += 1
        self.world.submit(
            manifest(units, policy=policy, comparator=comparator, price=price, nonce=self.jobs)
        )

    @precondition(lambda self: self.world.desk.jobs)
    @rule(at=st.integers(0, 100))
    def cancel(self, at: int) -> None:
        """A live job is cancelled."""
        jobs = list(self.world.desk.jobs.values())
        self.world.cancel(jobs[at % len(jobs)])

    @rule(at=Crowd.actors, hold=st.integers(0, 6))
    def connect(self, at: int, hold: int) -> None:
        """An actor connects, perhaps while an older session of it stands."""
        try:
            self.pick(at).connect(hold=hold)
        except RefusedError:
            assert self.world.desk.peers[self.pick(at).key].banned

    @rule(at=Crowd.actors, share=st.integers(1, 3))
    def commit(self, at: int, share: int) -> None:
        """An actor commits to some of what it holds."""
        if self.pick(at).connected:
            self.work(self.pick(at), share)

    def work(self, actor: Actor, share: int = 1) -> None:
        kind = self.kinds[actor]
        tokens = sorted(actor.leases)[::share]
        if kind == "copycat":
            honest = next(each for each, of in self.kinds.items() if of == "honest")
            actor.commit(tokens=tokens, sealer=honest.key)
        else:
            programs = [each for each in tokens if self.is_program(actor, each)]
            others = [each for each in tokens if each not in programs]
            actor.commit("wrong" if kind == "liar" else "right", tokens=others)
            same = "1.0" if actor.key[0] % 2 else "1.00"
            actor.commit("9.0" if kind == "liar" else same, tokens=programs)

    def is_program(self, actor: Actor, token: LeaseToken) -> bool:
        return self.world.submitted[actor.leases[token].job].is_program

    @rule(at=Crowd.actors)
    def opine(self, at: int) -> None:
        """An actor says which results are the same; a liar says the contrary."""
        actor = self.pick(at)
        if actor.connected and self.kinds[actor] != "silent":
            self.judge(actor)

    def judge(self, actor: Actor) -> None:
        contrary = {Opinion.SAME: Opinion.DIFFERENT, Opinion.DIFFERENT: Opinion.SAME}

        def judge(pair: Pair) -> Opinion:
            said = same_number(pair)
            return contrary[said] if self.kinds[actor] == "liar" else said

        actor.opine(judge)

    @rule(seconds=st.sampled_from([0.0, 1.0, PATIENCE.away, PATIENCE.reveal, 200.0, 400.0]))
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.world.tick(seconds)

    @rule()
    def restart(self) -> None:
        """The tracker restarts, and is what it was."""
        before = picture(self.world)
        self.world.restart()
        assert picture(self.world) == before

    @rule(at=Crowd.actors)
    def crash(self, at: int) -> None:
        """The tracker dies after it decided and before it wrote: as if it had not been asked."""
        actor = self.pick(at)
        before = picture(self.world)
        if actor.connected:
            self.world.desk.want(actor.key, 6, self.world.now)
            for job in list(self.world.desk.jobs.values()):
                tokens = [token for token, unit in actor.leases.items() if unit.job == job.id]
                batch = actor.commits("right", tokens, actor.key)
                signed = Commits.sign(actor.identity, job.id, tuple(batch))
                self.world.desk.commit(actor.key, signed, self.world.now)
        self.world.desk.take()
        self.world.restart()
        assert picture(self.world) == before

    @invariant()
    def books_balance(self) -> None:
        """Every credit is somewhere, and every job's escrow is paid, held or returned."""
        book = self.world.desk.book
        assert book.total() == 0
        for name, account in book.accounts.items():
            assert account.balance >= 0 or name == b"mint"
        for job in self.world.desk.jobs.values():
            assert job.paid + book.escrowed(job.id) == job.manifest.escrow
        for row in self.world.table.values():
            if isinstance(row, JobRow) and row.state != JobState.ACTIVE:
                job = self.world.submitted[row.id]  # type: ignore[index]
                assert row.paid + row.returned == job.manifest.escrow
                assert book.balance(escrow_account(job.id)) == 0

    @invariant()
    def no_unit_is_lost(self) -> None:
        """Accepted, failed, in flight or fresh: a unit is always one of these."""
        for job in self.world.desk.jobs.values():
            fresh = job.fresh.left
            kept = len(job.units) + len(job.settled)
            assert job.accepted + job.failed + kept + fresh == job.manifest.units
            assert not job.done
            for unit in job.units.values():
                check_unit(self.world, job, unit.index)

    @invariant()
    def leases_are_counted(self) -> None:
        """Peers and the floor know the same executions, and nobody holds too much."""
        floor = self.world.desk.floor
        live = {token for peer in floor.peers.values() for token in peer.live}
        assert live == set(floor.executions)
        for peer in floor.peers.values():
            doing = [each.doing for each in peer.live.values()]
            assert peer.leased == doing.count(Doing.LEASED)
            assert not (peer.banned and peer.live)

    @invariant()
    def nobody_is_paid_twice(self) -> None:
        """One award a unit, each winner once, and only to those who were right."""
        awards: Counter[tuple[bytes, int]] = Counter()
        for row in self.world.entries():
            entry: Any = decode(row.entry, limit=100_000)
            if entry[b"t"] == b"award":
                (source,) = {move[0] for move in entry[b"moves"]}
                awards[source, entry[b"index"]] += 1
                winners = [move[1] for move in entry[b"moves"]]
                assert len(winners) == len(set(winners))
        assert not [key for key, count in awards.items() if count > 1]
        for actor, kind in self.kinds.items():
            if kind in {"copycat", "silent"}:
                assert self.world.balance(actor) == 0
            if kind == "liar":
                assert self.world.desk.peers.get(actor.key) is None or (
                    self.world.balance(actor) == 0 or self.trusted_paid(actor)
                )

    def trusted_paid(self, actor: Actor) -> bool:
        """Whether a liar was paid by jobs that chose to trust it, and by no other."""
        for row in self.world.table.values():
            if isinstance(row, ExecutionRow) and row.peer == actor.key and row.doing == "right":
                job = self.world.submitted[row.job]  # type: ignore[index]
                assert job.manifest.policy is Policy.TRUSTED
        return True

    @invariant()
    def what_ended_stays_ended(self) -> None:
        """An end state of an execution or a unit is never left."""
        for row in self.world.table.values():
            if isinstance(row, ExecutionRow) and row.doing in ENDED:
                assert self.ends.setdefault(("execution", row.token), row.doing) == row.doing
            if isinstance(row, UnitRow) and row.stage in OVER:
                assert self.ends.setdefault((row.job, row.idx), row.stage) == row.stage

    @invariant()
    def no_result_is_ever_sent(self) -> None:
        """The tracker never shows a peer another's result, but to those who compare."""
        for frame in self.world.frames[self.seen :]:
            assert SECRET not in frame or isinstance(parse_from_tracker(frame), Compare)
        self.seen = len(self.world.frames)

    @invariant()
    def every_comparison_is_with_somebody(self) -> None:
        """What is not known waits for a peer that is there, or for anybody to come."""
        comparing = self.world.desk._court.comparing
        for unit, disputes in comparing._disputes.items():
            assert unit.stage is Stage.REVEALING
            assert disputes
            for dispute in disputes.values():
                assert (dispute in comparing._waiting) == (dispute.question is None)
                if question := dispute.question:
                    tray = comparing._trays[question.peer]
                    assert question.peer.connected
                    assert question.token in tray.asked or question in tray.drawn

    def teardown(self) -> None:
        """With honest peers and time enough every job ends, and the money is where it belongs."""
        world = self.world
        helpers = [world.actor(f"helper{at}", validator=at > 1) for at in range(4)]
        for helper in helpers:
            self.kinds[helper] = "honest"
        for count in range(60):
            if not world.desk.jobs:
                break
            if count % 10 == 9:  # all that are there voted, or compared
                self.kinds[world.actor(f"late{count}")] = "honest"
            world.tick(PATIENCE.reveal + 1)
            for act in (self.work, self.show, self.judge):
                for actor in self.present:
                    act(actor)
        assert not world.desk.jobs
        self.books_balance()
        self.nobody_is_paid_twice()
        accounts = world.desk.book.accounts
        assert sum(each.balance for name, each in accounts.items() if name != b"mint") == 10**9
        assert accounts[SUBMITTER.key].spent == sum(each.earned for each in accounts.values())
        world.audit()


def check_unit(world: World, job: Job, index: int) -> None:
    unit = job.units[index]
    assert len(unit.leased) <= 1
    live = (*unit.leased, *unit.committed)
    assert all(world.desk.floor.executions[each.token] is each for each in live)
    peers = [each.peer.key for each in live]
    assert len(peers) == len(set(peers))
    owners = [each.owner for each in world.executions(job, index) if each.commitment]
    assert len(owners) == len(set(owners)), "two peers of one owner checked each other"
    assert all(each.doing is not Doing.LEASED for each in unit.committed)
    assert unit.shown.isdisjoint(each.peer.key for each in live)
    assert unit.shown.isdisjoint(each.peer.owner for each in live)
    match unit.stage:
        case Stage.OPEN:
            assert not live
            assert index in job.redo
        case Stage.COMPUTING:
            assert live or unit.drawn
            assert unit.leased or unit.drawn or index in job.waiting
        case Stage.REVEALING:
            assert not unit.leased
            shown = all(each.doing is Doing.REVEALED for each in unit.committed)
            assert shown == world.desk._court.comparing.is_open(unit)
        case _:
            raise AssertionError(f"{unit.stage} is over, and still on the desk")


def picture(world: World) -> dict[str, object]:
    """Everything of a desk that must survive a restart."""
    floor, book = world.desk.floor, world.desk.book
    jobs = {
        job.id: (
            *(job.fresh.ranges, job.accepted, job.failed, job.executions, job.wrong, job.paid),
            sorted(job.redo),
            {
                unit.index: (
                    *(unit.stage, unit.attempts, frozenset(unit.owners), frozenset(unit.shown)),
                    [each.token for each in unit.leased],
                    [(each.token, each.doing, each.commitment) for each in unit.committed],
                    [each.finding and each.finding.contents for each in unit.committed],
                )
                for unit in job.units.values()
            },
        )
        for job in floor.jobs.values()
    }
    peers = {
        peer.key: (
            *(peer.owner, peer.right, peer.wrong, peer.withheld, peer.banned, peer.leased),
            sorted(token for token, each in peer.live.items() if each.doing in HIDDEN),
        )
        for peer in floor.peers.values()
    }
    accounts = {
        name: (account.balance, account.earned, account.spent)
        for name, account in book.accounts.items()
    }
    return {
        "jobs": jobs,
        "peers": peers,
        "accounts": accounts,
        "head": (book.entries, book.head),
    }


TestSwarm = Swarm.TestCase
TestSwarm.settings = settings(MANY, max_examples=60)
