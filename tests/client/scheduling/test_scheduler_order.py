"""The scheduler under everything that can happen, in any order: nothing is lost or done twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from client.scheduling import moves
from client.scheduling.pace import Tuning
from tests.client.scheduling.machine import (
    ASKED,
    BATCH,
    BIG,
    FED,
    HUGE,
    INLINE,
    JUDGED,
    PLAIN,
    SHARED,
    World,
    far,
)
from workunits.manifest import SignedManifest
from workunits.wire.compare import Shown

RESULTS = st.sampled_from([INLINE, far(4), far(5)])

JOBS = [PLAIN, FED, BIG, HUGE, JUDGED, SHARED, ASKED, BATCH]


class AnyOrder(RuleBasedStateMachine):
    """Everything that can happen, in any order. ``World`` checks every command."""

    @initialize(slots=st.integers(1, 3), window=st.integers(1, 4), batch=st.integers(1, 4))
    def begin(self, slots: int, window: int, batch: int) -> None:
        tuning = Tuning(
            slots=slots,
            memory_bytes=1 << 30,
            window=window,
            batch=batch,
            fetches=2,
            warm_cells=1,
            idle=5.0,
            linger=3.0,
        )
        self.world = World(tuning, JOBS)
        self.draining = False

    @precondition(lambda self: not self.world.connected)
    @rule()
    def connect(self) -> None:
        self.world.connect()

    @precondition(lambda self: self.world.connected)
    @rule(
        job=st.sampled_from(JOBS),
        indices=st.lists(st.integers(0, 99), min_size=1, max_size=4),
        seconds=st.sampled_from([20, 600]),
    )
    def lease(self, job: SignedManifest, indices: list[int], seconds: int) -> None:
        self.world.lease(job.id, indices, seconds)

    @precondition(lambda self: self.world.connected)
    @rule(
        index=st.integers(0, 99),
        seconds=st.sampled_from([20, 600]),
        stream=st.booleans(),
        given=st.sampled_from([(), (1, 2)]),
    )
    def inquire(self, index: int, seconds: int, stream: bool, given: tuple[int, ...]) -> None:
        self.world.inquire(ASKED.id, index, seconds=seconds, stream=stream, given=given)

    @precondition(lambda self: self.world.connected)
    @rule(index=st.integers(0, 99), given=st.sampled_from([(), (1, 2)]))
    def inquire_batch(self, index: int, given: tuple[int, ...]) -> None:
        self.world.inquire(BATCH.id, index, given=given, asked=False)

    @precondition(lambda self: self.world.connected and self.world.asks)
    @rule(data=st.data(), after=st.integers(0, 3))
    def halt(self, data: st.DataObject, after: int) -> None:
        self.world.halt(data.draw(st.sampled_from(sorted(self.world.asks))), after)

    @precondition(lambda self: self.world.stopping)
    @rule(data=st.data(), works=st.booleans())
    def stop(self, data: st.DataObject, works: bool) -> None:
        cell = data.draw(st.sampled_from(sorted(self.world.stopping)))
        (self.world.stopped if works else self.world.closed)(cell)

    @precondition(lambda self: self.world.connected)
    @rule(
        job=st.sampled_from([JUDGED, JUDGED, JUDGED, PLAIN]),
        pairs=st.lists(st.tuples(RESULTS, RESULTS), min_size=1, max_size=3),
        index=st.sampled_from([0, 1, 99, 100]),
        seconds=st.sampled_from([20, 600]),
    )
    def compare(
        self, job: SignedManifest, pairs: list[tuple[Shown, Shown]], index: int, seconds: int
    ) -> None:
        self.world.compare(job.id, *pairs, index=index, seconds=seconds)

    @precondition(lambda self: self.world.connected and self.world.alive)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        self.world.revoke(data.draw(st.sampled_from(self.world.alive)))

    @precondition(lambda self: self.world.connected and self.world.committed)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        self.world.ask(data.draw(st.sampled_from(sorted(self.world.committed))))

    @precondition(lambda self: self.world.connected and self.world.alive)
    @rule(data=st.data())
    def ask_too_early(self, data: st.DataObject) -> None:
        self.world.ask(data.draw(st.sampled_from(self.world.alive)))

    @rule(steps=st.integers(1, 20))
    def progress(self, steps: int) -> None:
        for _ in range(steps):
            self.world.progress()

    @precondition(lambda self: self.world.connected and self.world.outgoing)
    @rule()
    def deliver(self) -> None:
        self.world.deliver()

    @precondition(lambda self: self.world.connected and self.world.acks)
    @rule()
    def acknowledge(self) -> None:
        self.world.acknowledge()

    @precondition(lambda self: self.world.connected)
    @rule()
    def disconnect(self) -> None:
        self.world.disconnect()

    @precondition(lambda self: self.world.disk)
    @rule()
    def kill(self) -> None:
        self.world.restart()
        self.draining = False

    @precondition(lambda self: self.world.fetching)
    @rule(data=st.data(), works=st.sampled_from([True, True, True, False]))
    def fetch(self, data: st.DataObject, works: bool) -> None:
        ref = data.draw(st.sampled_from(sorted(self.world.fetching, key=str)))
        (self.world.fetched if works else self.world.fetch_failed)(ref)

    @precondition(lambda self: self.world.opening)
    @rule(data=st.data(), fails=st.sampled_from(["", "", "", "engine", "image", "model"]))
    def open(self, data: st.DataObject, fails: str) -> None:
        cell = data.draw(st.sampled_from(sorted(self.world.opening)))
        if fails:
            self.world.open_failed(cell, fails)
        else:
            self.world.opened(cell)

    @precondition(lambda self: self.world.closing)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.world.closed(data.draw(st.sampled_from(sorted(self.world.closing))))

    @precondition(lambda self: self.world.going)
    @rule(data=st.data(), works=st.sampled_from([True, True, True, False]))
    def run(self, data: st.DataObject, works: bool) -> None:
        cell = data.draw(st.sampled_from(sorted(self.world.going)))
        if works:
            self.world.ran(cell)
        else:
            self.world.run_failed(cell)

    @precondition(lambda self: self.world.storing)
    @rule(data=st.data(), works=st.sampled_from([True, True, True, False]))
    def store(self, data: st.DataObject, works: bool) -> None:
        token = data.draw(st.sampled_from(self.world.storing))
        (self.world.stored if works else self.world.store_failed)(token)

    @rule(seconds=st.sampled_from([0.01, 1.0, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.world.later(seconds)

    @rule(event=st.sampled_from([moves.Pause(), moves.Resume()]))
    def pause(self, event: moves.Pause | moves.Resume) -> None:
        self.world.tell(event)

    @rule()
    def drain(self) -> None:
        self.world.tell(moves.Drain())
        self.draining = True

    def teardown(self) -> None:
        """Whatever happened, when all goes well again every lease comes to its end."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if not world.connected:
            world.connect()
        world.tell(moves.Resume())
        for _ in range(50):
            world.run_through()
            world.ask(*sorted(world.committed))
            world.later(400.0)
        world.run_through()
        assert world.ended.keys() >= world.leased.keys()
        assert not world.disk and not world.running and not world.cells and not world.here
        assert not world.held and not world.committed and not world.comparing
        if self.draining:
            assert world.finished == 1


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
