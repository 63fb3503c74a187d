"""What could still be copied is not shown, and everything is shown in the end."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.work.world import World, manifest
from tracker.work.concealed import AT_MOST, Concealed


def test_the_log_ends_before_the_first_commitment_without_a_verdict() -> None:
    concealed = Concealed()
    assert concealed.first(0.0) is None
    concealed.hide(3, 0.0)
    concealed.hide(3, 1.0)
    concealed.hide(5, 1.0)
    concealed.show(3)
    assert concealed.first(2.0) == 3
    concealed.show(3)
    assert concealed.first(2.0) == 5
    concealed.show(5)
    assert concealed.first(2.0) is None


def test_nothing_is_held_back_for_longer_than_an_hour() -> None:
    concealed = Concealed()
    concealed.hide(3, 0.0)
    concealed.hide(9, 60.0)
    assert concealed.first(AT_MOST) == 9
    assert concealed.first(AT_MOST + 60) is None
    concealed.show(3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30))))
def test_what_was_shown_once_stays_shown(steps: list[tuple[bool, int]]) -> None:
    concealed, size, hidden = Concealed(), 0, []
    before = 0
    for commits, pick in steps:
        if commits:
            concealed.hide(size, 0.0)
            hidden.append(size)
            size += 1
        elif hidden:
            concealed.show(hidden.pop(pick % len(hidden)))
        first = concealed.first(0.0)
        public = size if first is None else first
        assert before <= public <= size
        before = public


def test_a_commitment_is_public_with_its_verdict_also_after_a_restart() -> None:
    world = World()
    one, other = world.actor("one"), world.actor("other")
    world.submit(manifest(1))
    (one if one.leases else other).commit()
    before = world.desk.public(world.now)
    assert before < world.desk.book.entries
    world.restart()
    assert world.desk.public(world.now) == before
    for actor in (one, other):
        actor.connect()
        actor.commit()
        actor.reveal()
    for actor in (one, other):
        actor.reveal()
    assert not world.desk.jobs
    assert world.desk.public(world.now) == world.desk.book.entries
