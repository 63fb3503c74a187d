"""Random peers around a desk: what they do whatever the work is, for stateful tests."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.tracker.work.world import Actor, World

SIZE = 6
MANY = settings(stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Crowd(RuleBasedStateMachine):
    """A world, and the kinds of its actors: a silent one shows nothing."""

    actors = st.integers(0, SIZE - 1)

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.kinds: dict[Actor, str] = {}

    def pick(self, at: int) -> Actor:
        """One of those that were there from the start."""
        return list(self.kinds)[at]

    @property
    def present(self) -> list[Actor]:
        """Who is connected."""
        return [each for each in self.kinds if each.connected]

    @rule(at=actors)
    def disconnect(self, at: int) -> None:
        """An actor's connection breaks."""
        if self.pick(at).connected:
            self.pick(at).disconnect()

    @rule(at=actors, hold=st.integers(0, 6))
    def want(self, at: int, hold: int) -> None:
        """An actor asks for more, or for less."""
        if self.pick(at).connected:
            self.pick(at).want(hold)

    @rule(at=actors)
    def reveal(self, at: int) -> None:
        """An actor shows what it was asked for."""
        if self.pick(at).connected:
            self.show(self.pick(at))

    def show(self, actor: Actor) -> None:
        """Show what was asked for, unless it is the silent one."""
        if self.kinds[actor] != "silent":
            actor.reveal()

    @rule(at=actors, count=st.integers(0, 3))
    def release(self, at: int, count: int) -> None:
        """An actor gives back leases, and says that it lost a result."""
        actor = self.pick(at)
        if actor.connected:
            actor.release(sorted(actor.leases)[:count] + sorted(actor.asked)[:1])
            actor.asked = actor.asked[1:]
